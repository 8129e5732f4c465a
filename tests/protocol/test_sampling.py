"""The looks at a broker, once a second: what is sampled, and what idle things cost."""

from typing import Final

import pytest
from pamqp.commands import Basic

from leveret.engine.queues.queue import Queue
from leveret.engine.values.history import History
from leveret.management.statistics.details import Moment, Range, Ranges
from leveret.management.statistics.message_stats import (
    broker_statistics,
    node_statistics,
    some_vhosts_statistics,
)
from leveret.management.statistics.sampler import Sampler
from leveret.management.statistics.sampling import (
    BROKER,
    CHANNEL,
    EXCHANGE,
    FORGET_MS,
    QUEUE,
    SECOND,
    VHOST,
    queue_values,
)
from tests.protocol.harness import Client, Harness

START: Final = 1_000_000 * SECOND


class Sampled:
    """A broker that is sampled, with a clock that a test turns."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.broker = harness.broker
        self.broker.clock.advance_to(START)
        self.memory = 0
        self.sampler = Sampler(
            self.broker,
            lambda: [each.connection for each in harness.clients if each.connection.opened],
            lambda: [self.memory, 7, 2, 10**12],
        )
        self.sampler.start()

    @property
    def now(self) -> int:
        return int(self.broker.clock.now)

    def wait(self, seconds: int) -> None:
        """Let seconds pass, with a look in each."""
        for _ in range(seconds):
            self.harness.advance_clock(SECOND)
            self.broker.work.run_all(self.broker.time_slice)

    def queue_series(self, queue: Queue, name: str, *seconds_ago: int) -> list[int]:
        history = queue.counters.history
        assert history is not None
        series = QUEUE.names.index(name)
        times = [self.now - seconds * SECOND for seconds in seconds_ago]
        return history.values_at(series, queue_values(queue)[series], self.now, times)


@pytest.fixture
def sampled(harness: Harness) -> Sampled:
    return Sampled(harness)


def test_a_queue_that_nothing_happens_to_has_no_history(sampled: Sampled, alice: Client) -> None:
    alice.declare(1, "q")
    sampled.wait(10)
    queue = sampled.harness.queue("q")
    assert queue.counters.history is None
    assert queue.counters.active_at == START + SECOND


def test_a_queue_is_sampled(sampled: Sampled, alice: Client) -> None:
    alice.declare(1, "q")
    sampled.wait(5)
    queue = sampled.harness.queue("q")
    for number in range(12):
        alice.publish(1, "q", *[b"x"] * number)
        sampled.wait(5)
    alice.send(1, Basic.Get(queue="q", no_ack=True))
    alice.expect_content(1)
    published = [sum(range(number)) for number in range(12, 0, -1)]
    ago = [5 * number for number in range(12)]
    assert sampled.queue_series(queue, "publish", *ago) == published
    assert sampled.queue_series(queue, "messages_ready", *ago)[1:] == published[1:]
    assert sampled.queue_series(queue, "get_no_ack", *ago) == [1] + [0] * 11
    history = queue.counters.history
    assert history is not None
    assert history.rate(QUEUE.names.index("publish"), published[0], sampled.now) == 11 / 5
    assert queue.counters.active_at == sampled.now - 4 * SECOND


def test_a_history_goes_back_a_day_and_is_forgotten_then(sampled: Sampled, alice: Client) -> None:
    alice.declare(1, "q")
    alice.publish(1, "q", b"1", b"2")
    sampled.wait(10)
    queue = sampled.harness.queue("q")
    history = queue.counters.history
    assert history is not None
    sampled.harness.advance_clock(23 * 3600 * SECOND)
    sampled.wait(1)
    day = 24 * 3600
    assert sampled.queue_series(queue, "publish", 0, 22 * 3600, day) == [2, 2, 0]
    sampled.harness.advance_clock(FORGET_MS)
    sampled.wait(1)
    assert history.is_forgotten()
    assert sampled.queue_series(queue, "publish", 0, day) == [2, 2]
    alice.publish(1, "q", b"3")
    sampled.wait(5)
    assert sampled.queue_series(queue, "publish", 0, 60) == [3, 2]
    assert sampled.queue_series(queue, "messages_ready", 0, 60) == [3, 2]


def history_of(counted: object) -> History:
    history = getattr(counted, "history", None)
    assert isinstance(history, History)
    return history


def test_channels_exchanges_virtual_hosts_and_the_broker(sampled: Sampled, alice: Client) -> None:
    sampled.wait(5)
    alice.declare(1, "q")
    alice.publish(1, "q", *[b"x"] * 10)
    sampled.wait(5)
    vhost = sampled.broker.vhosts["/"]
    channel = alice.connection.channels.by_number[1]
    for counted, layout, name in (
        (channel.counters, CHANNEL, "publish"),
        (vhost.router.default_counters, EXCHANGE, "publish_in"),
        (vhost.counters, VHOST, "publish"),
        (sampled.sampler, BROKER, "publish"),
    ):
        series = layout.names.index(name)
        assert history_of(counted).rate(series, 10, sampled.now) == pytest.approx(2.0, abs=8)
        assert history_of(counted).value_at(series, 10, sampled.now, sampled.now - 5000) == 0
    assert vhost.exchanges["amq.direct"].counters.history is None
    assert sampled.sampler.found("/").ready == 10
    depth = BROKER.names.index("messages_ready")
    assert sampled.sampler.values()[depth] == 10
    assert sampled.sampler.history.value_at(depth, 10, sampled.now, sampled.now - SECOND) == 10


def test_the_node(sampled: Sampled) -> None:
    sampled.memory = 1000
    sampled.wait(2)
    sampled.memory = 3000
    sampled.wait(1)
    at = Moment(sampled.now, 0, Ranges(node_stats=Range(3, 1)))
    found = node_statistics(sampled.sampler, at)
    assert (found["mem_used"], found["fd_used"], found["sockets_used"]) == (3000, 7, 2)
    samples = [each.sample for each in found["mem_used_details"].samples]
    assert samples == [3000, 1000, 1000, 0]


def test_how_long_a_delivery_is_unacknowledged(
    sampled: Sampled, alice: Client, bob: Client
) -> None:
    alice.declare(1, "q")
    alice.publish(1, "q", b"1")
    bob.consume(1, "q", "c")
    bob.expect_delivery(1, "c", 1, b"1")
    sampled.wait(1)
    first = sampled.now
    sampled.wait(20)
    alice.publish(1, "q", b"2")
    bob.expect_delivery(1, "c", 2, b"2")
    sampled.wait(1)
    second = sampled.now
    deliveries = bob.connection.channels.by_number[1].deliveries
    times = deliveries.times
    assert times is not None
    assert (times.time_of(1), times.time_of(2)) == (first, second)
    bob.send(1, Basic.Ack(1))
    sampled.wait(1)
    assert times.time_of(2) == second
    bob.send(1, Basic.Ack(2))
    sampled.wait(1)
    assert deliveries.times is None


def test_how_well_consumers_are_used(sampled: Sampled, alice: Client, bob: Client) -> None:
    alice.declare(1, "q")
    counters = sampled.harness.queue("q").counters
    sampled.wait(1)
    assert counters.utilisation == -1
    bob.call(1, Basic.Qos(prefetch_count=1), Basic.QosOk)
    bob.consume(1, "q", "c")
    sampled.wait(1)
    assert counters.utilisation == 1000
    alice.publish(1, "q", b"1", b"2")
    bob.expect_delivery(1, "c", 1, b"1")
    sampled.wait(10)
    # It holds as much as it may, so nobody takes the other one.
    assert 300 < counters.utilisation < 400
    bob.send(1, Basic.Cancel("c"))
    bob.expect(1, Basic.CancelOk("c"))
    sampled.wait(1)
    assert counters.utilisation == -1


def test_a_look_takes_several_slices(sampled: Sampled, alice: Client) -> None:
    """A slice of the harness is over after a unit of work, or some."""
    names = [f"q{number}" for number in range(200)]
    alice.declare(1, *names)
    for name in names:
        alice.publish(1, name, b"x")
    sampled.wait(5)
    assert sampled.sampler.found("/").ready == 200
    assert all(sampled.harness.queue(name).counters.history is not None for name in names)


def test_who_sees_some_virtual_hosts_sees_what_has_happened_there(
    sampled: Sampled, alice: Client
) -> None:
    sampled.harness.add_vhost("other")
    bob = sampled.harness.open_client(1, vhost="other")
    for client, count in ((alice, 3), (bob, 4)):
        client.declare(1, "q")
        client.publish(1, "q", *[b"x"] * count)
    sampled.wait(5)
    at = Moment(sampled.now, 0)
    other = sampled.broker.vhosts["other"]
    found = some_vhosts_statistics([other], sampled.sampler, at)
    assert found["message_stats"]["publish"] == found["queue_totals"]["messages"] == 4
    assert found["churn_rates"] == {}
    found = broker_statistics(sampled.sampler, at)
    assert found["message_stats"]["publish"] == found["queue_totals"]["messages"] == 7
    assert found["churn_rates"]["queue_created"] == 2
    bob.close_channels(1)
