"""Executors: the threads that wait for the medium, so that the event loop does not.

A store has one that writes, in order, and one that reads. The result of a job, or the StorageError
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
OnFull: TypeAlias = Callable[[str], None]

FULL_RETRY_S: Final = 0.5
"""Seconds between two attempts to write to a full medium."""


def _do_nothing() -> None:
    """The job of FREEING."""


FREEING: Final[tuple[Job, Done]] = (_do_nothing, lambda _result: None)
"""Stands in the queue of jobs for one that was given to `submit_freeing`."""


class Executor(Protocol):
    """Runs jobs one after the other and hands back their results.

    After a job that raised a StorageError no other is run, since it may depend on the failed one:
    its caller gets the same error.
    """

    def submit(self, job: Job, done: Done) -> None:
        """Run a job; `done` gets its result, or the StorageError it raised."""

    def submit_freeing(self, job: Job, done: Done) -> None:
        """The same for a job that frees space, and depends on no job before it: it is run before
        them while one of them waits for space, and possibly at other times."""

    def is_free(self) -> bool:
        """Whether who submits jobs may do the work of one itself, in its place in the order: every
        job has run, and none has raised a StorageError."""

    def post(self, done: Done, result: Any) -> None:
        """Hand back a result that no job returned, but the medium, say. From any thread."""

    def close(self) -> None:
        """Wait until every job has run, and run no more."""


def _ignore_full(refusal: str) -> None:
    """The default of `on_full`: the job is tried again in any case."""


class ThreadExecutor:
    """An executor with a thread of its own."""

    def __init__(self, name: str, post: Post, on_full: OnFull = _ignore_full) -> None:
        """`on_full` is called, through `post`, with the text of MediumFull when the medium refuses
        a job, and with "" when it has taken it at last."""
        self._post = post
        self._on_full = on_full
        self._jobs: SimpleQueue[tuple[Job, Done] | None] = SimpleQueue()
        self._freeing: SimpleQueue[tuple[Job, Done]] = SimpleQueue()
        self._closing = Event()
        self._error: StorageError | None = None
        self._abandoned = False
        self._submitted = 0
        self._handed_back = 0
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Job, done: Done) -> None:
        self._submitted += 1
        self._jobs.put((job, done))

    def submit_freeing(self, job: Job, done: Done) -> None:
        self._submitted += 1
        self._freeing.put((job, done))
        self._jobs.put(FREEING)

    def is_idle(self) -> bool:
        """Whether the results of all jobs that were submitted were given to `post`."""
        return self._submitted == self._handed_back

    def is_free(self) -> bool:
        return self.is_idle() and self._error is None and not self._abandoned

    def post(self, done: Done, result: Any) -> None:
        self._post(partial(done, result))

    def close(self) -> None:
        self._closing.set()
        self._jobs.put(None)
        self._thread.join()

    def abandon(self) -> None:
        """Run no job but the one that runs, and wait for its end. The callers of the others get a
        StorageError."""
        self._abandoned = True
        self.close()

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None:
            if self._abandoned and self._error is None:
                self._error = StorageError("the store was abandoned")
            self._free()
            if item is not FREEING:
                job, done = item
                self._post(partial(done, self._attempt(job)))
                self._handed_back += 1

    def _free(self) -> None:
        """Run the jobs that free space."""
        while not self._freeing.empty():
            job, done = self._freeing.get()
            result: Any = self._error
            if result is None:
                try:
                    result = job()
                except StorageError as error:
                    result = self._error = error
            self._post(partial(done, result))
            self._handed_back += 1

    def _attempt(self, job: Job) -> Any:
        refused = gives_up = False
        while self._error is None:
            try:
                result = job()
            except MediumFull as error:
                # The job had no effect, so it can be run again when there is space.
                if not refused:
                    refused = True
                    self._post(partial(self._on_full, str(error)))
                closes = self._closing.wait(FULL_RETRY_S)
                if gives_up or self._abandoned:
                    self._error = error
                # There may be space since the last attempt.
                gives_up = closes
                self._free()
            except StorageError as error:
                self._error = error
            else:
                if refused:
                    self._post(partial(self._on_full, ""))
                return result
        return self._error


class InlineExecutor:
    """An executor for tests and tools: every job has run when `submit` returns."""

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

    def is_free(self) -> bool:
        return self._error is None

    def post(self, done: Done, result: Any) -> None:
        done(result)

    def close(self) -> None:
        """There is nothing to wait for."""
