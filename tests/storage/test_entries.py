"""What is written into records is read from them, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from librt.strings import BytesWriter

from leveret_storage.errors import Damaged, UnknownFormat
from leveret_storage.format import entries, runs
from leveret_storage.format.entries import Checkpoint, CheckpointPart, Entry, StoredMessage
from leveret_storage.format.segment_start import (
    SegmentStart,
    read_segment_start,
    write_segment_start,
)

QUEUE = st.integers(0, 2**31 - 1)
POSITION = st.integers(0, 2**63 - 1)
DATA = st.binary(max_size=20)
TIME = st.just(0) | POSITION
STORED = st.builds(StoredMessage, DATA, DATA, DATA, st.booleans(), TIME, TIME)
TARGETS = st.lists(st.tuples(QUEUE, POSITION), max_size=5)
NOTHING = st.just(b"")
ZERO = st.just(0)
MESSAGE = st.builds(
    Entry, st.just(entries.MESSAGE), TARGETS, ZERO, ZERO, STORED, NOTHING, st.none(), ZERO
)
ONE_QUEUE = QUEUE.map(lambda number: [(number, 0)])
SETTLED = st.builds(
    Entry,
    st.just(entries.SETTLED),
    ONE_QUEUE,
    POSITION,
    POSITION,
    st.none(),
    NOTHING,
    st.none(),
    ZERO,
)
DEFINITION = st.builds(
    Entry, st.just(entries.DEFINITION), st.just([]), ZERO, ZERO, st.none(), DATA, st.none(), ZERO
)
DELIVERED = st.builds(
    Entry,
    st.just(entries.DELIVERED),
    ONE_QUEUE,
    ZERO,
    POSITION,
    st.none(),
    NOTHING,
    st.none(),
    ZERO,
)
OF_A_QUEUE = st.sampled_from([entries.QUEUE, entries.QUEUE_DELETED])
ABOUT_QUEUE = st.builds(
    Entry, OF_A_QUEUE, ONE_QUEUE, ZERO, ZERO, st.none(), NOTHING, st.none(), ZERO
)
STEP = st.sampled_from([entries.PART_BEGUN, entries.PART_ENDED, entries.COMMITTED])
TRANSACTION = st.builds(
    Entry,
    st.just(entries.TRANSACTION),
    st.just([]),
    STEP,
    ZERO,
    st.none(),
    NOTHING,
    st.none(),
    ZERO,
)
ANY = MESSAGE | SETTLED | DEFINITION | DELIVERED | ABOUT_QUEUE | TRANSACTION
ENTRIES = st.lists(ANY, max_size=6)


def written(batch: list[Entry]) -> bytes:
    out = BytesWriter()
    for entry in batch:
        if entry.kind == entries.MESSAGE:
            assert entry.message is not None
            numbers = [number for number, _ in entry.queues]
            positions = [position for _, position in entry.queues]
            entries.write_message(out, numbers, positions, entry.message)
        elif entry.kind == entries.SETTLED:
            entries.write_settled(out, entry.queues[0][0], entry.first, entry.end)
        elif entry.kind == entries.DEFINITION:
            entries.write_definition(out, entry.data)
        elif entry.kind == entries.TRANSACTION:
            entries.write_transaction(out, entry.first)
        elif entry.kind == entries.DELIVERED:
            entries.write_delivered(out, entry.queues[0][0], entry.end)
        elif entry.kind == entries.QUEUE:
            entries.write_queue(out, entry.queues[0][0])
        else:
            entries.write_queue_deleted(out, entry.queues[0][0])
    return out.getvalue()


def plain(batch: list[Entry]) -> list[object]:
    """Entries as what can be compared."""
    return [(*each._replace(message=None), each.message and parts(each.message)) for each in batch]


def parts(message: StoredMessage) -> object:
    return (
        message.route,
        message.header,
        message.body,
        message.persistent,
        message.arrived,
        message.expires_at,
    )


@given(ENTRIES)
def test_entries_are_read_as_they_were_written(batch: list[Entry]) -> None:
    assert plain(entries.read_entries(written(batch))) == plain(batch)


@given(ANY)
def test_an_entry_cut_anywhere_is_damaged(entry: Entry) -> None:
    whole = written([entry])
    for size in range(1, len(whole)):
        with pytest.raises(Damaged):
            entries.read_entries(whole[:size])


def test_an_entry_of_an_unknown_kind_is_no_damage() -> None:
    for kind in (0, *range(9, 256)):
        with pytest.raises(UnknownFormat, match=f"an entry of kind {kind}, which this program"):
            entries.read_entries(bytes([kind]) + bytes(100))


def test_a_transaction_that_says_something_unknown_is_no_damage() -> None:
    for step in (0, *range(4, 256)):
        with pytest.raises(UnknownFormat, match=f"a transaction with {step}, which this program"):
            entries.read_entries(bytes([entries.TRANSACTION, step]))


def test_a_message_with_an_unknown_flag_is_no_damage() -> None:
    whole = bytearray(b"".join(runs.run(0, [StoredMessage(b"", b"", b"", True)])))
    for flags in range(8, 256):
        whole[runs.RUN_HEADER_BYTES] = flags
        with pytest.raises(UnknownFormat, match=f"a message with flags {flags:#x}, which this"):
            runs.read_run(bytes(whole))


def test_a_message_with_flags_that_mean_nothing_is_damaged() -> None:
    whole = bytearray(b"".join(runs.run(0, [StoredMessage(b"", b"", b"", True)])))
    whole[runs.RUN_HEADER_BYTES] = 5
    with pytest.raises(Damaged, match="no flags of a message: 5"):
        runs.read_run(bytes(whole))


@given(POSITION, st.lists(STORED, max_size=6))
def test_a_run_is_read_as_it_was_written_and_cut_anywhere_is_damaged(
    first: int, messages: list[StoredMessage]
) -> None:
    payload = b"".join(runs.run(first, messages))
    header = runs.read_run_header(payload)
    persistent = [each for each in messages if each.persistent]
    bodies = sum(len(each.body) for each in persistent)
    assert header == (first, len(messages), len(persistent), bodies)
    assert list(map(parts, runs.read_run(payload))) == list(map(parts, messages))
    for size in range(len(payload)):
        with pytest.raises(Damaged):
            runs.read_run(payload[:size])
    with pytest.raises(Damaged, match="behind the last"):
        runs.read_run(payload + b"\0")


COUNT = st.integers(0, 2**63 - 1)
CHECKPOINT = st.builds(
    Checkpoint, st.lists(st.builds(CheckpointPart, COUNT, COUNT), max_size=3), COUNT, COUNT
)
SEGMENT_START = st.builds(SegmentStart, QUEUE, CHECKPOINT, COUNT, ENTRIES)


@given(SEGMENT_START)
def test_the_start_of_a_segment_is_read_as_it_was_written(start: SegmentStart) -> None:
    read = read_segment_start(write_segment_start(start))
    assert read[:3] == start[:3]
    assert plain(read.repeated) == plain(start.repeated)


@given(SEGMENT_START.map(lambda start: start._replace(repeated=[])))
def test_the_start_of_a_segment_cut_anywhere_is_damaged(start: SegmentStart) -> None:
    payload = write_segment_start(start)
    for size in range(len(payload)):
        with pytest.raises(Damaged):
            read_segment_start(payload[:size])


@given(CHECKPOINT, QUEUE, POSITION)
def test_entries_of_the_checkpoint_are_read_as_they_were_written(
    checkpoint: Checkpoint, queue: int, end: int
) -> None:
    out = BytesWriter()
    entries.write_checkpoint_advanced(out, checkpoint)
    entries.write_delivered(out, queue, end)
    advanced, delivered = entries.read_entries(out.getvalue())
    assert advanced.checkpoint == checkpoint
    assert (delivered.queues, delivered.end) == ([(queue, 0)], end)
