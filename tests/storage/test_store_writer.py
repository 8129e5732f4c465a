"""A store that is written at once has what another one has, and a start finds it."""

from random import Random

import pytest

from leveret_storage.format.entries import ABSENT, StoredMessage
from leveret_storage.medium import Medium
from leveret_storage.recovery.inspection import inspect
from leveret_storage.recovery.recover import Recovery, recover
from leveret_storage.store.store_writer import StoreWriter, parts_of
from tests.storage.faulty import FaultyMedium
from tests.storage.owning import take
from tests.storage.store_owner import Owner

SHIFT = 100
"""What is added to the numbers of journals."""

BODY = b"b" * 5000
"""Large enough to be written once for several queues."""


def source() -> FaultyMedium:
    """A store with messages in runs and in the log, some of them in two queues."""
    chance = Random(1)
    medium = FaultyMedium(1)
    owner = Owner(medium, queue_segment_bytes=20_000)
    for definition in (b"one", b"two"):
        owner.store.define(definition)
        owner.definitions.append(definition)
    queues = [owner.store.add_queue(True) for _ in range(3)]
    for first in range(0, 200, 20):
        shared = [StoredMessage(b"r", b"h", BODY + b"%d" % at, True) for at in range(20)]
        for at, message in enumerate(shared, first):
            owner.store.add_message(queues[:2], [at, at], message)
        if first < 140:
            for queue in queues[:2]:
                owner.store.write_run(queue, first, list(shared))
        owner.publish(queues[2], first, 20, b"%050d" % first)
        owner.commit()
    for queue in queues:
        for position in range(200):
            if chance.random() < 0.4:
                queue.settle(position)
    queues[1].note_delivered(50)
    owner.commit()
    owner.store.close()
    owner.run()
    return medium


def messages(medium: Medium, found: Recovery) -> dict[int, list[tuple[int, bytes]]]:
    """Position and body of the messages of each queue."""
    return {
        number: [
            (position, message.body)
            for first, part in parts_of(medium, queue)
            for position, message in enumerate(part, first)
            if message is not ABSENT
        ]
        for number, queue in found.queues.items()
    }


@pytest.mark.parametrize("power", [False, True])
def test_a_start_finds_what_was_written(power: bool) -> None:
    medium = source()
    found = recover(medium)
    expected = messages(medium, found)
    target = FaultyMedium(2)
    take(target)
    writer = StoreWriter(target)
    counts = {
        number: writer.write_queue(number + SHIFT, medium, queue, 0)
        for number, queue in found.queues.items()
    }
    writer.finish([each.data for each in found.definitions])
    assert counts == {number: len(each) for number, each in expected.items()}

    after = target.crash() if power else target
    assert inspect(after).damages == []
    copied = recover(after)
    assert messages(after, copied) == {number + SHIFT: each for number, each in expected.items()}
    assert [each.data for each in copied.definitions] == [each.data for each in found.definitions]
    for number, queue in found.queues.items():
        again = copied.queues[number + SHIFT]
        assert (again.next_position, again.delivered_end) == (
            queue.next_position,
            queue.delivered_end,
        )
    assert copied.next_queue > max(copied.queues)
    assert after.size("bodies-000000000002") < 150 * len(BODY), "each body is there once"


def test_the_store_goes_on_from_there() -> None:
    medium = source()
    found = recover(medium)
    target = FaultyMedium(2)
    take(target)
    writer = StoreWriter(target)
    for number, queue in found.queues.items():
        writer.write_queue(number, medium, queue, 0)
    writer.finish(each.data for each in found.definitions)

    owner = Owner(target.crash(), log_segment_bytes=3000)
    for journal in list(owner.store.queues.values()):
        for position in range(200, 230):
            owner.publish(journal, position, 1)
            owner.commit()
        journal.settle_range(0, 200)
    owner.commit()
    owner.store.compact()
    owner.commit()
    owner.store.close()
    owner.run()
    assert owner.failures == []
    after = owner.medium.crash()
    assert {
        number: [position for position, _ in each]
        for number, each in messages(after, recover(after)).items()
    } == {number: list(range(200, 230)) for number in found.queues}


def test_there_is_no_store_before_the_end() -> None:
    medium = source()
    target = FaultyMedium(2)
    take(target)
    writer = StoreWriter(target)
    for number, queue in recover(medium).queues.items():
        writer.write_queue(number, medium, queue, 0)
    assert recover(target, lambda damage: None).definitions == []
