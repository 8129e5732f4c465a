"""The objects that the parts of one store share."""

from collections.abc import Callable

from leveret_storage.errors import StorageError
from leveret_storage.media.executor import Executor
from leveret_storage.medium import Medium
from leveret_storage.segments.queue_journal import QueueJournal
from leveret_storage.store.failure import StoreFailure
from leveret_storage.store.limits import DEFAULT_LIMITS, StoreLimits
from leveret_storage.store.measures import StoreMeasures
from leveret_storage.store.numbers import Numbers
from leveret_storage.store.open_batch import OpenBatch


class RunMedium:
    """Where runs are written: a medium, and the executors that wait for it."""

    def __init__(self, medium: Medium, writing: Executor, reading: Executor) -> None:
        self.medium = medium
        self.writing = writing
        """Runs what changes the medium, in order."""
        self.reading = reading
        """Runs what reads, and what may take long beside a commit."""

    def close(self) -> None:
        """Wait until every job has run, and run no more."""
        self.writing.close()
        self.reading.close()


class StoreContext:
    """Medium, executors, limits and state of one store. Two stores share none of them."""

    def __init__(
        self,
        medium: Medium,
        writing: Executor,
        reading: Executor,
        limits: StoreLimits | None,
        on_failed: Callable[[StorageError], None],
        transient_runs: RunMedium | None = None,
    ) -> None:
        self.medium = medium
        self.writing = writing
        self.reading = reading
        self.durable_runs = RunMedium(medium, writing, reading)
        self.transient_runs = transient_runs or self.durable_runs
        """Where runs are that do not have to survive."""
        self.limits = limits or DEFAULT_LIMITS
        self.batch = OpenBatch()
        self.queues: dict[int, QueueJournal] = {}
        """The journals of all queues, by number."""
        self.numbers = Numbers()
        self.failure = StoreFailure(on_failed)
        self.measures = StoreMeasures()

    def close_executors(self) -> None:
        """Wait until every job has run, and run no more."""
        self.durable_runs.close()
        if self.transient_runs is not self.durable_runs:
            self.transient_runs.close()
