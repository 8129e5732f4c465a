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
Full: TypeAlias = Callable[[str], None]

FULL_RETRY_S: Final = 0.5
"""Seconds between two attempts to write to a medium that has no room."""


def _nothing() -> None:
    """Is done where only room is to be made."""


FREEING: Final[tuple[Job, Done]] = (_nothing, lambda _result: None)
"""Stands among the jobs for one that makes room."""


class Executor(Protocol):
    """Runs jobs one after the other and hands back what became of them.

    After one that raised a StorageError none is run: what follows may build on what was not done.
    Their callers are handed the same error.
    """

    def submit(self, job: Job, done: Done) -> None:
        """Run a job; `done` gets what it returned, or the StorageError it raised."""

    def submit_freeing(self, job: Job, done: Done) -> None:
        """The same for a job that makes room, and needs nothing of those before it: it is run
        before them where they wait for room, and may be elsewhere."""

    def close(self) -> None:
        """Wait until every job has run, and run no more."""


def _nobody(refusal: str) -> None:
    """Is told of a full medium, and lets it pass: the job is tried again in any case."""


class ThreadExecutor:
    """An executor with a thread of its own."""

    def __init__(self, name: str, post: Post, full: Full = _nobody) -> None:
        """`full` is told, through `post`, what the medium has no room for when it refuses a job,
        and "" when it took it at last."""
        self._post = post
        self._full = full
        self._jobs: SimpleQueue[tuple[Job, Done] | None] = SimpleQueue()
        self._freeing: SimpleQueue[tuple[Job, Done]] = SimpleQueue()
        self._closing = Event()
        self._error: StorageError | None = None
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Job, done: Done) -> None:
        self._jobs.put((job, done))

    def submit_freeing(self, job: Job, done: Done) -> None:
        self._freeing.put((job, done))
        self._jobs.put(FREEING)

    def close(self) -> None:
        self._closing.set()
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None:
            self._free()
            if item is not FREEING:
                job, done = item
                self._post(partial(done, self._attempt(job)))

    def _free(self) -> None:
        """Run the jobs that make room."""
        while not self._freeing.empty():
            job, done = self._freeing.get()
            result: Any = self._error
            if result is None:
                try:
                    result = job()
                except StorageError as error:
                    result = self._error = error
            self._post(partial(done, result))

    def _attempt(self, job: Job) -> Any:
        refused = False
        while self._error is None:
            try:
                result = job()
            except MediumFull as error:
                # Nothing of it was done, so it is done again when there is room.
                if not refused:
                    refused = True
                    self._post(partial(self._full, str(error)))
                if self._closing.wait(FULL_RETRY_S):
                    self._error = error
                self._free()
            except StorageError as error:
                self._error = error
            else:
                if refused:
                    self._post(partial(self._full, ""))
                return result
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

    def submit_freeing(self, job: Job, done: Done) -> None:
        self.submit(job, done)

    def close(self) -> None:
        """There is nothing to wait for."""
