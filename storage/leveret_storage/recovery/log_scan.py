"""Reading the commit log without the messages that are not needed: most of them are settled, or in
a queue segment as well. Skipping them makes a start quick."""

from mypy_extensions import i64

from leveret_storage.errors import Damaged
from leveret_storage.format import entries
from leveret_storage.format.entries import Entry, Reader
from leveret_storage.format.record_reader import Damage, RecordReader, describe
from leveret_storage.format.segment_start import repeated_in
from leveret_storage.medium import Medium
from leveret_storage.recovery.transaction_reader import TransactionReader
from leveret_storage.segments.position_ranges import RangeSet
from leveret_storage.segments.run_buffer import RunBuffer


def scan_batch(
    payload: bytes, known: dict[int, RangeSet], spans: dict[int, tuple[int, int]]
) -> list[Entry]:
    """The entries of a batch as `read_entries` reads them, but for messages at known positions.

    :param known: by queue, the positions whose messages are skipped.
    :param spans: by queue, a half-open range around the positions of its messages; it is extended
        by all of the batch, those skipped included.
    :raises Damaged: for an impossible entry.
    """
    found: list[Entry] = []
    reader = Reader(payload, 0)
    size = len(payload)
    empty = RangeSet()
    queue = -1
    ranges = empty
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
                ranges = known.get(queue, empty)
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


def read_logged_runs(
    medium: Medium, blob: str, not_needed: dict[int, RangeSet], shared_body_bytes: int
) -> list[LoggedRun]:
    """The messages that a log segment has of the queues in `not_needed`, but for those at the
    positions given there.

    :param shared_body_bytes: bytes of a body from which on it is written once for all runs that it
        is in.
    :raises StorageError: if it cannot be read, or is damaged.
    """
    runs: list[LoggedRun] = []
    buffers: dict[int, RunBuffer] = {}
    transaction = TransactionReader()
    reader = RecordReader(medium, blob)
    version = 0 if reader.header is None else reader.header.version
    for record in reader:
        if isinstance(record, Damage):
            raise Damaged(describe(record))
        if record.kind == entries.BATCH:
            found = transaction.effective(scan_batch(record.payload, not_needed, {}))
        else:
            found = repeated_in(record.payload, version)
        for entry in found:
            message = entry.message
            if message is None:
                continue
            runs_of_message = 0
            for queue, position in entry.queues:
                if queue not in not_needed or position in not_needed[queue]:
                    continue
                runs_of_message += 1
                buffer = buffers.get(queue)
                if buffer is None or not buffer.takes(position):
                    buffer = RunBuffer(position)
                    buffers[queue] = buffer
                    runs.append(LoggedRun(queue, buffer))
                buffer.append(message)
            if runs_of_message > 1 and len(message.body) >= shared_body_bytes:
                message.share()
    return runs
