"""What says of a segment that its bytes are durable, so that damage is not taken for a torn end."""

from leveret_storage.format import entries
from leveret_storage.format.record_reader import Damage, RecordReader
from leveret_storage.segments.segment_writer import QUEUE_KIND, SegmentWriter
from tests.storage.faulty import FaultyMedium
from tests.storage.owning import take

NAME = "queue-0000000001-000000000001"
PAYLOADS = [b"first", b"second", b"last"]


def written(medium: FaultyMedium) -> SegmentWriter:
    """A segment with three records, none of them synced."""
    take(medium)
    writer = SegmentWriter(medium, NAME, QUEUE_KIND)
    for payload in PAYLOADS:
        writer.append(entries.RUN, [payload])
    return writer


def read(medium: FaultyMedium) -> tuple[list[bytes], list[str], bool]:
    """Payloads, reasons of damage, and whether the end is torn."""
    reader = RecordReader(medium, NAME)
    payloads, damages = [], []
    for item in reader:
        if isinstance(item, Damage):
            damages.append(item.why)
        else:
            payloads.append(item.payload)
    return payloads, damages, reader.torn is not None


def test_damage_in_the_last_record_of_a_finished_segment_is_damage() -> None:
    medium = FaultyMedium(1)
    writer = written(medium)
    offset, size = writer.append(entries.RUN, [b"and one more"])
    writer.sync_and_mark()
    medium.flip(NAME, offset + size - 1, 0)

    assert read(medium) == (PAYLOADS, ["a wrong CRC"], False)


def test_a_segment_that_was_only_synced_looks_torn_there() -> None:
    medium = FaultyMedium(1)
    writer = written(medium)
    offset, size = writer.append(entries.RUN, [b"and one more"])
    writer.sync()
    medium.flip(NAME, offset + size - 1, 0)

    assert read(medium) == (PAYLOADS, [], True)


def test_a_finished_segment_survives_power_loss() -> None:
    medium = FaultyMedium(1)
    written(medium).sync_and_mark()

    assert read(medium.crash())[0] == PAYLOADS


def test_finishing_twice_writes_nothing_more() -> None:
    medium = FaultyMedium(1)
    writer = written(medium)
    writer.sync_and_mark()
    size = medium.size(NAME)

    writer.sync_and_mark()

    assert medium.size(NAME) == size


def test_a_finished_segment_goes_on() -> None:
    medium = FaultyMedium(1)
    writer = written(medium)
    writer.sync_and_mark()
    offset, size = writer.append(entries.RUN, [b"later"])
    writer.sync_and_mark()

    assert read(medium) == ([*PAYLOADS, b"later"], [], False)
    assert medium.read(NAME, offset, size).endswith(b"later")
