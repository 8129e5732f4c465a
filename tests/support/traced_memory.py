"""Memory that is allocated meanwhile, by what a test measures and nobody else."""

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

OURS: Final = ("*/leveret/engine/*", "*/leveret_storage/*")


@contextmanager
def traced_memory(test_file: str) -> Iterator[Callable[[], int]]:
    """Trace what is allocated by the engine, the storage, and a test: other threads, as those that
    read the logs of brokers, allocate meanwhile.

    :returns: a function that returns the bytes which are still there. Compiled code counts as the
        file that calls it.
    """
    filters = [tracemalloc.Filter(True, pattern) for pattern in (test_file, *OURS)]

    def taken() -> int:
        snapshot = tracemalloc.take_snapshot().filter_traces(filters)
        return sum(each.size for each in snapshot.statistics("filename"))

    tracemalloc.start()
    try:
        yield taken
    finally:
        tracemalloc.stop()
