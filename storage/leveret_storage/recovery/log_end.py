"""How much of the commit log is known to be there, from what a start or a stop noted in the head.

A log segment that was cut or deleted looks like one that a crash left so. The note tells the two
apart: it names a segment of the log and how many of its bytes were durable, so less than that is
damage. Segments are deleted oldest first, so a segment with a later number replaces it.
"""

from typing import Final, NamedTuple

from leveret_storage.format.record_reader import Damage
from leveret_storage.medium import Medium
from leveret_storage.segments.segment_writer import log_name


class LogEnd(NamedTuple):
    """The last log segment at some time, and its bytes that were durable then."""

    number: int
    """The number of its blob; 0 if nothing was noted."""
    size: int


NOT_NOTED: Final = LogEnd(0, 0)


def note_nothing(end: LogEnd) -> None:
    """Note nothing, where the head says nothing of the log."""


def find_lost_log(
    medium: Medium, found: list[int], begun: int, end: LogEnd, has_queue_segments: bool
) -> Damage | None:
    """The damage of a log that is missing, or has no first record.

    The first record of a log segment is durable before a queue segment is written and before an
    older log segment is deleted. Damage inside a log segment is not looked for here.

    :param found: the numbers of the log segments.
    :param begun: that of the last one with its first record; 0 if there is none.
    """
    if end.number > max(found, default=0):
        return Damage(log_name(end.number), 0, end.size, "the log segment is missing")
    if begun or not has_queue_segments:
        return None
    if not found:
        return Damage(log_name(0), 0, 0, "the log is missing, and there are queue segments")
    name = log_name(found[-1])
    why = "the log has no first record, and there are queue segments"
    return Damage(name, 0, medium.size(name), why)
