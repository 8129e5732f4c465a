"""Writing a whole store at once, for a copy: what a store would have after a long time without use.

Messages go to where a recovery found them: from runs to queue segments, with the bodies that
several queues hold in body segments, and from the commit log to the commit log, which is one
segment. Definitions and settled positions go to a checkpoint segment, which the log names. So each
byte is written once, in order, and no queue with few messages gets a segment. Everything is durable
when `finish` returns, and no start finds a store before that: it has no log.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from librt.strings import BytesWriter

from leveret_storage.errors import Damaged
from leveret_storage.format import entries, runs
from leveret_storage.format.entries import ABSENT, BodyPlace, Checkpoint, StoredMessage
from leveret_storage.format.segment_start import SegmentStart, write_segment_start
from leveret_storage.medium import Medium
from leveret_storage.recovery.log_end import LogEnd
from leveret_storage.recovery.recovered_queue import LoggedMessages, RecoveredQueue
from leveret_storage.segments.position_ranges import RangeSet
from leveret_storage.segments.queue_journal import QUEUE_SEGMENT_BYTES, Run, read_messages
from leveret_storage.segments.segment_writer import (
    BODIES_KIND,
    CHECKPOINT_KIND,
    LOG_KIND,
    QUEUE_KIND,
    SegmentWriter,
    bodies_name,
    checkpoint_name,
    log_name,
    queue_name,
)
from leveret_storage.store.limits import BODY_SEGMENT_BYTES

RECORD_BYTES: Final = 64 * 1024
"""Bytes of a record of the checkpoint, about."""

PLACES_MAX: Final = 500_000
"""Bodies of which it is known where they were written. One that is met again behind so many others
is written again."""


class StoreWriter:
    """Writes to a medium that was taken and has no blobs."""

    def __init__(self, medium: Medium) -> None:
        self._medium = medium
        self._blob = 0
        self._queues: list[tuple[int, RangeSet, int]] = []
        """The number of each queue, its settled positions, and the end of those delivered."""
        self._bodies: SegmentWriter | None = None
        self._bodies_blob = 0
        self._bodies_bytes = 0
        self._places: dict[tuple[int, int, int], BodyPlace] = {}
        """The new places of bodies, by medium, body segment and offset of the old ones."""
        self._logged: dict[int, tuple[StoredMessage, list[tuple[int, int]]]] = {}
        """Messages that only the log had: each once, with its queues and positions."""

    def _next_blob(self) -> int:
        self._blob += 1
        return self._blob

    def write_queue(self, number: int, source: Medium, queue: RecoveredQueue, origin: int) -> int:
        """Write a queue as a recovery of another medium has found it.

        :param origin: a number of this other medium, among those that are copied from.
        :returns: how many messages it has.
        :raises StorageError: if anything cannot be read or written.
        """
        self._queues.append((number, queue.settled, int(queue.delivered_end)))
        writer: SegmentWriter | None = None
        size = count = 0
        for item in queue.contents:
            if isinstance(item, LoggedMessages):
                count += len(item.messages)
                self._add_logged(number, item)
                continue
            first, messages = _live_part(source, item)
            if writer is None or size >= QUEUE_SEGMENT_BYTES:
                if writer is not None:
                    writer.sync_and_mark()
                name = queue_name(number, self._next_blob())
                writer, size = SegmentWriter(self._medium, name, QUEUE_KIND), 0
            placed = [self._placed(each, origin) for each in messages]
            if self._bodies is not None:
                writer.needs(self._bodies)
            is_shared = any(each.place is not None for each in placed)
            kind = entries.SHARED_RUN if is_shared else entries.RUN
            size += writer.append(kind, runs.run(first, placed))[1]
            count += len(messages) - messages.count(ABSENT)
        if writer is not None:
            writer.sync_and_mark()
        return count

    def _add_logged(self, number: int, item: LoggedMessages) -> None:
        for position, message in enumerate(item.messages, item.first):
            # One that is in several queues is one object.
            self._logged.setdefault(id(message), (message, []))[1].append((number, position))

    def _placed(self, message: StoredMessage, origin: int) -> StoredMessage:
        """The same message, its body written elsewhere if others may have it, too."""
        place = message.place
        if place is None:
            return message
        key = (origin, int(place.blob), int(place.offset))
        new = self._places.get(key)
        if new is None:
            if self._bodies is None or self._bodies_bytes >= BODY_SEGMENT_BYTES:
                if self._bodies is not None:
                    self._bodies.sync_and_mark()
                self._bodies_blob, self._bodies_bytes = self._next_blob(), 0
                name = bodies_name(self._bodies_blob)
                self._bodies = SegmentWriter(self._medium, name, BODIES_KIND)
            offset = self._bodies.append_body(message.body)
            new = BodyPlace(self._bodies_blob, offset, len(message.body))
            self._bodies_bytes += len(message.body)
            if len(self._places) >= PLACES_MAX:
                self._places.clear()
            self._places[key] = new
        copy = StoredMessage(
            message.route,
            message.header,
            b"",
            message.persistent,
            message.arrived,
            message.expires_at,
        )
        copy.place = new
        return copy

    def finish(self, definitions: Iterable[bytes]) -> LogEnd:
        """Write definitions and state, and make everything durable.

        :returns: what to note in the head of the end of the log.
        :raises StorageError: if that fails.
        """
        if self._bodies is not None:
            self._bodies.sync_and_mark()
        number = self._next_blob()
        writer = SegmentWriter(self._medium, checkpoint_name(number), CHECKPOINT_KIND)
        out = BytesWriter()
        for _ in self._state(out, definitions):
            if len(out) >= RECORD_BYTES:
                writer.append(entries.STATE, [out.getvalue()])
                out.truncate(0)
        writer.append(entries.STATE, [out.getvalue()])
        writer.sync_and_mark()
        checkpoint = Checkpoint([entries.CheckpointPart(number, writer.synced_bytes)], 0, number)
        next_queue = max((each for each, _, _ in self._queues), default=0) + 1
        log_number = self._next_blob()
        log = SegmentWriter(self._medium, log_name(log_number), LOG_KIND)
        start = SegmentStart(next_queue, checkpoint, 0, [])
        log.append(entries.SEGMENT_START, [write_segment_start(start)])
        out.truncate(0)
        for message, places in self._logged.values():
            _write_message(out, message, places)
            if len(out) >= RECORD_BYTES:
                log.append(entries.BATCH, [out.getvalue()])
                out.truncate(0)
        if len(out):
            log.append(entries.BATCH, [out.getvalue()])
        log.sync_and_mark()
        return LogEnd(log_number, log.synced_bytes)

    def _state(self, out: BytesWriter, definitions: Iterable[bytes]) -> Iterator[None]:
        for data in definitions:
            entries.write_definition(out, data)
            yield None
        for number, settled, delivered_end in self._queues:
            entries.write_queue(out, number)
            if delivered_end:
                entries.write_delivered(out, number, delivered_end)
            for first, end in settled.ranges():
                entries.write_settled(out, number, first, end)
                yield None


def _write_message(out: BytesWriter, message: StoredMessage, places: list[tuple[int, int]]) -> None:
    for at in range(0, len(places), entries.TARGETS_MAX):
        part = places[at : at + entries.TARGETS_MAX]
        entries.write_message(
            out, [number for number, _ in part], [position for _, position in part], message
        )


def parts_of(medium: Medium, queue: RecoveredQueue) -> Iterator[tuple[int, list[StoredMessage]]]:
    """The messages of a queue that a recovery has found, with their bodies: the position of the
    first one, and those at the positions from there on, ABSENT where there is none.

    :raises StorageError: if one cannot be read.
    """
    for item in queue.contents:
        if isinstance(item, LoggedMessages):
            yield item.first, item.messages
        else:
            yield _live_part(medium, item)


def _live_part(medium: Medium, run: Run) -> tuple[int, list[StoredMessage]]:
    messages, missing = read_messages(medium, run, [run])
    if missing:
        raise Damaged(
            f"{run.segment.name}: the body segment of the message at {missing[0]} is missing"
        )
    start, end = run.live[0][0], run.live[-1][1]
    live = RangeSet()
    for first, behind in run.live:
        live.add(first, behind)
    part = messages[start - int(run.first) : end - int(run.first)]
    for first, behind in live.gaps(start, end):
        for position in range(first, behind):
            part[position - start] = ABSENT
    return start, part
