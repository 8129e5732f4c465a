"""Checkpoints: what they cost where there are many definitions, and that nothing is lost with them.

Crashes while one is written are in test_store_crash.py.
"""

from leveret_storage.segments.queue_journal import QueueJournal
from tests.storage.faulty import FaultyMedium
from tests.storage.store_owner import Owner, after_power_loss

DEFINITIONS = 500
DEFINITION_BYTES = 100
LOG_SEGMENT_BYTES = 4000
SEGMENTS = 20


def define(owner: Owner, number: int) -> None:
    data = number.to_bytes(DEFINITION_BYTES, "big")
    owner.definitions.append(data)
    owner.store.define(data)


def owner_with_definitions() -> Owner:
    owner = Owner(FaultyMedium(1), log_segment_bytes=LOG_SEGMENT_BYTES)
    for number in range(DEFINITIONS):
        define(owner, number)
    owner.commit()
    return owner


def checkpoints(owner: Owner) -> list[str]:
    return sorted(name for name in owner.medium.list() if name.startswith("checkpoint-"))


def pass_segments(owner: Owner, queue: QueueJournal, count: int) -> int:
    """Publish and settle until so many log segments have begun; the messages that took."""
    seen: set[str] = set(owner.log_blobs())
    wanted = len(seen) + count
    position = 0
    while len(seen) < wanted:
        owner.publish(queue, position, 10)
        owner.commit()
        queue.settle_range(position, position + 10)
        owner.commit()
        position += 10
        seen.update(owner.log_blobs())
    return position


def test_definitions_are_not_written_again_with_each_log_segment() -> None:
    owner = owner_with_definitions()
    queue = owner.store.add_queue(True)
    pass_segments(owner, queue, 2)
    (name,) = checkpoints(owner)
    first_bytes = owner.medium.size(name)
    assert first_bytes > DEFINITIONS * DEFINITION_BYTES

    pass_segments(owner, queue, SEGMENTS)

    assert checkpoints(owner) == [name]
    assert owner.medium.size(name) - first_bytes < DEFINITIONS * DEFINITION_BYTES // 4
    assert all(owner.medium.size(each) < 2 * LOG_SEGMENT_BYTES for each in owner.log_blobs())


def test_all_of_it_is_found_when_the_log_segments_that_said_it_are_deleted() -> None:
    owner = owner_with_definitions()
    first_log = owner.log_blobs()[0]
    queue = owner.store.add_queue(True)
    position = pass_segments(owner, queue, 3)
    define(owner, DEFINITIONS)
    pass_segments(owner, owner.store.add_queue(True), 3)
    assert first_log not in owner.log_blobs()

    found = after_power_loss(owner.medium)

    assert [each.data for each in found.definitions] == owner.definitions
    assert found.queues[queue.number].count == 0
    assert found.queues[queue.number].next_position >= position
    assert owner.failures == []
