"""How much a consumer, and a channel, may have outstanding; and which consumer is served next."""

from collections.abc import Iterator

import pytest
from pamqp.commands import Basic

from leveret.config import Config, Qos, RetuneMode, Server
from leveret.engine.queues.consumer_rings import ASKED_AT_ONCE
from leveret.engine.values.time_slice import UNITS_PER_READING
from leveret.errors import ReplyCode
from leveret.protocol.channels.deliveries import RESUMED_AT_ONCE
from tests.protocol import wire
from tests.protocol.harness import Client, Harness


def qos(client: Client, channel: int, count: int, *, shared: bool = False) -> None:
    client.call(channel, Basic.Qos(prefetch_count=count, global_=shared), Basic.QosOk)


def test_a_consumer_holds_no_more_than_its_prefetch(alice: Client) -> None:
    alice.declare(1, "q")
    qos(alice, 1, 2)
    alice.consume(1, "q", "c")
    alice.publish(1, "q", b"1", b"2", b"3", b"4")
    alice.expect_delivery(1, "c", 1, b"1")
    alice.expect_delivery(1, "c", 2, b"2")
    alice.expect_nothing()
    alice.send(1, Basic.Ack(1))
    alice.expect_delivery(1, "c", 3, b"3")
    alice.send(1, Basic.Ack(3, True))
    alice.expect_delivery(1, "c", 4, b"4")


@pytest.mark.parametrize(
    "settle", [Basic.Ack(2, True), Basic.Nack(2, True, False), Basic.Ack(0, True)]
)
def test_room_for_many_is_used_at_once(alice: Client, settle: Basic.Ack) -> None:
    alice.declare(1, "q")
    qos(alice, 1, 2)
    alice.publish(1, "q", b"1", b"2", b"3", b"4")
    alice.consume(1, "q", "c")
    alice.expect_delivery(1, "c", 1, b"1")
    alice.expect_delivery(1, "c", 2, b"2")
    alice.send(1, settle)
    alice.expect_delivery(1, "c", 3, b"3")
    alice.expect_delivery(1, "c", 4, b"4")


def test_prefetch_is_of_consumers_to_come(alice: Client) -> None:
    alice.declare(1, "q", "r")
    alice.consume(1, "q", "free")
    qos(alice, 1, 1)
    alice.consume(1, "r", "bound")
    qos(alice, 1, 2)
    alice.publish(1, "q", b"1", b"2")
    alice.expect_delivery(1, "free", 1, b"1")
    alice.expect_delivery(1, "free", 2, b"2")
    alice.publish(1, "r", b"3", b"4")
    alice.expect_delivery(1, "bound", 3, b"3", key="r")
    alice.expect_nothing()


@pytest.fixture
def retuning() -> Iterator[Client]:
    """A client with channels 1 and 2 of a broker that lets basic.qos retune."""
    harness = Harness(Config(qos=Qos(retune="true")))
    yield harness.open_client(1, 2)
    harness.close()


@pytest.mark.parametrize(
    ("retune", "product", "at_once"),
    [
        ("auto", "py-amqp", True),
        ("auto", "Pika Python Client Library", False),
        ("true", "Pika Python Client Library", True),
        ("false", "py-amqp", False),
    ],
)
def test_by_default_the_client_decides_whether_basic_qos_retunes(
    retune: RetuneMode, product: str, at_once: bool
) -> None:
    harness = Harness(Config(qos=Qos(retune=retune)))
    client = harness.open_client(1, product=product)
    client.declare(1, "q")
    qos(client, 1, 1)
    client.consume(1, "q", "c")
    client.publish(1, "q", b"1", b"2")
    client.expect_delivery(1, "c", 1, b"1")

    qos(client, 1, 2)

    if at_once:
        client.expect_delivery(1, "c", 2, b"2")
    harness.close()


def test_a_client_that_takes_the_broker_for_rabbitmq_gets_its_basic_qos() -> None:
    harness = Harness(Config(server=Server(product="RabbitMQ")))
    client = harness.open_client(1, product="py-amqp")
    assert not client.connection.session.peer.follows_specification
    harness.close()


class TestRetuning:
    def test_a_raised_prefetch_makes_room_at_once_behind_the_reply(self, retuning: Client) -> None:
        retuning.declare(1, "q")
        qos(retuning, 1, 1)
        retuning.consume(1, "q", "c")
        retuning.publish(1, "q", b"1", b"2", b"3", b"4")
        retuning.expect_delivery(1, "c", 1, b"1")
        retuning.send(1, Basic.Qos(prefetch_count=3))
        retuning.expect(1, Basic.QosOk())
        retuning.expect_delivery(1, "c", 2, b"2")
        retuning.expect_delivery(1, "c", 3, b"3")
        retuning.expect_nothing()
        retuning.send(1, Basic.Qos(prefetch_count=0))
        retuning.expect(1, Basic.QosOk())
        retuning.expect_delivery(1, "c", 4, b"4")

    def test_a_lowered_prefetch_holds_when_enough_is_settled(self, retuning: Client) -> None:
        retuning.declare(1, "q")
        retuning.consume(1, "q", "c")
        retuning.publish(1, "q", b"1", b"2", b"3")
        for number in (1, 2, 3):
            retuning.expect_delivery(1, "c", number, b"%d" % number)
        qos(retuning, 1, 1)
        retuning.publish(1, "q", b"4", b"5")
        retuning.send(1, Basic.Ack(2, True))
        retuning.expect_nothing()
        retuning.send(1, Basic.Ack(3))
        retuning.expect_delivery(1, "c", 4, b"4")

    def test_other_channels_and_automatic_acknowledgement_are_left_alone(
        self, retuning: Client
    ) -> None:
        retuning.declare(1, "q", "r")
        retuning.consume(1, "q", "automatic", no_ack=True)
        retuning.consume(2, "r", "other")
        qos(retuning, 1, 1)
        retuning.publish(1, "q", b"1", b"2")
        retuning.expect_delivery(1, "automatic", 1, b"1")
        retuning.expect_delivery(1, "automatic", 2, b"2")
        retuning.publish(1, "r", b"3", b"4")
        retuning.expect_delivery(2, "other", 1, b"3", key="r")
        retuning.expect_delivery(2, "other", 2, b"4", key="r")

    def test_the_channels_own_limit_holds_besides(self, retuning: Client) -> None:
        retuning.declare(1, "q")
        qos(retuning, 1, 1)
        qos(retuning, 1, 2, shared=True)
        retuning.consume(1, "q", "c")
        retuning.publish(1, "q", b"1", b"2", b"3")
        retuning.expect_delivery(1, "c", 1, b"1")
        retuning.send(1, Basic.Qos(prefetch_count=5))
        retuning.expect(1, Basic.QosOk())
        retuning.expect_delivery(1, "c", 2, b"2")


def test_prefetch_is_of_each_consumer_by_itself(alice: Client) -> None:
    alice.declare(1, "q")
    qos(alice, 1, 1)
    alice.consume(1, "q", "a")
    alice.consume(1, "q", "b")
    alice.publish(1, "q", b"1", b"2", b"3")
    alice.expect_delivery(1, "a", 1, b"1")
    alice.expect_delivery(1, "b", 2, b"2")
    alice.expect_nothing()


def test_what_needs_no_acknowledgement_is_not_limited(alice: Client) -> None:
    alice.declare(1, "q")
    qos(alice, 1, 1)
    qos(alice, 1, 1, shared=True)
    alice.consume(1, "q", "c", no_ack=True)
    alice.publish(1, "q", b"1", b"2", b"3")
    for number in (1, 2, 3):
        alice.expect_delivery(1, "c", number, b"%d" % number)


def test_a_shared_limit_is_of_all_consumers_of_the_channel(alice: Client) -> None:
    alice.declare(1, "q")
    alice.consume(1, "q", "a")
    alice.consume(1, "q", "b")
    qos(alice, 1, 3, shared=True)
    alice.publish(1, "q", b"1", b"2", b"3", b"4", b"5")
    for number, tag in enumerate(("a", "b", "a"), 1):
        alice.expect_delivery(1, tag, number, b"%d" % number)
    alice.expect_nothing()
    alice.send(1, Basic.Ack(2))
    assert alice.expect_content(1).body == b"4"
    alice.expect_nothing()


def test_room_under_a_shared_limit_is_for_any_queue(alice: Client) -> None:
    """The consumer that gets below the limit may have no more messages to take."""
    alice.declare(1, "q", "r")
    qos(alice, 1, 2, shared=True)
    alice.publish(1, "q", b"1", b"2")
    alice.publish(1, "r", b"3")
    alice.consume(1, "q", "a")
    alice.expect_delivery(1, "a", 1, b"1")
    alice.expect_delivery(1, "a", 2, b"2")
    alice.consume(1, "r", "b")
    alice.expect_nothing()
    alice.send(1, Basic.Ack(1))
    alice.expect_delivery(1, "b", 3, b"3", key="r")


@pytest.mark.parametrize(
    "settle",
    [Basic.Ack(1), Basic.Ack(0, True), Basic.Reject(1, False), Basic.Nack(1, False, False)],
)
def test_a_cancelled_consumer_gives_room_back_to_the_others(
    alice: Client, settle: Basic.Ack
) -> None:
    alice.declare(1, "q", "r")
    qos(alice, 1, 1, shared=True)
    alice.publish(1, "q", b"1")
    alice.publish(1, "r", b"2")
    alice.consume(1, "q", "a")
    alice.expect_delivery(1, "a", 1, b"1")
    alice.consume(1, "r", "b")
    alice.call(1, Basic.Cancel(consumer_tag="a"), Basic.CancelOk)
    alice.expect_nothing()
    alice.send(1, settle)
    alice.expect_delivery(1, "b", 2, b"2", key="r")


def test_a_shared_limit_used_up_holds_what_needs_no_acknowledgement_too(alice: Client) -> None:
    alice.declare(1, "q", "r")
    qos(alice, 1, 1, shared=True)
    alice.consume(1, "q", "acknowledges")
    alice.consume(1, "r", "does not", no_ack=True)
    alice.publish(1, "r", b"1", b"2")
    alice.expect_delivery(1, "does not", 1, b"1", key="r")
    alice.expect_delivery(1, "does not", 2, b"2", key="r")
    alice.publish(1, "q", b"3")
    alice.expect_delivery(1, "acknowledges", 3, b"3")
    alice.publish(1, "r", b"4")
    alice.expect_nothing()
    alice.send(1, Basic.Ack(3))
    alice.expect_delivery(1, "does not", 4, b"4", key="r")


@pytest.mark.parametrize("queues", [("q", "q", "q"), ("q", "r", "s")])
def test_consumers_under_a_shared_limit_take_turns(
    alice: Client, bob: Client, queues: tuple[str, str, str]
) -> None:
    alice.declare(1, *sorted(set(queues)))
    qos(alice, 1, 1, shared=True)
    for tag, queue in zip("abc", queues, strict=True):
        alice.consume(1, queue, tag)
    for queue in queues:
        bob.publish(1, queue, b"1", b"2")
    for number, tag in enumerate("abcabc", 1):
        deliver = alice.expect_content(1).method
        assert isinstance(deliver, Basic.Deliver)
        assert deliver.consumer_tag == tag
        alice.send(1, Basic.Ack(number))


def test_both_limits_hold_at_once(alice: Client) -> None:
    alice.declare(1, "q")
    qos(alice, 1, 2)
    qos(alice, 1, 3, shared=True)
    alice.consume(1, "q", "a")
    alice.publish(1, "q", b"1", b"2", b"3", b"4")
    alice.expect_delivery(1, "a", 1, b"1")
    alice.expect_delivery(1, "a", 2, b"2")
    alice.expect_nothing()
    alice.consume(1, "q", "b")
    alice.expect_delivery(1, "b", 3, b"3")
    alice.expect_nothing()
    alice.send(1, Basic.Ack(3))
    alice.expect_delivery(1, "b", 4, b"4")


def test_a_shared_limit_that_is_raised_or_lifted_holds_at_once(alice: Client) -> None:
    alice.declare(1, "q")
    qos(alice, 1, 1, shared=True)
    alice.consume(1, "q", "c")
    alice.publish(1, "q", b"1", b"2", b"3", b"4")
    alice.expect_delivery(1, "c", 1, b"1")
    alice.send(1, Basic.Qos(prefetch_count=2, global_=True))
    assert {type(received).__name__ for _, received in alice.receive_all()} == {"Content", "QosOk"}
    alice.send(1, Basic.Qos(prefetch_count=0, global_=True))
    assert len(alice.receive_all()) == 3


def very_many_consumers(alice: Client, bob: Client) -> list[str]:
    """Consumers under a shared limit of one, each of a queue with a message; their tags."""
    tags = [f"c{number}" for number in range(3 * RESUMED_AT_ONCE)]
    alice.declare(1, *tags)
    qos(alice, 1, 1, shared=True)
    for tag in tags:
        alice.consume(1, tag, tag)
    for tag in tags:
        bob.publish(1, tag, b"")
    return tags


def test_very_many_consumers_under_a_shared_limit_take_turns(alice: Client, bob: Client) -> None:
    tags = very_many_consumers(alice, bob)
    for number, tag in enumerate(tags, 1):
        deliver = alice.expect_content(1).method
        assert isinstance(deliver, Basic.Deliver)
        assert deliver.consumer_tag == tag
        alice.send(1, Basic.Ack(number))


def test_very_many_consumers_are_resumed_in_slices(
    harness: Harness, alice: Client, bob: Client
) -> None:
    tags = very_many_consumers(alice, bob)
    alice.expect_delivery(1, "c0", 1, b"", key="c0")
    delivered = []
    harness.broker.time_slice.begin(0)
    assert not alice.connection.feed(wire.method_frames(1, Basic.Qos(0, 0, True)), 1000)
    while not harness.broker.work.is_empty():
        delivered.append(sum(harness.queue(tag).unacknowledged for tag in tags))
        harness.broker.time_slice.begin(0)
        harness.broker.work.run_next(harness.broker.time_slice)
    assert RESUMED_AT_ONCE <= delivered[0] <= RESUMED_AT_ONCE + UNITS_PER_READING
    assert delivered == sorted(delivered)
    assert len(delivered) > RESUMED_AT_ONCE
    # The reply, and all deliveries but the first.
    assert len(alice.receive_all()) == len(tags)


def test_very_many_consumers_that_accept_nothing_are_passed_over_in_slices(
    alice: Client, bob: Client
) -> None:
    alice.declare(1, "q")
    qos(alice, 1, 1, shared=True)
    for number in range(2 * ASKED_AT_ONCE + 1):
        alice.consume(1, "q", f"c{number}")
    alice.publish(1, "q", b"1")
    alice.expect_delivery(1, "c0", 1, b"1")
    bob.consume(1, "q", "last")
    bob.publish(1, "q", b"2")
    bob.expect_delivery(1, "last", 1, b"2")


def test_limits_are_of_their_channel(harness: Harness) -> None:
    client = harness.open_client(1, 2)
    client.declare(1, "q")
    qos(client, 1, 1, shared=True)
    client.consume(1, "q", "one")
    client.consume(2, "q", "two")
    client.publish(1, "q", b"1", b"2", b"3")
    client.expect_delivery(1, "one", 1, b"1")
    client.expect_delivery(2, "two", 1, b"2")
    client.expect_delivery(2, "two", 2, b"3")


def test_a_message_that_goes_back_makes_room(alice: Client, bob: Client) -> None:
    alice.declare(1, "q")
    qos(alice, 1, 1)
    alice.publish(1, "q", b"1", b"2")
    alice.consume(1, "q", "c")
    alice.expect_delivery(1, "c", 1, b"1")
    bob.consume(1, "q", "d")
    bob.expect_delivery(1, "d", 1, b"2")
    alice.send(1, Basic.Reject(1, True))
    received = [*alice.receive_all(), *bob.receive_all()]
    assert len(received) == 1, "it goes to exactly one of those below their limits"


def test_a_prefetch_in_octets_is_not_implemented(alice: Client) -> None:
    alice.send(1, Basic.Qos(prefetch_size=4096))
    alice.expect_error(0, ReplyCode.NOT_IMPLEMENTED, "prefetch_size!=0 (4096)", Basic.Qos)


# --- fairness --------------------------------------------------------------------------------


def test_consumers_take_turns(harness: Harness) -> None:
    clients = [harness.open_client(1) for _ in range(3)]
    clients[0].declare(1, "q")
    for client in clients:
        client.consume(1, "q", "c", no_ack=True)
    clients[0].publish(1, "q", *(b"%d" % number for number in range(7)))
    for number in range(7):
        clients[number % 3].expect_delivery(1, "c", number // 3 + 1, b"%d" % number)


def test_who_is_full_is_skipped_and_comes_back_behind_the_others(alice: Client) -> None:
    alice.declare(1, "q")
    qos(alice, 1, 1)
    alice.consume(1, "q", "one")
    qos(alice, 1, 0)
    alice.consume(1, "q", "two")
    alice.publish(1, "q", b"1", b"2", b"3", b"4")
    for number, tag in enumerate(("one", "two", "two", "two"), 1):
        alice.expect_delivery(1, tag, number, b"%d" % number)
    alice.send(1, Basic.Ack(1))
    alice.publish(1, "q", b"5", b"6")
    alice.expect_delivery(1, "two", 5, b"5")
    alice.expect_delivery(1, "one", 6, b"6")
