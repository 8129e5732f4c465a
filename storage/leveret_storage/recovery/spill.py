"""Spilling messages that a start finds in the log alone, when they take too much memory.

A queue's last segment may have been written and not synced when the process died. Its messages are
then taken from the log, up to a hundred megabytes of them. Those of one queue that take more than a
limit are written to a queue segment of their own while the log is read, as runs.

Only messages that a sync is known to have covered are spilled. A batch survives as a whole or not
at all, so no part of a batch that may be lost may become durable elsewhere.
"""

from leveret_storage.errors import MediumFull
from leveret_storage.format import entries
from leveret_storage.format.entries import StoredMessage
from leveret_storage.medium import Medium
from leveret_storage.segments.queue_journal import QueueSegment, Run
from leveret_storage.segments.run_buffer import RunBuffer
from leveret_storage.segments.segment_writer import QUEUE_KIND, SegmentWriter, queue_name


def spill(medium: Medium, queue: int, blob: int, messages: dict[int, StoredMessage]) -> list[Run]:
    """Write a queue's messages, by position, to a new segment, and make it durable.

    :returns: their runs; none if the medium is full.
    :raises StorageError: if it fails otherwise.
    """
    segment = QueueSegment(SegmentWriter(medium, queue_name(queue, blob), QUEUE_KIND))
    segment.sealed = True
    runs: list[Run] = []
    try:
        for buffer in _cut_into_runs(messages):
            first, part = int(buffer.first), buffer.messages
            run = Run(segment, first, len(part))
            run.offset, run.size = segment.writer.append(entries.RUN, entries.run(first, part))
            run.live = [(first, run.end)]
            run.live_bytes = buffer.body_bytes
            segment.add(run.live, len(part))
            segment.size += run.size
            runs.append(run)
        segment.writer.sync_and_mark()
    except MediumFull:
        if segment.name in medium.list():
            medium.delete(segment.name)
        return []
    return runs


def _cut_into_runs(messages: dict[int, StoredMessage]) -> list[RunBuffer]:
    """The messages in order of position."""
    runs: list[RunBuffer] = []
    for position in sorted(messages):
        if not runs or not runs[-1].takes(position):
            runs.append(RunBuffer(position))
        runs[-1].append(messages[position])
    return runs
