"""An executor whose jobs run, and whose results are handed back, when the test says so."""

from collections import deque
from typing import Any

from leveret_storage.errors import MediumFull, StorageError
from leveret_storage.media.executor import Done, Job


class StepExecutor:
    """Jobs and results, each in order."""

    def __init__(self) -> None:
        self.jobs: deque[tuple[Job, Done]] = deque()
        self.results: deque[tuple[Done, Any]] = deque()
        self._error: StorageError | None = None

    def submit(self, job: Job, done: Done) -> None:
        self.jobs.append((job, done))

    def submit_freeing(self, job: Job, done: Done) -> None:
        self.jobs.appendleft((job, done))

    def is_free(self) -> bool:
        return not self.jobs and self._error is None

    def post(self, done: Done, result: Any) -> None:
        self.results.append((done, result))

    def run_one(self) -> None:
        """Run the next job; one that finds the medium full stays the next."""
        job, done = self.jobs[0]
        result: Any = self._error
        if result is None:
            try:
                result = job()
            except MediumFull:
                return
            except StorageError as error:
                result = self._error = error
        self.jobs.popleft()
        self.results.append((done, result))

    def deliver_one(self) -> None:
        """Hand back the next result."""
        done, result = self.results.popleft()
        done(result)

    def step(self) -> None:
        """Run the next job, and hand back all results there are."""
        self.run_one()
        while self.results:
            self.deliver_one()

    def run(self) -> None:
        """Run all jobs and hand back their results, and what that leads to."""
        while self.jobs or self.results:
            if self.results:
                self.deliver_one()
            else:
                self.run_one()

    def close(self) -> None:
        """Run all jobs; results are handed back later."""
        while self.jobs:
            self.run_one()
