"""Rules for the whole suite.

On CI a skipped test is a failed one, with its reason. No example of hypothesis is too slow, however
busy the machine, and CI draws the same examples every time: what it finds is never by chance.

Where several processes run the tests (`make test JOBS=2`), a test marked `alone` runs while no
other does: it measures what a busy machine would change. The folders whose files take longest come
first, so that no process is left with a long file when the others have ended.
"""

import fcntl
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final, TypeVar

import pytest
from hypothesis import HealthCheck, settings

from tests.support.examples import examples

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

CI = os.environ.get("CI") == "true"

SEVERAL_PROCESSES: Final = "PYTEST_XDIST_WORKER" in os.environ
QUEUE_LOCK: Final = Path(__file__)
RUNNING_LOCK: Final = Path(__file__).with_name("__init__.py")
"""Two files whose locks (flock) all processes of a run share; nothing is written to them."""

LONG_FIRST: Final = (
    "crash",
    "cluster",
    "parity",
    "page",
    "clients",
    "storage",
    "testing",
    "protocol",
)
"""Folders of this one by the time that one file takes."""

settings.register_profile(
    "leveret",
    deadline=None,
    max_examples=examples(100),
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
    derandomize=CI,
    database=None if CI else settings.get_profile("default").database,
)
settings.load_profile("leveret")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if SEVERAL_PROCESSES:
        items.sort(key=lambda item: _rank(item.path))


def _rank(path: Path) -> int:
    folder = path.relative_to(Path(__file__).parent).parts[0]
    return LONG_FIRST.index(folder) if folder in LONG_FIRST else len(LONG_FIRST)


@contextmanager
def permission_to_run(alone: bool) -> Iterator[None]:
    """Wait until a test may run: beside others, or alone.

    A test that waits to run alone holds the queue's lock, so no other test overtakes it. The locks
    end with their descriptors.
    """
    with RUNNING_LOCK.open("rb") as running:
        with QUEUE_LOCK.open("rb") as queue:
            fcntl.flock(queue, fcntl.LOCK_EX)
            fcntl.flock(running, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    alone = item.get_closest_marker("alone") is not None
    with permission_to_run(alone) if SEVERAL_PROCESSES else nullcontext():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    return _no_skip(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    return _no_skip(report)


def _no_skip(report: Report) -> Report:
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {reason}"
    return report
