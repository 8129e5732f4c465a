"""Which messages may have been delivered is known after a restart, and after the next."""

from leveret_storage.recovery.salvage import salvage
from leveret_storage.segments.queue_journal import QueueJournal
from tests.storage.faulty import FaultyMedium
from tests.storage.owning import content, put
from tests.storage.store_owner import Owner, after_power_loss, stored


def delivered_end(medium: FaultyMedium, number: int) -> int:
    return after_power_loss(medium).queues[number].delivered_end


def test_what_was_noted_last_is_found_after_power_loss() -> None:
    owner = Owner(FaultyMedium(0))
    queue = owner.store.add_queue(True)
    owner.publish(queue, 0, 5)
    queue.note_delivered(2)
    owner.commit()
    queue.note_delivered(4)
    owner.commit()

    assert delivered_end(owner.medium, queue.number) == 4

    queue.note_delivered(3)
    owner.commit()

    assert delivered_end(owner.medium, queue.number) == 3


def test_it_outlives_the_log_segment_that_has_it() -> None:
    medium = FaultyMedium(0)
    owner = Owner(medium, log_segment_bytes=1)
    queue = owner.store.add_queue(True)
    owner.publish(queue, 0, 5)
    queue.note_delivered(2)
    owner.commit()
    first = owner.log_blobs()[0]
    owner.store.write_run(queue, 0, stored(5))
    owner.run()
    for data in (b"a", b"b"):
        owner.store.define(data)
        owner.commit()

    assert first not in owner.log_blobs()
    assert delivered_end(medium, queue.number) == 2
    again = Owner(medium)
    again.run()
    assert again.store.queues[queue.number].delivered_end == 2
    assert delivered_end(medium, queue.number) == 2


def delete_first_log_segment(owner: Owner, queue: QueueJournal) -> tuple[str, bytes]:
    """Have the checkpoint replace the first log segment; its name, and the bytes it had."""
    first = owner.log_blobs()[0]
    data = content(owner.medium, first)
    queue.settle_range(0, 5)
    for _ in range(3):
        owner.store.define(b"x")
        owner.commit()
    assert first not in owner.log_blobs()
    return first, data


def delivered_four() -> tuple[Owner, QueueJournal]:
    """An owner whose log segments are full at once, and a queue that has delivered four of five
    messages."""
    owner = Owner(FaultyMedium(0), log_segment_bytes=1)
    queue = owner.store.add_queue(True)
    owner.publish(queue, 0, 5)
    queue.note_delivered(4)
    owner.commit()
    return owner, queue


def test_what_the_log_has_said_since_replaces_what_the_checkpoint_says() -> None:
    owner, queue = delivered_four()
    delete_first_log_segment(owner, queue)
    queue.note_delivered(3)
    owner.commit()

    assert delivered_end(owner.medium, queue.number) == 3


def test_a_log_segment_that_power_loss_restored_says_nothing() -> None:
    owner, queue = delivered_four()
    queue.note_delivered(2)
    owner.commit()
    first, data = delete_first_log_segment(owner, queue)
    put(owner.medium, first, data)

    assert delivered_end(owner.medium, queue.number) == 2


def test_a_checkpoint_says_that_nothing_was_delivered_after_all() -> None:
    owner, queue = delivered_four()
    delete_first_log_segment(owner, queue)
    queue.note_delivered(0)
    owner.commit()
    first = owner.log_blobs()[0]
    for _ in range(4):
        owner.store.define(b"x")
        owner.commit()

    assert first not in owner.log_blobs()
    assert delivered_end(owner.medium, queue.number) == 0


def test_a_note_that_was_ahead_says_nothing_of_the_messages_of_the_next_run() -> None:
    medium = FaultyMedium(0)
    owner = Owner(medium)
    queue = owner.store.add_queue(True)
    owner.publish(queue, 0, 2)
    queue.note_delivered(100)
    owner.commit()

    again = Owner(medium)
    restored = again.store.queues[queue.number]
    assert restored.delivered_end == 2
    again.publish(restored, 2, 1)
    again.commit()

    assert delivered_end(medium, queue.number) == 2


def test_nothing_is_said_of_a_queue_that_was_deleted() -> None:
    owner = Owner(FaultyMedium(0))
    queue = owner.store.add_queue(True)
    owner.publish(queue, 0, 1)
    owner.commit()
    queue.note_delivered(1)
    owner.store.delete_queue(queue)
    owner.commit()

    assert queue.number not in after_power_loss(owner.medium).queues


def test_salvage_keeps_what_is_known() -> None:
    medium = FaultyMedium(0)
    owner = Owner(medium)
    queue = owner.store.add_queue(True)
    owner.publish(queue, 0, 5)
    queue.note_delivered(3)
    owner.commit()
    owner.store.define(b"damaged")
    owner.commit()
    owner.store.define(b"whole")
    owner.commit()
    log = owner.log_blobs()[-1]
    medium.flip(log, content(medium, log).index(b"damaged"), 0)

    done = salvage(medium, lambda found: [each.data for each in found])

    assert len(done.lost) == 1
    assert delivered_end(medium, queue.number) == 3
