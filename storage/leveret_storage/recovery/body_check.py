"""Which messages of a shared run can be read: their bodies are in body segments, which may be lost.

A run that a mark proves durable has its bodies on disk: what is missing of them is damage. Of the
bodies of another run any may be lost, as the run itself may. The log has their messages then.
"""

from leveret_storage.errors import Damaged, NoSuchBlob
from leveret_storage.format.entries import ABSENT
from leveret_storage.format.runs import read_run
from leveret_storage.medium import Medium
from leveret_storage.segments.body_segment import read_body
from leveret_storage.segments.position_ranges import RangeSet
from leveret_storage.segments.queue_journal import Run
from leveret_storage.segments.segment_writer import read_record


def positions_without_body(medium: Medium, run: Run, settled: RangeSet) -> list[int]:
    """The positions of a run whose message is not settled and has no body that can be read.

    :raises Damaged: if the run is not what was written.
    :raises UnknownFormat: if a newer program wrote it.
    :raises StorageError: if it cannot be read.
    """
    kind, payload = read_record(medium, run.segment.name, int(run.offset), int(run.size))
    lost = []
    for position, message in enumerate(read_run(payload, kind), int(run.first)):
        if message is ABSENT or message.place is None or position in settled:
            continue
        try:
            read_body(medium, message.place)
        except (NoSuchBlob, Damaged):
            lost.append(position)
    return lost


def leave_out(run: Run, positions: list[int]) -> None:
    """Have positions of a run count as not in it."""
    without = RangeSet()
    for position in positions:
        without.add(position, position + 1)
    run.live = [gap for first, end in run.live for gap in without.gaps(first, end)]
    run.live_bytes = -1
