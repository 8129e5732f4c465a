"""A large message that is settled before its batch is written need not be written."""

from leveret_storage.format.entries import REFERRED_BYTES, StoredMessage
from tests.storage.faulty import FaultyMedium
from tests.storage.store_model import read_out
from tests.storage.store_owner import Owner, after_power_loss

LARGE = bytes(REFERRED_BYTES)


def log_bytes(owner: Owner) -> int:
    return sum(owner.medium.size(name) for name in owner.log_blobs())


def test_a_large_message_that_all_its_queues_have_settled_is_not_written() -> None:
    owner = Owner(FaultyMedium(1))
    one, other = owner.store.add_queue(True), owner.store.add_queue(True)
    owner.commit()
    before = log_bytes(owner)
    owner.publish(one, 0, 10, LARGE)
    owner.publish(one, 10, 1, b"small")
    owner.store.add_message([one, other], [11, 0], StoredMessage(b"r", b"h", LARGE, True))
    one.settle_range(0, 12)
    other.settle(0)
    batch = int(owner.store.batch)
    owner.store.commit()
    owner.run()

    assert owner.synced[-1] == batch
    assert log_bytes(owner) - before < REFERRED_BYTES / 2
    found = after_power_loss(owner.medium)
    assert [queue.count for queue in found.queues.values()] == [0, 0]
    assert [queue.next_position for queue in found.queues.values()] == [12, 1]


def test_it_is_written_while_one_queue_has_it_or_its_settlement_is_to_come() -> None:
    owner = Owner(FaultyMedium(1))
    one, other = owner.store.add_queue(True), owner.store.add_queue(True)
    owner.store.add_message([one, other], [0, 0], StoredMessage(b"r", b"h", LARGE, True))
    owner.publish(one, 1, 2, LARGE)
    one.settle(0)
    one.settle(2)
    owner.commit()
    medium = owner.medium.crash()
    found = read_out(medium, Owner(medium).recovery).messages
    assert found == {one.number: {1: (LARGE, 0, 0)}, other.number: {0: (LARGE, 0, 0)}}
