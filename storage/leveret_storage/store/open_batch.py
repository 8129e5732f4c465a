"""The open batch: the entries of the next group commit, encoded as they come.

It is filled while earlier batches are written and synced. The store takes it out as one payload,
which becomes one record of the commit log.

A large message that every queue it went to has settled before that is left out: what its confirm
promises is kept by the settlements, which are in the same batch or an earlier one.

The entries of a transaction are in parts of several batches, between the entries of others. They
count when the transaction is committed, by a batch that says so. Until then the settled positions
of the journals are ahead of what is durable, so nothing is deleted because of them.
"""

from typing import Final

from librt.strings import BytesWriter
from mypy_extensions import i64

from leveret_storage.format import entries
from leveret_storage.format.entries import Checkpoint, StoredMessage
from leveret_storage.segments.queue_journal import QueueJournal, QueueSegment

PART_BYTES_MAX: Final = 1024 * 1024
"""Bytes of small entries at which a part of a batch ends: copying them takes some 0.2 ms."""


class LargeMessage:
    """The entry of a message with a large body, and its places."""

    def __init__(self, part: int, queues: list[QueueJournal], positions: list[int]) -> None:
        self.part = part
        """The index of the part that the entry begins with; the next part is the body."""
        self._queues = queues
        self._positions = positions

    def is_settled(self) -> bool:
        """Whether all its queues have settled it."""
        at: i64 = 0
        while at < len(self._queues):
            if not self._queues[at].is_settled(self._positions[at]):
                return False
            at += 1
        return True


class OpenBatch:
    """The entries that were added since the last batch was taken out."""

    def __init__(self) -> None:
        self.out = BytesWriter()
        """The entries behind `_parts`."""
        self.awaited = False
        """Whether anything waits for the batch to be durable."""
        self.changed: list[QueueJournal] = []
        """Queues with settlements that are not in a batch yet, or with a segment to be examined;
        shared with the journals, which add themselves."""
        self.obsolete: list[QueueSegment] = []
        """Queue segments that are not needed once the batch is durable."""
        self._with_messages: list[QueueJournal] = []
        self._parts: list[bytes] = []
        """The first entries; large bodies are parts of their own, so they are not copied."""
        self._parts_bytes: i64 = 0
        self._large: list[LargeMessage] = []
        self.has_transaction = False
        """Whether a transaction was begun and is not committed."""
        self.in_part = False
        """Whether what is added belongs to the transaction."""

    def has_changes(self) -> bool:
        """Whether it has entries, or positions were settled since the last batch, or in a
        transaction that is not committed."""
        return self.has_transaction or self.size() > 0 or bool(self.changed)

    def size(self) -> i64:
        """Bytes of its entries."""
        return self._parts_bytes + len(self.out)

    def add_message(
        self, queues: list[QueueJournal], positions: list[int], message: StoredMessage
    ) -> None:
        """Add a message that went to `queues`, at `positions`."""
        most = entries.TARGETS_MAX
        if len(queues) > most:
            self.add_message(queues[:most], positions[:most], message)
            self.add_message(queues[most:], positions[most:], message)
            return
        if len(message.body) >= entries.REFERRED_BYTES:
            self._add_large(queues, positions, message)
            return
        out = self.out
        entries.begin_message(out, len(queues))
        at: i64 = 0
        while at < len(queues):
            self._write_place(queues[at], positions[at])
            at += 1
        entries.write_stored(out, message)
        self.awaited = True

    def add_message_to_one(
        self, queue: QueueJournal, position: i64, message: StoredMessage
    ) -> None:
        """Add a message that went to one queue."""
        if len(message.body) >= entries.REFERRED_BYTES:
            self._add_large([queue], [int(position)], message)
            return
        out = self.out
        entries.begin_message(out, 1)
        self._write_place(queue, position)
        entries.write_stored(out, message)
        self.awaited = True

    def _add_large(
        self, queues: list[QueueJournal], positions: list[int], message: StoredMessage
    ) -> None:
        out = self.out
        self._end_part()
        entries.begin_message(out, len(queues))
        at: i64 = 0
        while at < len(queues):
            self._write_place(queues[at], positions[at])
            at += 1
        entries.write_stored_head(out, message)
        self._large.append(LargeMessage(len(self._parts), queues, positions))
        self._end_part()
        self._parts.append(message.body)
        self._parts_bytes += len(message.body)
        self.awaited = True

    def _end_part(self) -> None:
        out = self.out
        if len(out):
            self._parts.append(out.getvalue())
            self._parts_bytes += len(out)
            out.truncate(0)

    def end_long_part(self) -> None:
        """End a part that has got long, so that a long batch is not copied all at once."""
        if len(self.out) > PART_BYTES_MAX:
            self._end_part()

    def leave_out_settled(self) -> None:
        """Leave out the large messages that all their queues have settled. The settlements have to
        be in the batch already, or in an earlier one; those of a transaction do not count yet."""
        if self.has_transaction:
            self._large = []
            return
        left_out = False
        parts = self._parts
        for large in self._large:
            if large.is_settled():
                head, body = parts[large.part], parts[large.part + 1]
                self._parts_bytes -= len(head) + len(body)
                parts[large.part] = parts[large.part + 1] = b""
                left_out = True
        self._large = []
        if left_out:
            self._parts = [part for part in parts if part]

    def _write_place(self, queue: QueueJournal, position: i64) -> None:
        entries.write_place(self.out, queue.number, position)
        if queue.open_end < 0:
            queue.open_first = position
            self._with_messages.append(queue)
        if position < queue.open_first:
            queue.open_first = position
        if position >= queue.open_end:
            queue.open_end = position + 1

    def add_definition(self, data: bytes) -> None:
        """Add a definition."""
        entries.write_definition(self.out, data)
        self.awaited = True

    def add_queue(self, number: int) -> None:
        """Add the creation of a queue."""
        entries.write_queue(self.out, number)
        self.awaited = True

    def add_queue_deletion(self, number: int) -> None:
        """Add the deletion of a queue."""
        entries.write_queue_deleted(self.out, number)
        self.awaited = True

    def add_settled(self, queue: QueueJournal, ranges: list[tuple[int, int]]) -> None:
        """Add the settlement of half-open ranges of positions."""
        for first, end in ranges:
            entries.write_settled(self.out, queue.number, first, end)

    def add_delivered(self, queue: QueueJournal) -> None:
        """Add up to which position messages of a queue may have been delivered."""
        entries.write_delivered(self.out, queue.number, queue.delivered_end)

    def add_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Add that a checkpoint replaces the one before."""
        entries.write_checkpoint_advanced(self.out, checkpoint)
        self.awaited = True

    # --- the transaction --------------------------------------------------------------------

    def begin_part(self) -> None:
        """What is added from here on belongs to the transaction."""
        self.in_part = True
        entries.write_transaction(self.out, entries.PART_BEGUN)

    def end_part(self) -> None:
        """What is added from here on belongs to the batch alone."""
        self.in_part = False
        entries.write_transaction(self.out, entries.PART_ENDED)
        self.awaited = True

    def commit_transaction(self) -> None:
        """Add that the transaction is committed."""
        self.has_transaction = False
        entries.write_transaction(self.out, entries.COMMITTED)
        self.awaited = True

    # --- the end of the batch ---------------------------------------------------------------

    def take_parts(self) -> list[bytes]:
        """Take the entries out, as one payload in parts; none if there are no entries.

        Small entries are copied: 2 us for 64 KiB, for which a sync takes more than 100.
        """
        self._end_part()
        parts = self._parts
        self._parts = []
        self._parts_bytes = 0
        return parts

    def take_changed(self) -> list[QueueJournal]:
        """Take out the queues in `changed`."""
        changed = self.changed[:]
        self.changed.clear()
        return changed

    def take_obsolete(self) -> list[QueueSegment]:
        """Take out the obsolete segments; none while a transaction may have made them so."""
        if self.has_transaction:
            return []
        obsolete = self.obsolete
        self.obsolete = []
        return obsolete

    def take_queues_with_messages(self) -> list[QueueJournal]:
        """Take out the queues that have messages in the entries, around whose positions they have
        `open_first` and `open_end`; the caller resets these."""
        queues = self._with_messages
        self._with_messages = []
        return queues
