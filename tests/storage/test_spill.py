"""A start with more messages in the log than memory is to hold puts them on disk as it goes."""

from leveret_storage.format.entries import StoredMessage
from leveret_storage.recovery.recover import Recovery, recover
from leveret_storage.recovery.recovered_queue import OBJECT_BYTES, LoggedMessages
from tests.storage.faulty import FaultyMedium
from tests.storage.owning import take
from tests.storage.store_model import fields_of, read_out
from tests.storage.store_owner import Owner

COUNT = 300
SPILL_BYTES = 5000
BATCH = 10


def message(position: int) -> StoredMessage:
    return StoredMessage(b"r", b"h", b"%030d" % position, True, position, position + 1)


def killed() -> FaultyMedium:
    """What is left of a store with all messages in its log, taken by the next owner."""
    owner = Owner(FaultyMedium(1))
    queue = owner.store.add_queue(True)
    for position in range(COUNT):
        owner.store.add_message([queue], [position], message(position))
        if position % BATCH == BATCH - 1:
            owner.commit()
    queue.settle_range(40, 50)
    owner.commit()
    medium = owner.medium.kill()
    take(medium)
    return medium


EXPECTED = {at: fields_of(message(at)) for at in range(COUNT) if not 40 <= at < 50}


def logged(found: Recovery) -> int:
    return sum(
        len(part.messages) for part in found.queues[1].contents if isinstance(part, LoggedMessages)
    )


def test_few_messages_are_in_memory_and_all_are_there() -> None:
    medium = killed()
    assert logged(recover(medium)) == len(EXPECTED)

    found = recover(medium, spill_bytes=SPILL_BYTES)

    assert 0 < logged(found) * OBJECT_BYTES < 2 * SPILL_BYTES
    assert read_out(medium, found).messages[1] == EXPECTED


def test_what_no_sync_is_known_to_have_covered_stays_in_memory() -> None:
    found = recover(killed(), spill_bytes=1)

    last = found.queues[1].contents[-1]
    assert isinstance(last, LoggedMessages)
    assert last.first + len(last.messages) == COUNT


def test_it_is_found_again_whenever_the_power_goes() -> None:
    medium = killed()
    first = recover(medium, spill_bytes=SPILL_BYTES)
    for _ in range(20):
        medium = medium.crash()
        take(medium)
        assert read_out(medium, recover(medium)).messages[1] == EXPECTED
    again = recover(medium, spill_bytes=SPILL_BYTES)
    assert again.next_blob > first.next_blob
    assert read_out(medium, again).messages[1] == EXPECTED


def test_on_a_full_disk_they_stay_in_memory() -> None:
    for space in (0, 10, 100, 1000):
        medium = killed()
        before = medium.list()
        medium.capacity_bytes = sum(medium.size(name) for name in before) + space

        found = recover(medium, spill_bytes=SPILL_BYTES)

        assert logged(found) > len(EXPECTED) * 0.7
        assert read_out(medium, found).messages[1] == EXPECTED
        segments = {each.name for each in found.queues[1].segments}
        assert medium.list() == before | segments


def test_nothing_is_written_before_the_medium_is_taken() -> None:
    medium = killed()
    before = {name: medium.size(name) for name in medium.list()}

    found = recover(medium, spill_bytes=SPILL_BYTES, taken=False)

    assert not found.complete
    assert {name: medium.size(name) for name in medium.list()} == before
    assert found.definitions == recover(medium).definitions

    complete = recover(medium, spill_bytes=10 * COUNT * OBJECT_BYTES, taken=False)

    assert complete.complete
    assert read_out(medium, complete).messages[1] == EXPECTED
