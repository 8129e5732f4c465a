"""The transaction of a store: several batches have parts of it, and it counts as a whole or not at
all.

There is one at a time. Between its parts others settle, publish and define as always, and their
batches are committed with the parts in them. Until it is committed, no log segment begins, no run
is written, nothing is deleted, and no checkpoint ends: the settled positions of the journals are
ahead of what counts. So its end has to come soon.
"""

from collections.abc import Callable

from leveret_storage.store.checkpoint_writer import CheckpointWriter
from leveret_storage.store.commit_log import CommitLog
from leveret_storage.store.limits import TRANSACTION_BATCH_BYTES
from leveret_storage.store.open_batch import OpenBatch


class StoreTransaction:
    """The transaction of a store, or the place for the next one."""

    def __init__(
        self,
        batch: OpenBatch,
        log: CommitLog,
        checkpoint: CheckpointWriter,
        add_settlements: Callable[[], None],
    ) -> None:
        """`add_settlements` adds what was settled to the open batch."""
        self._batch = batch
        self._log = log
        self._checkpoint = checkpoint
        self._add_settlements = add_settlements

    def is_open(self) -> bool:
        """Whether one was begun and is not committed."""
        return self._batch.has_transaction

    def may_begin(self) -> bool:
        """Whether one may begin: none is open, and its parts will be in one log segment."""
        return not self._batch.has_transaction and not self._log.is_segment_full()

    def begin(self) -> None:
        """Begin one, which has no part yet."""
        self._batch.has_transaction = True

    def may_begin_part(self) -> bool:
        """Whether the open batch is short enough to get another part."""
        return self._batch.size() < TRANSACTION_BATCH_BYTES

    def begin_part(self) -> None:
        """What is persisted and settled from here on, up to `end_part`, belongs to the transaction.
        No batch is committed before that. The creation of queues, and what was delivered, counts
        whether the transaction does or not."""
        self._add_settlements()
        self._batch.begin_part()

    def end_part(self) -> None:
        """What follows belongs to the transaction no more."""
        self._add_settlements()
        self._batch.end_part()

    def commit(self) -> None:
        """Commit it with the open batch. No part of it is open."""
        self._batch.commit_transaction()
        self._checkpoint.resume()
