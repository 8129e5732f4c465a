"""The threads that wait for the medium, so that nobody else does.

One writes, in the order it was asked to; another reads. What a job returned, or the StorageError
it raised, is handed back through `post`, which takes a callable from any thread and runs it where
the store lives (an event loop's call_soon_threadsafe).
"""

from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, Final, Protocol, TypeAlias

from leveret_storage.errors import MediumFull, StorageError

Job: TypeAlias = Callable[[], Any]
Done: TypeAlias = Callable[[Any], None]
Post: TypeAlias = Callable[[Callable[[], None]], object]

FULL_RETRY_S: Final = 0.5
"""Seconds between two attempts to write to a medium that has no room."""


class Executor(Protocol):
    """Runs jobs one after the other and hands back what became of them.

    After one that raised a StorageError none is run: what follows may build on what was not done.
    Their callers are handed the same error.
    """

    def submit(self, job: Job, done: Done) -> None:
        """Run a job; `done` gets what it returned, or the StorageError it raised."""

    def close(self) -> None:
        """Wait until every job has run, and run no more."""


class ThreadExecutor:
    """An executor with a thread of its own."""

    def __init__(self, name: str, post: Post) -> None:
        self._post = post
        self._jobs: SimpleQueue[tuple[Job, Done] | None] = SimpleQueue()
        self._closing = Event()
        self._error: StorageError | None = None
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Job, done: Done) -> None:
        self._jobs.put((job, done))

    def close(self) -> None:
        self._closing.set()
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, done = item
            self._post(partial(done, self._attempt(job)))

    def _attempt(self, job: Job) -> Any:
        while self._error is None:
            try:
                return job()
            except MediumFull as error:
                # Nothing of it was done, so it is done again when there is room.
                if self._closing.wait(FULL_RETRY_S):
                    self._error = error
            except StorageError as error:
                self._error = error
        return self._error


class InlineExecutor:
    """An executor for tests and tools: every job is done when `submit` returns."""

    def __init__(self) -> None:
        self._error: StorageError | None = None

    def submit(self, job: Job, done: Done) -> None:
        result: Any = self._error
        if result is None:
            try:
                result = job()
            except StorageError as error:
                result = self._error = error
        done(result)

    def close(self) -> None:
        """There is nothing to wait for."""
