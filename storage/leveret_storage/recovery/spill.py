"""Messages a start finds in the log alone, put on disk when they are too many for memory.

A queue's last segment may have been written and not synced when the process died: then the log is
what counts, with up to a hundred megabytes of messages. Those of a queue that pass a bound become
runs in a queue segment of their own while the log is read, as the store would have made of them.

Only messages that a sync is known to have covered are taken: a batch is there as a whole or not at
all, and no part of one that is not may outlive it elsewhere.
"""

from leveret_storage.errors import MediumFull
from leveret_storage.format import entries
from leveret_storage.format.entries import Stored
from leveret_storage.medium import Medium
from leveret_storage.recovery.log_scan import STRETCH_BYTES, STRETCH_MESSAGES
from leveret_storage.segments.queue_journal import QueueSegment, Run
from leveret_storage.segments.segment_writer import QUEUE_KIND, SegmentWriter, queue_name


def spill(medium: Medium, queue: int, blob: int, messages: dict[int, Stored]) -> list[Run]:
    """Write a queue's messages, by position, to a new segment, and make it durable.

    :returns: their runs; none if there is no room for them.
    :raises StorageError: if it fails otherwise.
    """
    segment = QueueSegment(SegmentWriter(medium, queue_name(queue, blob), QUEUE_KIND))
    segment.finished = True
    runs: list[Run] = []
    try:
        for first, part in _stretches(messages):
            run = Run(segment, first, len(part))
            run.offset, run.size = segment.writer.append(entries.RUN, entries.run(first, part))
            run.live = [(first, run.end)]
            run.live_bytes = sum([len(message.body) for message in part])
            segment.add(run.live, len(part))
            segment.size += run.size
            runs.append(run)
        segment.writer.finish()
    except MediumFull:
        if segment.name in medium.list():
            medium.delete(segment.name)
        return []
    return runs


def _stretches(messages: dict[int, Stored]) -> list[tuple[int, list[Stored]]]:
    """The messages in order, in runs of consecutive positions."""
    found: list[tuple[int, list[Stored]]] = []
    size = 0
    for position in sorted(messages):
        message = messages[position]
        last = found[-1] if found else None
        if (
            last is None
            or last[0] + len(last[1]) != position
            or len(last[1]) >= STRETCH_MESSAGES
            or size >= STRETCH_BYTES
        ):
            last = (position, [])
            found.append(last)
            size = 0
        last[1].append(message)
        size += len(message.body)
    return found
