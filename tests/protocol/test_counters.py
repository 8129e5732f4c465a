"""What is counted: of queues, exchanges, channels, virtual hosts and the broker."""

from typing import Final, cast

from pamqp.commands import Basic, Confirm, Exchange, Queue, Tx

from leveret.engine.metadata.entities import VirtualHostEntity
from leveret.engine.values.counters import (
    UNROUTABLE_SAMPLE_MS,
    UNROUTABLE_SAMPLES_MAX,
)
from leveret.protocol.channels.delivery import DeliveryConsumer
from tests.protocol.harness import Client, Harness

NAMES: Final = (
    "publish",
    "confirm",
    "deliver",
    "deliver_no_ack",
    "redeliver",
    "get",
    "get_no_ack",
    "get_empty",
    "ack",
    "publish_in",
    "publish_out",
    "return_unroutable",
    "drop_unroutable",
    "expired",
    "maxlen",
    "rejected",
    "delivery_limit",
    "dead_lettered",
    "connection_created",
    "connection_closed",
    "channel_created",
    "channel_closed",
    "queue_declared",
    "queue_created",
    "queue_deleted",
)


def counted(counters: object) -> dict[str, int]:
    """All that is not 0."""
    values = {name: int(getattr(counters, name, 0)) for name in NAMES}
    return {name: value for name, value in values.items() if value}


class Counts:
    """The counters of a broker with the virtual host `/`."""

    def __init__(self, harness: Harness) -> None:
        self._harness = harness
        self._vhost = harness.broker.vhosts["/"]

    def queue(self, name: str) -> dict[str, int]:
        return counted(self._harness.queue(name).counters)

    def drops(self, name: str) -> dict[str, int]:
        return counted(self._harness.queue(name).contents.drops)

    def exchange(self, name: str) -> dict[str, int]:
        if not name:
            return counted(self._vhost.router.default_counters)
        return counted(self._vhost.exchanges[name].counters)

    def vhost(self) -> dict[str, int]:
        return counted(self._vhost.counters)

    def broker(self) -> dict[str, int]:
        return counted(self._harness.broker.counters())

    def churn(self) -> dict[str, int]:
        return counted(self._harness.broker.churn)


def channel_of(client: Client, number: int = 1) -> dict[str, int]:
    return counted(client.connection.channels.by_number[number].counters)


def test_publish_deliver_and_acknowledge(harness: Harness, alice: Client, bob: Client) -> None:
    counts = Counts(harness)
    alice.declare(1, "q")
    alice.publish(1, "q", b"1", b"2", b"3")
    assert counts.queue("q") == {"publish": 3}
    assert counts.exchange("") == {"publish_in": 3, "publish_out": 3}
    bob.consume(1, "q", "c")
    for number in (1, 2, 3):
        bob.expect_delivery(1, "c", number, str(number).encode())
    bob.send(1, Basic.Ack(1), Basic.Ack(3, True))
    assert counts.queue("q") == {"publish": 3, "deliver": 3, "ack": 3}
    assert channel_of(alice) == {"publish": 3}
    assert channel_of(bob) == {"deliver": 3, "ack": 3}
    (consumer,) = harness.queue("q").consumers
    assert cast("DeliveryConsumer", consumer).delivered == 3
    assert counts.vhost() == counts.broker() == {"publish": 3, "deliver": 3, "ack": 3}


def test_what_is_delivered_at_once_counts_like_what_has_waited(
    harness: Harness, alice: Client, bob: Client
) -> None:
    counts = Counts(harness)
    alice.declare(1, "q")
    bob.consume(1, "q", "c", no_ack=True)
    alice.publish(1, "q", b"1", b"2")
    bob.expect_delivery(1, "c", 1, b"1")
    bob.expect_delivery(1, "c", 2, b"2")
    assert counts.queue("q") == {"publish": 2, "deliver_no_ack": 2}
    assert channel_of(bob) == {"deliver_no_ack": 2}


def test_get_and_get_empty(harness: Harness, alice: Client) -> None:
    counts = Counts(harness)
    alice.declare(1, "q")
    alice.publish(1, "q", b"1", b"2")
    alice.send(1, Basic.Get(queue="q", no_ack=True))
    alice.expect_content(1)
    alice.send(1, Basic.Get(queue="q"))
    alice.expect_content(1)
    alice.call(1, Basic.Get(queue="q"), Basic.GetEmpty)
    alice.send(1, Basic.Ack(2))
    fetched = {"publish": 2, "get": 1, "get_no_ack": 1, "get_empty": 1, "ack": 1}
    assert counts.queue("q") == counts.vhost() == channel_of(alice) == fetched


def test_redeliveries_count_twice(harness: Harness, alice: Client, bob: Client) -> None:
    counts = Counts(harness)
    alice.declare(1, "q")
    alice.publish(1, "q", b"1")
    bob.consume(1, "q", "c")
    bob.expect_delivery(1, "c", 1, b"1")
    bob.send(1, Basic.Reject(1, True))
    bob.expect_delivery(1, "c", 2, b"1", redelivered=True)
    bob.send(1, Basic.Cancel("c"), Basic.Nack(2, False, True))
    bob.expect(1, Basic.CancelOk("c"))
    bob.send(1, Basic.Get(queue="q", no_ack=True))
    bob.expect_content(1)
    delivered = {"deliver": 2, "get_no_ack": 1, "redeliver": 2}
    assert counts.queue("q") == {"publish": 1} | delivered
    assert channel_of(bob) == delivered


def test_what_a_rejection_drops_is_not_acknowledged(harness: Harness, alice: Client) -> None:
    counts = Counts(harness)
    alice.declare(1, "dead")
    to_dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    alice.declare(1, "q", arguments=to_dead)
    alice.declare(1, "plain")
    for queue in ("q", "plain"):
        alice.publish(1, queue, b"1")
        alice.send(1, Basic.Get(queue=queue))
        alice.expect_content(1)
    alice.send(1, Basic.Nack(0, True, False))
    assert counts.queue("q") == counts.queue("plain") == {"publish": 1, "get": 1}
    assert counts.drops("q") == {"rejected": 1, "dead_lettered": 1}
    assert counts.drops("plain") == {"rejected": 1}
    assert counted(harness.broker.vhosts["/"].drops) == {"rejected": 2, "dead_lettered": 1}
    assert counts.queue("dead") == {"publish": 1}
    # Its exchange and its virtual host count what clients have published.
    assert counts.exchange("") == {"publish_in": 2, "publish_out": 2}
    assert counts.vhost() == {"publish": 2, "get": 2}


def test_what_expires_or_is_too_much(harness: Harness, alice: Client) -> None:
    counts = Counts(harness)
    alice.declare(1, "short", arguments={"x-max-length": 1})
    alice.declare(1, "brief", arguments={"x-message-ttl": 10})
    alice.publish(1, "short", b"1", b"2", b"3")
    alice.publish(1, "brief", b"1")
    harness.advance_clock(11)
    assert counts.drops("short") == {"maxlen": 2}
    assert counts.drops("brief") == {"expired": 1}
    alice.declare(1, "often", arguments={"x-delivery-limit": 1})
    alice.publish(1, "often", b"1")
    for tag in (1, 2):
        alice.send(1, Basic.Get(queue="often"))
        alice.expect_content(1)
        alice.send(1, Basic.Reject(tag, True))
    assert counts.drops("often") == {"delivery_limit": 1}
    assert not counts.drops("often").get("dead_lettered")


def test_unroutable_messages(harness: Harness, alice: Client) -> None:
    counts = Counts(harness)
    alice.call(1, Exchange.Declare(exchange="x"), Exchange.DeclareOk)
    alice.publish(1, "nowhere", b"1", b"2", exchange="x")
    alice.publish(1, "somewhere", b"3", exchange="x", mandatory=True)
    alice.receive_all()
    unroutable = {"drop_unroutable": 2, "return_unroutable": 1}
    assert counts.exchange("x") == {"publish_in": 3} | unroutable
    assert channel_of(alice) == counts.vhost() == {"publish": 3} | unroutable
    (sample,) = harness.broker.vhosts["/"].exchanges["x"].counters.samples
    assert (sample.routing_key, sample.returned) == ("nowhere", False)


def test_an_exchange_remembers_few_unroutable_messages(harness: Harness, alice: Client) -> None:
    counters = harness.broker.vhosts["/"].exchanges["amq.topic"].counters
    for number in range(UNROUTABLE_SAMPLES_MAX + 3):
        mandatory = number % 2 == 1
        alice.publish(1, f"key.{number}", b"", exchange="amq.topic", mandatory=mandatory)
        alice.receive_all()
        harness.advance_clock(UNROUTABLE_SAMPLE_MS)
    assert [sample.routing_key for sample in counters.samples] == [
        f"key.{number}" for number in range(3, UNROUTABLE_SAMPLES_MAX + 3)
    ]
    assert [sample.returned for sample in counters.samples][:2] == [True, False]
    times = [sample.time for sample in counters.samples]
    assert times == sorted(times)


def test_a_fanout_counts_each_queue(harness: Harness, alice: Client) -> None:
    counts = Counts(harness)
    queues = [f"q{number}" for number in range(40)]
    alice.declare(1, *queues)
    for queue in queues:
        alice.call(1, Queue.Bind(queue=queue, exchange="amq.fanout"), Queue.BindOk)
    alice.publish(1, "", b"1", exchange="amq.fanout")
    assert counts.exchange("amq.fanout") == {"publish_in": 1, "publish_out": 40}
    assert channel_of(alice) == {"publish": 1}
    assert all(counts.queue(queue) == {"publish": 1} for queue in queues)


def test_confirms(harness: Harness, alice: Client) -> None:
    counts = Counts(harness)
    full = {"x-max-length": 1, "x-overflow": "reject-publish"}
    alice.declare(1, "q", arguments=full)
    alice.call(1, Confirm.Select(), Confirm.SelectOk)
    alice.publish(1, "q", b"1", b"2", b"3")
    alice.receive_all()
    alice.publish(1, "nowhere", b"4")
    alice.receive_all()
    assert channel_of(alice) == {"publish": 4, "confirm": 2, "drop_unroutable": 1}
    assert counts.vhost() == channel_of(alice)


def test_a_transaction_counts_when_it_commits(harness: Harness, alice: Client) -> None:
    counts = Counts(harness)
    alice.declare(1, "q")
    alice.publish(1, "q", b"0")
    alice.call(1, Tx.Select(), Tx.SelectOk)
    alice.send(1, Basic.Get(queue="q"))
    alice.expect_content(1)
    alice.publish(1, "q", b"1")
    alice.send(1, Basic.Ack(1))
    assert counts.queue("q") == {"publish": 1, "get": 1}
    alice.call(1, Tx.Commit(), Tx.CommitOk)
    assert counts.queue("q") == {"publish": 2, "get": 1, "ack": 1}
    assert channel_of(alice) == counts.vhost() == {"publish": 2, "get": 1, "ack": 1}


def test_churn(harness: Harness) -> None:
    counts = Counts(harness)
    client = harness.open_client(1, 2)
    client.declare(1, "q")
    client.declare(1, "q")
    client.declare(1, "q", passive=True)
    client.call(1, Queue.Delete(queue="q"), Queue.DeleteOk)
    client.close_channels(2)
    opened = {"connection_created": 1, "channel_created": 2, "channel_closed": 1}
    queues = {"queue_declared": 2, "queue_created": 1, "queue_deleted": 1}
    assert counts.churn() == opened | queues
    client.lose_socket()
    closed = {"connection_closed": 1, "channel_closed": 2}
    assert counts.churn() == opened | queues | closed


def test_the_total_of_a_broker_never_goes_back(harness: Harness) -> None:
    counts = Counts(harness)
    harness.add_vhost("other")
    client = harness.open_client(1, vhost="other")
    client.declare(1, "q")
    client.publish(1, "q", b"1", b"2")
    client.close_channels(1)
    client.lose_socket()
    before = counts.broker()
    assert before == {"publish": 2}
    harness.broker.work.run_all(harness.broker.time_slice)
    harness.broker.metadata.delete(VirtualHostEntity, "other")
    assert counts.broker() == before


def test_published_messages_are_counted_by_size(harness: Harness, alice: Client) -> None:
    sizes = harness.broker.sizes
    alice.declare(1, "q")
    published = (0, 100, 101, 1000, 1001, 10_000)
    alice.publish(1, "q", *[b"x" * size for size in published])
    assert int(sizes.bytes) == sum(published)
    for size in (100_000_000, 100_000_001):
        sizes.add_larger(size)
    count = int(harness.broker.counters().publish) + 2
    assert sizes.counts(count) == [2, 2, 2, 0, 0, 0, 0, 1, 1]
