"""Calls that block, made one after another by a thread, whose results are handed to the event
loop."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Event, Thread
from typing import Final, TypeVar

from leveret_storage.errors import StorageError

T = TypeVar("T")

Job = Callable[[], Callable[[], None]]

AGAIN_S: Final = 1.0
"""Seconds until the result of a call is handed over that has failed: whoever repeats it at once
repeats it that often."""


class BlockingCalls(ABC):
    """Where calls that block are made. One at a time is under way."""

    def submit(
        self,
        call: Callable[[], T],
        done: Callable[[T], None],
        failed: Callable[[StorageError], None],
    ) -> None:
        """Make a call; its result, or the error of the storage that ended it, is handed to the
        event loop."""
        self.run(partial(_result_of, call, done, failed))

    @abstractmethod
    def run(self, job: Job) -> None:
        """Run a job elsewhere, and what it returns in the event loop."""

    @abstractmethod
    def post(self, action: Callable[[], None]) -> None:
        """Run an action in the event loop; for any thread."""

    @abstractmethod
    def stop(self) -> None:
        """Hand over nothing more, and begin no further call."""


class NoCalls(BlockingCalls):
    """Before anything is called, and after."""

    def run(self, job: Job) -> None:
        """It is not run."""

    def post(self, action: Callable[[], None]) -> None:
        """It is not run."""

    def stop(self) -> None:
        """Nothing is under way."""


class CallThread(BlockingCalls):
    """A thread for the running event loop."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._stopped = Event()
        Thread(target=self._run, name=name, daemon=True).start()

    def run(self, job: Job) -> None:
        self._jobs.put(job)

    def post(self, action: Callable[[], None]) -> None:
        if not self._stopped.is_set():
            self._loop.call_soon_threadsafe(action)

    def stop(self) -> None:
        self._stopped.set()
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None and not self._stopped.is_set():
            result = job()
            if isinstance(result, _Failure):
                self._stopped.wait(AGAIN_S)
            self.post(result)


class _Failure:
    """Tells of an error."""

    def __init__(self, failed: Callable[[StorageError], None], error: StorageError) -> None:
        self._failed = failed
        self._error = error

    def __call__(self) -> None:
        self._failed(self._error)


def _result_of(
    call: Callable[[], T],
    done: Callable[[T], None],
    failed: Callable[[StorageError], None],
) -> Callable[[], None]:
    try:
        return partial(done, call())
    except StorageError as error:
        return _Failure(failed, error)
