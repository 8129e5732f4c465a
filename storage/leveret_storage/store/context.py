"""The objects that the parts of one store share."""

from collections.abc import Callable

from leveret_storage.errors import StorageError
from leveret_storage.media.executor import Executor
from leveret_storage.medium import Medium
from leveret_storage.segments.queue_journal import QueueJournal
from leveret_storage.store.failure import StoreFailure
from leveret_storage.store.limits import StoreLimits
from leveret_storage.store.measures import StoreMeasures
from leveret_storage.store.numbers import Numbers
from leveret_storage.store.open_batch import OpenBatch


class StoreContext:
    """Medium, executors, limits and state of one store. Two stores share none of them."""

    def __init__(
        self,
        medium: Medium,
        writing: Executor,
        reading: Executor,
        limits: StoreLimits,
        on_failed: Callable[[StorageError], None],
    ) -> None:
        self.medium = medium
        self.writing = writing
        """Runs what changes the medium, in order."""
        self.reading = reading
        """Runs what reads, and what may take long beside a commit."""
        self.limits = limits
        self.batch = OpenBatch()
        self.queues: dict[int, QueueJournal] = {}
        """The journals of all queues, by number."""
        self.numbers = Numbers()
        self.failure = StoreFailure(on_failed)
        self.measures = StoreMeasures()
