"""Spilling messages that a start finds in the log alone, when they take too much memory.

A queue's last segment may have been written and not synced when the process died. Its messages are
then taken from the log, up to a hundred megabytes of them. Those of one queue that take more than a
limit are written to a queue segment of their own while the log is read, as runs.

Only messages that a sync is known to have covered are spilled. A batch survives as a whole or not
at all, so no part of a batch that may be lost may become durable elsewhere.
"""

from leveret_storage.errors import MediumFull
from leveret_storage.format import entries, runs
from leveret_storage.format.entries import StoredMessage
from leveret_storage.medium import Medium
from leveret_storage.segments.queue_journal import QueueSegment, Run
from leveret_storage.segments.run_buffer import RunBuffer
from leveret_storage.segments.segment_writer import (
    BODIES_KIND,
    QUEUE_KIND,
    SegmentWriter,
    bodies_name,
    queue_name,
)


class SpilledBodies:
    """A body segment for the bodies that several queues hold whose messages are spilled."""

    def __init__(self, medium: Medium, blob: int) -> None:
        self.blob = blob
        self._writer = SegmentWriter(medium, bodies_name(blob), BODIES_KIND)

    def write(self, messages: list[StoredMessage], needed_by: SegmentWriter) -> None:
        """Write the shared bodies of a run that are not written yet.

        :raises StorageError: if it fails.
        """
        for message in messages:
            place = message.place
            if place is not None and place.blob == 0:
                place.offset = self._writer.append_body(message.body)
                place.blob = self.blob
                needed_by.needs(self._writer)

    def close(self) -> None:
        """Make all durable: nothing is written to it any more.

        :raises StorageError: if it fails.
        """
        self._writer.sync_and_mark()


def spill(
    medium: Medium,
    queue: int,
    blob: int,
    messages: dict[int, StoredMessage],
    bodies: SpilledBodies,
) -> list[Run]:
    """Write a queue's messages, by position, to a new segment, and make it durable.

    :param bodies: takes the bodies that several queues hold.
    :returns: their runs; none if the medium is full.
    :raises StorageError: if it fails otherwise.
    """
    segment = QueueSegment(SegmentWriter(medium, queue_name(queue, blob), QUEUE_KIND))
    segment.sealed = True
    written: list[Run] = []
    try:
        for buffer in _cut_into_runs(messages):
            first, part = int(buffer.first), buffer.messages
            run = Run(segment, first, len(part))
            bodies.write(part, segment.writer)
            spans = runs.body_spans(first, part)
            kind = entries.SHARED_RUN if spans else entries.RUN
            run.offset, run.size = segment.writer.append(kind, runs.run(first, part))
            for span in spans:
                segment.include_bodies(span)
            run.live = [(first, run.end)]
            run.live_bytes = buffer.body_bytes
            segment.add(run.live, len(part))
            segment.size += run.size
            written.append(run)
        segment.writer.sync_and_mark()
    except MediumFull:
        if segment.name in medium.list():
            medium.delete(segment.name)
        return []
    return written


def _cut_into_runs(messages: dict[int, StoredMessage]) -> list[RunBuffer]:
    """The messages in order of position."""
    runs: list[RunBuffer] = []
    for position in sorted(messages):
        if not runs or not runs[-1].takes(position):
            runs.append(RunBuffer(position))
        runs[-1].append(messages[position])
    return runs
