"""Reading the commit log without the messages that are not needed: most of them are settled, or in
a queue segment as well. Skipping them makes a start quick."""

from typing import Final

from mypy_extensions import i64

from leveret_storage.errors import Damaged
from leveret_storage.format import entries
from leveret_storage.format.entries import Entry, Reader, StoredMessage
from leveret_storage.format.record_reader import Damage, Record, RecordReader, describe
from leveret_storage.format.segment_start import repeated_in
from leveret_storage.medium import Medium
from leveret_storage.recovery.transaction_reader import TransactionReader
from leveret_storage.segments.position_ranges import RangeSet
from leveret_storage.segments.run_buffer import RunBuffer

NOTHING: Final = RangeSet()
EVERYTHING: Final = RangeSet(2**62)
"""No position, and every position, that a journal has."""

STEP_BYTES: Final = 1024 * 1024
"""Bytes of records that one step reads for copying: some 0.3 ms, and 2 if all is copied, for which
the event loop may wait at each of its system calls."""


def scan_batch(
    payload: bytes,
    known: dict[int, RangeSet],
    spans: dict[int, tuple[int, int]],
    others: RangeSet = NOTHING,
) -> list[Entry]:
    """The entries of a batch as `read_entries` reads them, but for messages at known positions.

    :param known: by queue, the positions whose messages are skipped.
    :param spans: by queue, a half-open range around the positions of its messages; it is extended
        by all of the batch, those skipped included.
    :param others: the positions that are skipped of queues not in `known`.
    :raises Damaged: for an impossible entry.
    """
    found: list[Entry] = []
    reader = Reader(payload, 0)
    size = len(payload)
    queue = -1
    ranges = others
    first: i64 = 0
    end: i64 = 0
    while reader.at < size:
        kind = reader.octet()
        if kind != entries.MESSAGE:
            found.append(entries.read_other(reader, kind))
            continue
        targets: list[tuple[int, int]] = []
        remaining: i64 = reader.short()
        while remaining > 0:
            remaining -= 1
            number, position = reader.long(), reader.longlong()
            if number != queue:
                if queue >= 0:
                    spans[queue] = (int(first), int(end))
                queue = number
                ranges = known.get(queue, others)
                first, end = spans.get(queue, (position, position))
            if position < first:
                first = position
            if position >= end:
                end = position + 1
            if position not in ranges:
                targets.append((queue, position))
        if targets:
            found.append(Entry(kind, targets, message=reader.message()))
        else:
            reader.skip_message()
    if queue >= 0:
        spans[queue] = (int(first), int(end))
    return found


class LoggedRun:
    """Messages of one queue with consecutive positions, to be copied out of the log as one run."""

    def __init__(self, queue: int, buffer: RunBuffer) -> None:
        self.queue = queue
        self.first = int(buffer.first)
        self.messages = buffer.messages


class LoggedRuns:
    """Reads, in steps, the messages that a log segment has of some queues, but for some positions.
    All of it is used by one executor."""

    def __init__(
        self, medium: Medium, blob: str, not_needed: dict[int, RangeSet], shared_body_bytes: int
    ) -> None:
        """
        :param not_needed: by queue whose messages are read, the positions of those that are not.
        :param shared_body_bytes: bytes of a body from which on it is written once for all runs that
            it is in.
        """
        self.runs: list[LoggedRun] = []
        """What was found so far."""
        self._medium = medium
        self._blob = blob
        self._not_needed = not_needed
        self._shared_body_bytes = shared_body_bytes
        self._reader: RecordReader | None = None
        self._version = 0
        self._buffers: dict[int, RunBuffer] = {}
        self._transaction = TransactionReader()

    def read(self, size: i64 = STEP_BYTES) -> bool:
        """Read on for `size` bytes of records; whether that was the end.

        :raises StorageError: if it cannot be read, or is damaged.
        """
        reader = self._reader
        if reader is None:
            reader = self._reader = RecordReader(self._medium, self._blob)
            self._version = 0 if reader.header is None else reader.header.version
        for record in reader:
            if isinstance(record, Damage):
                raise Damaged(describe(record))
            self._add(record)
            size -= len(record.payload)
            if size <= 0:
                return False
        return True

    def _add(self, record: Record) -> None:
        if record.kind == entries.BATCH:
            found = scan_batch(record.payload, self._not_needed, {}, EVERYTHING)
            found = self._transaction.effective(found)
        else:
            found = repeated_in(record.payload, self._version)
        for entry in found:
            if entry.message is not None:
                self._add_message(entry.queues, entry.message)

    def _add_message(self, places: list[tuple[int, int]], message: StoredMessage) -> None:
        not_needed, buffers = self._not_needed, self._buffers
        runs_of_message = 0
        for queue, position in places:
            if queue not in not_needed or position in not_needed[queue]:
                continue
            runs_of_message += 1
            buffer = buffers.get(queue)
            if buffer is None or not buffer.takes(position):
                buffer = RunBuffer(position)
                buffers[queue] = buffer
                self.runs.append(LoggedRun(queue, buffer))
            buffer.append(message)
        if runs_of_message > 1 and len(message.body) >= self._shared_body_bytes:
            message.share()
