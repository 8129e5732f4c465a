"""The memory of messages: it is shared by use, and everything released comes back in order."""

import pytest
import structlog
from pamqp.commands import Basic

from leveret.engine.access.rights import ALL_RIGHTS
from leveret.engine.lifecycle.bindings import bind_queue
from leveret.engine.lifecycle.exchanges import delete_exchange
from leveret.engine.lifecycle.queues import remove_queue
from leveret.engine.queues.delayed_store import UNCHARGED_COST_MAX
from leveret.engine.queues.message_memory import (
    SHARE_DIVISOR,
    SHORTAGE_PREFETCH,
    SWEEP_RETRY_MS,
    VALUE_BYTES,
    MemoryLevel,
)
from leveret.engine.queues.queue_host import LOOKS_AT_ONCE
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.counters import ChannelCounters
from leveret.engine.values.field_table import FieldValue
from leveret.errors import AmqpError
from leveret.protocol.channels.channel_consumer import ChannelConsumer
from leveret.protocol.channels.deliveries import Deliveries
from leveret.protocol.channels.delivery import REJECTED
from leveret.protocol.channels.session import Session
from leveret.protocol.channels.settlement import Settlement
from leveret.protocol.channels.transaction import Transaction
from leveret_storage.store.limits import UNWRITTEN_SEGMENTS_MAX
from tests.storage.faulty import FaultyMedium
from tests.unit.engine.queues.broker_run import BrokerRun, arguments, leading_to

LIMIT = 8 * 1024 * 1024
SHARE = LIMIT // SHARE_DIVISOR
BODY = 10_000
QUEUES = 40
EACH = 30
"""Messages of each queue: all of them take five times the share."""


def limited(*, may_be_away: bool = False) -> BrokerRun:
    """A broker with a small memory limit."""
    medium = FaultyMedium(1)
    medium.may_be_away = may_be_away
    run = BrokerRun(medium)
    run.broker.memory.limit(LIMIT)
    return run


def work(run: BrokerRun) -> None:
    """Do all work of the broker, and wait for its disk."""
    run.broker.work.run_all(run.broker.time_slice)
    run.run_all()


def body_of(queue: int, number: int) -> bytes:
    return b"%d %d" % (queue, number) + bytes(BODY)


def fill(run: BrokerRun, *, persistent: bool = True, queues: int = QUEUES) -> None:
    """Publish to many queues, one after the other."""
    for queue in range(queues):
        for number in range(EACH):
            run.publish("", f"q{queue}", body_of(queue, number), persistent=persistent)
        work(run)


@pytest.mark.parametrize("durable", [True, False])
def test_many_queues_share_the_memory_and_lose_nothing(durable: bool) -> None:
    run = limited()
    for queue in range(QUEUES):
        run.queue(f"q{queue}", durable=durable)
    fill(run, persistent=durable)

    assert run.broker.memory.charged <= SHARE

    for queue in range(QUEUES):
        taken = [message.body for message in run.take_all(f"q{queue}")]
        assert taken == [body_of(queue, number) for number in range(EACH)]


def test_queues_without_a_limit_write_nothing() -> None:
    run = BrokerRun()
    run.queue("q0", durable=False)
    fill(run, persistent=False, queues=1)
    assert not run.vhost.queues["q0"].journal
    assert run.broker.memory.charged > EACH * BODY


def test_what_is_not_in_use_goes_when_the_process_has_little_memory() -> None:
    run = limited()
    run.queue("q0")
    fill(run, queues=1)
    for _ in range(2):
        run.broker.memory.check(MemoryLevel.NEAR_LIMIT)
        work(run)

    assert run.broker.memory.charged == 0
    assert len(run.take_all("q0")) == EACH


def test_what_makes_room_waits_for_the_disk_and_goes_on() -> None:
    """The commits of clients are not behind thousands of files, each of which may need a sync."""
    run = limited()
    for queue in range(3 * UNWRITTEN_SEGMENTS_MAX):
        run.queue(f"q{queue}", durable=False)
        for number in range(5):
            run.publish("", f"q{queue}", body_of(queue, number))
    run.run_all()
    memory = run.broker.memory
    for _ in range(2):
        memory.check(MemoryLevel.NEAR_LIMIT)
        run.broker.work.run_all(run.broker.time_slice)
    assert len(run.writing.jobs) == UNWRITTEN_SEGMENTS_MAX
    assert int(memory.charged) > 0
    work(run)
    for _ in range(4):
        run.advance_to(run.now + SWEEP_RETRY_MS)
    assert int(memory.charged) == 0


def test_a_purged_or_deleted_queue_charges_nothing() -> None:
    run = limited()
    for name in ("q0", "q1"):
        run.queue(name)
    fill(run, queues=2)
    run.vhost.queues["q0"].purge()
    run.vhost.queues["q1"].delete()
    assert run.broker.memory.charged == 0


def test_messages_that_expire_on_disk_are_dead_letters_in_time() -> None:
    run = limited()
    run.queue("dead")
    run.queue("q0", arguments=leading_to("dead", message_ttl=1000))
    run.queue("q1", arguments=leading_to("dead"))
    for number in range(EACH):
        run.publish("", "q0", body_of(0, number))
        expiring = Basic.Properties(expiration="1000")
        run.publish("", "q1", body_of(1, number), expiring)
    for _ in range(2):
        run.broker.memory.check(MemoryLevel.NEAR_LIMIT)
        work(run)
    assert run.broker.memory.charged == 0

    run.advance_to(run.now + 999)
    assert run.vhost.queues["dead"].message_count() == 0
    run.advance_to(run.now + 1)
    assert run.vhost.queues["dead"].message_count() == 2 * EACH


def test_the_lowest_priority_is_released_too() -> None:
    run = limited()
    run.queue("q0", arguments=arguments(max_priority=3))
    for number in range(EACH):
        properties = Basic.Properties(priority=number % 4)
        run.publish("", "q0", body_of(number % 4, number), properties)
    for _ in range(2):
        run.broker.memory.check(MemoryLevel.NEAR_LIMIT)
        work(run)
    assert run.broker.memory.charged == 0

    taken = [message.body for message in run.take_all("q0")]
    expected = [body_of(number % 4, number) for number in range(EACH)]
    assert taken == sorted(expected, key=lambda body: -int(body.split()[0]))


class Held:
    """A consumer without a prefetch, in a broker with little memory."""

    def __init__(
        self, values: Arguments | None = None, durable: bool = True, may_be_away: bool = False
    ) -> None:
        self.run = limited(may_be_away=may_be_away)
        self.run.queue("dead")
        self.queue = self.run.queue("q0", arguments=values, durable=durable)
        self.session = Session(lambda: None, structlog.get_logger())
        self.session.enter(self.run.vhost, ALL_RIGHTS)
        self.deliveries = Deliveries(self.session, 1, ChannelCounters())
        self.settlement = Settlement(self.deliveries, Transaction())
        self.consumer = ChannelConsumer(
            "c",
            self.queue,
            self.deliveries,
            no_ack=False,
            exclusive=False,
            prefetch=0,
            arguments={},
        )

    def consume(self) -> None:
        """Begin to consume."""
        self.queue.add_consumer(self.consumer)
        self.deliver()

    def deliver(self) -> None:
        """Deliver all there is; the peer reads it."""
        while self.queue.message_count():
            self.queue.deliver_ready()
            self.session.take_output()
            self.session.resume_consumers()
            self.run.run_all()

    def relieve(self) -> None:
        """Have memory near its limit, for long enough to release what is not in use."""
        for _ in range(2):
            self.run.broker.memory.check(MemoryLevel.NEAR_LIMIT)
            work(self.run)

    @property
    def octets(self) -> int:
        """Octets of the bodies of unacknowledged messages that are in memory."""
        return sum(len(each.message.body) for each in self.deliveries.unacknowledged.values())

    def end(self) -> None:
        """End the consumer, and requeue what it has."""
        self.queue.remove_consumer(self.consumer)
        self.settlement.requeue(self.deliveries.pop_all(), failed=True)

    def taken(self, name: str = "q0") -> list[bytes]:
        return [message.body for message in self.run.take_all(name)]


BODIES = [body_of(0, number) for number in range(EACH)]


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("source", ["disk", "memory", "publisher"])
def test_unacknowledged_messages_are_on_disk_when_memory_is_needed(
    durable: bool, source: str
) -> None:
    held = Held(durable=durable)
    if source == "publisher":
        held.consume()
    fill(held.run, queues=1, persistent=durable)
    if source == "disk":
        held.relieve()
    if source != "publisher":
        held.consume()
    held.deliver()
    assert held.octets > EACH * BODY
    held.relieve()

    assert held.octets == 0
    held.end()
    assert held.run.broker.memory.charged < BODY
    assert held.queue.message_count() == EACH
    assert held.taken() == BODIES


def test_what_was_requeued_is_on_disk_when_memory_is_needed() -> None:
    held = Held()
    fill(held.run, queues=1)
    held.consume()
    held.end()
    held.relieve()

    assert held.run.broker.memory.charged == 0
    assert held.taken() == BODIES


def test_what_is_acknowledged_meanwhile_is_not_requeued() -> None:
    held = Held()
    fill(held.run, queues=1)
    held.consume()
    held.relieve()
    for tag in range(2, EACH + 1, 2):
        delivery = held.deliveries.pop(tag)
        assert delivery is not None
        delivery.acknowledge()
    held.run.run_all()
    held.end()

    assert held.taken() == BODIES[::2]


@pytest.mark.parametrize("durable", [True, False])
def test_what_may_become_a_dead_letter_stays_in_memory_if_the_medium_may_be_away(
    durable: bool,
) -> None:
    """It would be read while everything waits. Queues that are not durable have it on the local
    disk."""
    held = Held(leading_to("dead"), durable, may_be_away=True)
    fill(held.run, queues=1, persistent=durable)
    held.consume()
    held.relieve()
    assert (held.octets > EACH * BODY) == durable
    held.end()
    assert held.taken() == BODIES


def test_released_messages_that_are_rejected_are_dead_letters() -> None:
    held = Held(leading_to("dead"))
    fill(held.run, queues=1)
    held.consume()
    held.relieve()
    held.settlement.settle(held.deliveries.pop_all(), REJECTED)
    held.run.run_all()

    assert held.taken("dead") == BODIES


def test_released_messages_have_their_delivery_counts() -> None:
    held = Held(leading_to("dead", delivery_limit=1))
    held.consume()
    fill(held.run, queues=1)
    for _ in range(2):
        held.deliver()
        held.relieve()
        held.settlement.requeue(held.deliveries.pop_all(), failed=True)
        held.run.run_all()

    assert held.queue.message_count() == 0
    assert held.taken("dead") == BODIES


def test_released_messages_expire_after_they_were_requeued() -> None:
    held = Held(leading_to("dead", message_ttl=1000))
    fill(held.run, queues=1)
    held.consume()
    held.relieve()
    held.end()
    held.run.advance_to(held.run.now + 1000)

    assert held.taken("dead") == BODIES


def test_released_messages_survive_a_restart() -> None:
    held = Held()
    fill(held.run, queues=1)
    held.consume()
    held.relieve()
    held.run.broker.commit(urgent=True)
    held.run.run_all()

    run = held.run.restart()
    assert [message.body for message in run.take_all("q0")] == BODIES


def test_a_consumer_without_a_prefetch_gets_little_while_memory_is_short() -> None:
    held = Held()
    held.run.broker.memory.check(MemoryLevel.ABOVE_LIMIT)
    held.consume()
    fill(held.run, queues=1)
    assert len(held.deliveries.unacknowledged) == SHORTAGE_PREFETCH

    held.deliveries.pop_through(4)
    for _ in range(4):
        held.consumer.outstanding -= 1
    held.consumer.resume_if_able()
    assert held.deliveries.last_tag == SHORTAGE_PREFETCH + 4

    held.run.broker.memory.check(MemoryLevel.NEAR_LIMIT)
    work(held.run)
    held.deliver()
    assert held.deliveries.last_tag == EACH


def declared_much(run: BrokerRun) -> None:
    """Declare as much as the share of the memory is."""
    for number in range(SHARE // 4096 + 2):
        run.queue(f"many-{number}", durable=False)


def test_nothing_is_declared_while_memory_is_far_above_the_limit_for_what_is_declared() -> None:
    run = limited()
    run.queue("q0")
    run.exchange("x", "fanout", {})
    declared_much(run)
    memory = run.broker.memory
    memory.check(MemoryLevel.EXHAUSTED)
    for declare in (
        lambda: run.queue("q1"),
        lambda: run.exchange("y", "fanout", {}),
        lambda: bind_queue(run.vhost, "q0", "x", "", {}, None),
    ):
        with pytest.raises(AmqpError, match="the broker is low on memory"):
            declare()
    run.queue("q0")
    run.exchange("x", "fanout", {})

    memory.check(MemoryLevel.ABOVE_LIMIT)
    assert run.queue("q1").name == "q1"
    bind_queue(run.vhost, "q0", "x", "", {}, None)
    assert run.publish("x", "", b"routed")


def test_who_declares_little_may_do_so_in_any_alarm() -> None:
    run = limited()
    run.broker.memory.check(MemoryLevel.EXHAUSTED)
    assert run.queue("q0").name == "q0"


def test_what_was_removed_counts_no_longer() -> None:
    run = limited()
    declared_much(run)
    for name in list(run.vhost.queues):
        remove_queue(run.vhost, run.vhost.queues[name])
    run.broker.memory.check(MemoryLevel.EXHAUSTED)
    assert run.queue("q0").name == "q0"


def test_each_declaration_counts_until_memory_is_measured_again() -> None:
    run = limited()
    counted: list[int] = []
    run.broker.memory.received = counted.append
    run.queue("q0")
    run.queue("q0")
    assert counted == [4096]


def test_arguments_count_by_their_values_too() -> None:
    """A boolean is two octets behind its name, and a hundred times as much in memory."""
    run = limited()
    counted: list[int] = []
    run.vhost.memory.received = counted.append
    names = [f"{number:x}" for number in range(1000)]
    # One value, ten, and ten.
    each: list[FieldValue] = [True, [True] * 9, {"nested": [True] * 8}]
    for number, value in enumerate(each):
        run.queue(f"q{number}")
        counted.clear()
        bind_queue(run.vhost, f"q{number}", "amq.headers", "", dict.fromkeys(names, value), None)
        values = len(names) * (1 if value is True else 10)
        assert counted[0] > values * VALUE_BYTES


def test_restored_queues_look_at_their_first_messages_one_after_another() -> None:
    vhost = limited().vhost
    looks = [int(vhost.next_look()) for _ in range(1000)]
    assert looks == sorted(looks)
    assert max(looks.count(each) for each in set(looks)) == LOOKS_AT_ONCE


@pytest.mark.parametrize("durable", [True, False])
def test_many_delayed_exchanges_share_the_memory_and_lose_nothing(durable: bool) -> None:
    run = limited()
    run.queue("q", durable=durable)
    for exchange in range(QUEUES):
        name = f"later{exchange}"
        run.exchange(name, "x-delayed-message", {"x-delayed-type": "fanout"}, durable=durable)
        bind_queue(run.vhost, "q", name, "", {}, None)
        for number in range(EACH):
            delayed = Basic.Properties(headers={"x-delay": 1000 + number * QUEUES + exchange})
            run.publish(name, "", body_of(exchange, number), delayed, persistent=durable)
        work(run)

    assert run.broker.memory.charged <= SHARE
    stores = run.vhost.delayed_stores.values()
    assert sum(int(store.message_count()) for store in stores) == QUEUES * EACH
    assert sum(int(store.cost()) for store in stores) <= SHARE + QUEUES * UNCHARGED_COST_MAX

    run.advance_to(run.now + 1000 + QUEUES * EACH)
    taken: list[bytes] = []
    while run.vhost.queues["q"].message_count() or any(store.message_count() for store in stores):
        taken += [message.body for message in run.take_all("q")]
        # What waits for the disk goes on a little later.
        run.advance_to(run.now + SWEEP_RETRY_MS)
        work(run)
    wanted = {body_of(exchange, number) for exchange in range(QUEUES) for number in range(EACH)}
    assert len(taken) == len(wanted)
    assert set(taken) == wanted
    assert sum(int(store.cost()) for store in stores) == 0


def test_a_deleted_delayed_exchange_charges_nothing() -> None:
    run = limited()
    run.exchange("later", "x-delayed-message", {"x-delayed-type": "fanout"})
    for number in range(EACH):
        delayed = Basic.Properties(headers={"x-delay": 1000})
        run.publish("later", "", body_of(0, number), delayed)
    assert run.broker.memory.charged > 0
    delete_exchange(run.vhost, "later", if_unused=False)
    assert run.broker.memory.charged == 0
