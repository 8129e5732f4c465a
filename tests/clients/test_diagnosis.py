"""Each reason why messages do not move is brought about by real clients, and read over HTTP."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exchange_type import ExchangeType

from leveret.commands.client import Client
from tests.support.brokers import Leveret, wait_until

DEADLINE_S = 90.0


class World:
    """A broker and what it says of its queues."""

    def __init__(self, broker: Leveret, channel: BlockingChannel) -> None:
        self.broker = broker
        self.channel = channel
        self.api = Client(broker.data_dir)
        self._named = 0

    def queue(self, **arguments: Any) -> str:
        """Declare a queue of its own; underscores are written as hyphens."""
        self._named += 1
        name = f"stuck-{self._named}"
        table = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
        self.channel.queue_declare(name, durable=True, arguments=table)
        return name

    def publish(self, queue: str, count: int = 1, body: bytes = b"x", **properties: Any) -> None:
        for _ in range(count):
            self.channel.basic_publish("", queue, body, pika.BasicProperties(**properties))

    def publish_by_api(self, queue: str) -> None:
        body = {"routing_key": queue, "payload": "x", "properties": {}}
        self.api.post("exchanges", "/", "amq.default", "publish", body=body)

    def findings(self, queue: str) -> dict[str, dict[str, Any]]:
        """By code."""
        found = self.api.get("queues", "/", queue, "diagnosis")
        return {each["code"]: each for each in found}

    def finding(
        self, queue: str, code: str, meanwhile: Callable[[], None] | None = None
    ) -> dict[str, Any]:
        """The finding, once it is there."""
        found: dict[str, dict[str, Any]] = {}

        def is_there() -> bool:
            if meanwhile is not None:
                meanwhile()
            found.clear()
            found.update(self.findings(queue))
            return code in found

        try:
            wait_until(is_there, DEADLINE_S)
        except TimeoutError:
            pytest.fail(f"no {code}: {found}")
        return found[code]

    @contextmanager
    def client(self, name: str) -> Iterator[BlockingChannel]:
        """A channel of a client that calls itself so."""
        parameters = pika.URLParameters(self.broker.url)
        parameters.client_properties = {"connection_name": name}
        with pika.BlockingConnection(parameters) as connection:
            yield connection.channel()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with (
        Leveret(data_dir=tmp_path_factory.mktemp("diagnosis") / "data") as broker,
        pika.BlockingConnection(pika.URLParameters(broker.url)) as connection,
    ):
        channel = connection.channel()
        channel.confirm_delivery()
        yield World(broker, channel)


def ignore(*_: object) -> None:
    """A consumer that does nothing with what it gets."""


def test_nothing_is_said_of_a_queue_that_moves(world: World) -> None:
    assert world.findings(world.queue()) == {}


def test_nobody_consumes(world: World) -> None:
    queue = world.queue()
    world.publish(queue, 2)
    found = world.finding(queue, "no_consumers")
    assert found["severity"] == "error"
    assert found["text"].startswith("No consumer yet, since ")
    assert found["text"].endswith(
        " UTC, when it was declared or the broker was started. 2 messages wait."
    )
    with world.client("short") as channel:
        tag = channel.basic_consume(queue, ignore)
        assert "no_consumers" not in world.findings(queue)
        channel.basic_cancel(tag)
    found = world.finding(queue, "no_consumers")
    assert found["text"].startswith("No consumer since ")
    assert found["since"] > 0
    wait_until(lambda: queue in [each["queue"] for each in world.api.get("diagnosis")])


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_consumer_holds_what_it_has(world: World, is_shared: bool) -> None:
    queue = world.queue()
    world.publish(queue, 5)
    with world.client("worker-7") as channel:
        channel.basic_qos(prefetch_count=3, global_qos=is_shared)
        channel.basic_consume(queue, ignore, consumer_tag="c")
        found = world.finding(queue, "consumer_at_prefetch")
    assert found["text"].startswith("Consumer 'c' (worker-7, 127.0.0.1:")
    assert "user guest) has held 3 messages for " in found["text"]
    limit = "the prefetch limit of its channel" if is_shared else "its prefetch"
    assert f" without acknowledging one. That is all that {limit} allows (3)" in found["text"]
    assert found["text"].endswith(" 2 messages wait.")
    assert found["facts"]["held"] == 3
    assert [link["kind"] for link in found["links"]] == ["connection", "channel"]


def test_a_consumer_does_not_read(world: World) -> None:
    queue = world.queue()
    with world.client("deaf") as channel:
        channel.basic_consume(queue, ignore, consumer_tag="d", auto_ack=True)
        more = b"x" * 1_000_000
        found = world.finding(
            queue, "consumer_does_not_read", lambda: world.publish(queue, 5, more)
        )
        assert found["text"].startswith("Consumer 'd' (deaf, ")
        assert "does not read from its socket" in found["text"]
        world.channel.queue_delete(queue)


def test_a_queue_is_paused(world: World) -> None:
    queue = world.queue()
    world.publish(queue)
    world.api.put("queues", "/", queue, "pause")
    found = world.finding(queue, "paused")
    assert found["text"].startswith("The queue has been paused since ")
    assert "consumers get nothing until it is resumed" in found["text"]
    assert found["since"] > 0


def test_others_wait_for_the_single_active_consumer(world: World) -> None:
    queue = world.queue(single_active_consumer=True)
    with world.client("first") as first, world.client("second") as second:
        first.basic_qos(prefetch_count=1)
        first.basic_consume(queue, ignore, consumer_tag="one")
        second.basic_consume(queue, ignore, consumer_tag="two")
        world.publish(queue, 2)
        found = world.finding(queue, "single_active_consumer")
    assert found["text"].startswith("The single active consumer is 'one' (first, ")
    assert found["text"].endswith("; another one waits for it to leave and get nothing.")


def test_one_consumer_keeps_others_out(world: World) -> None:
    queue = world.queue()
    with world.client("alone") as channel:
        channel.basic_qos(prefetch_count=1)
        channel.basic_consume(queue, ignore, exclusive=True, consumer_tag="only")
        world.publish(queue, 2)
        found = world.finding(queue, "exclusive_consumer")
    assert found["text"].startswith("Consumer 'only' (alone, ")
    assert found["text"].endswith("consumes exclusively: no other one can help it.")


def test_a_dead_letter_exchange_is_not_there_or_leads_nowhere(world: World) -> None:
    queue = world.queue(dead_letter_exchange="dlx", dead_letter_routing_key="k")
    found = world.finding(queue, "dead_letters_lost")
    assert found["severity"] == "warning"
    assert found["text"].startswith("The dead-letter exchange 'dlx' does not exist: messages that")
    world.publish(queue, 2, expiration="0")
    world.publish(queue, 1)
    found = world.finding(queue, "dead_letters_lost")
    assert found["severity"] == "error"
    assert found["text"] == (
        "The dead-letter exchange 'dlx' does not exist: 2 dead letters went there and may be lost"
        " (2 expired)."
    )
    world.channel.exchange_declare("dlx", ExchangeType.direct)
    found = world.finding(queue, "dead_letters_lost")
    assert found["text"].startswith("The dead-letter exchange 'dlx' has no binding: 2 dead")
    other = world.queue()
    world.channel.queue_bind(other, "dlx", "other")
    found = world.finding(queue, "dead_letters_lost")
    assert found["text"].startswith(
        "The dead-letter exchange 'dlx' leads to no queue with the routing key 'k': 2 dead letters"
    )
    world.channel.queue_bind(other, "dlx", "k")
    assert "dead_letters_lost" not in world.findings(queue)


def test_dead_letters_go_in_circles(world: World) -> None:
    work = world.queue(dead_letter_exchange="", dead_letter_routing_key="stuck-retry")
    table = {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": work,
        "x-message-ttl": 1,
    }
    world.channel.queue_declare("stuck-retry", arguments=table)
    world.publish(work)

    def fail() -> None:
        method, _, _ = world.channel.basic_get(work)
        if method is not None:
            world.channel.basic_reject(method.delivery_tag or 0, requeue=False)
            # It comes back.
            wait_until(lambda: bool(world.api.get("queues", "/", work)["messages_ready"]))

    found = world.finding(work, "dead_lettered_in_circles", fail)
    assert found["text"] == (
        "Messages are dead-lettered in circles: the next one has died 10 times, in 'stuck-retry',"
        f" '{work}'."
    )


def test_a_full_queue_refuses_or_drops(world: World) -> None:
    refusing = world.queue(max_length=1, overflow="reject-publish")
    world.publish(refusing)
    assert world.finding(refusing, "full")["text"] == (
        "The queue is full (max-length 1 from its arguments) and refuses what is published to it."
    )
    dropping = world.queue(max_length=1)
    world.publish(dropping, 3)
    found = world.finding(dropping, "overflow")
    assert found["text"] == (
        "2 messages left the queue since it was declared or the broker was started, because it was"
        " full (max-length 1 from its arguments), and are lost."
    )


def test_a_message_was_delivered_too_often(world: World) -> None:
    dead = world.queue()
    queue = world.queue(delivery_limit=1, dead_letter_exchange="", dead_letter_routing_key=dead)
    world.publish(queue)
    for _ in range(2):
        method, _, _ = world.channel.basic_get(queue)
        assert method is not None
        world.channel.basic_nack(method.delivery_tag or 0)
    assert world.finding(queue, "delivery_limit")["text"] == (
        "1 message left the queue for having been delivered more often than its delivery limit"
        " allows, which is 1, to the dead-letter exchange '' (the default exchange): a consumer"
        " fails on them."
    )


def test_messages_wait_for_the_next_attempt(world: World) -> None:
    queue = world.queue(delayed_retry_min=3_600_000)
    world.publish(queue)
    method, _, _ = world.channel.basic_get(queue)
    assert method is not None
    world.channel.basic_nack(method.delivery_tag or 0)
    found = world.finding(queue, "retry_delayed")
    assert found["severity"] == "info"
    assert found["text"].startswith("1 message failed and wait for the next attempt, the next one")


def test_messages_are_not_due(world: World) -> None:
    queue = world.queue()
    world.channel.exchange_declare(
        "later", "x-delayed-message", arguments={"x-delayed-type": "direct"}
    )
    world.channel.queue_bind(queue, "later", "k")
    how = pika.BasicProperties(headers={"x-delay": 3_600_000})
    world.channel.basic_publish("later", "k", b"x", how)
    found = world.finding(queue, "delayed")
    assert found["text"].startswith("1 message of the delayed exchange 'later', which leads here,")


def test_messages_go_in_circles(world: World) -> None:
    queue = world.queue()
    world.publish(queue)

    def fail() -> None:
        for _ in range(20):
            method, _, _ = world.channel.basic_get(queue)
            assert method is not None
            world.channel.basic_reject(method.delivery_tag or 0)

    found = world.finding(queue, "redelivered_in_circles", fail)
    assert found["text"].startswith("Messages go in circles: ")
    assert "were delivered again, and none was acknowledged in the last " in found["text"]
    assert found["text"].endswith("The queue has no delivery limit that would end it.")
    assert found["facts"]["redeliver_rate"] > 0


def test_more_comes_in_than_goes_out(world: World) -> None:
    queue = world.queue()
    with world.client("slow") as channel:
        channel.basic_qos(prefetch_count=1)
        channel.basic_consume(queue, lambda ch, how, _, __: ch.basic_ack(how.delivery_tag))

        def go_on() -> None:
            world.publish(queue, 20)
            channel.connection.process_data_events()

        found = world.finding(queue, "growing", go_on)
    assert found["text"].startswith("The queue grows: ")
    assert " acknowledged by 1 consumer in the last " in found["text"]
    assert found["facts"]["publish_rate"] > found["facts"]["ack_rate"]


def test_a_publisher_is_faster_than_a_consumer(world: World) -> None:
    queue = world.queue()
    over = threading.Event()

    def publish() -> None:
        with world.client("fast") as channel:
            while not over.is_set():
                channel.basic_publish("", queue, b"x" * 200_000)

    with world.client("steady") as channel:
        channel.basic_consume(queue, ignore, auto_ack=True)
        publisher = threading.Thread(target=publish)
        publisher.start()
        try:
            found = world.finding(
                queue, "publishers_slowed", lambda: channel.connection.process_data_events(0)
            )
        finally:
            over.set()
            while publisher.is_alive():
                channel.connection.process_data_events(0.01)
    assert found["text"] == (
        "Faster than consumers or the disk take it, and slowed down for that: fast (user guest)."
    )


def test_a_consumer_exceeds_the_timeout(world: World) -> None:
    queue = world.queue(consumer_timeout=100)
    with world.client("late") as channel:
        channel.basic_qos(prefetch_count=1)
        channel.basic_consume(queue, ignore, consumer_tag="l")
        world.publish(queue)
        found = world.finding(queue, "consumer_timeout")
    assert found["text"].startswith("Consumer 'l' (late, ")
    assert "has not acknowledged deliveries within the consumer timeout." in found["text"]


def test_publishers_are_blocked(world: World) -> None:
    queue = world.queue()
    world.publish(queue)
    before = 1 << 30
    with world.client("talker") as channel, world.client("taker") as other:
        other.basic_consume(queue, ignore)
        world.api.put("memory-limit", body={"absolute": 0})
        try:
            channel.basic_publish("", queue, b"x")
            found = world.finding(queue, "publishers_blocked")
            assert found["severity"] == "error"
            assert found["text"].startswith("Publishers are blocked since ")
            assert "because the broker is low on memory." in found["text"]
            first = world.api.get("diagnosis")[0]
            assert (first["code"], first["queue"]) == ("publishers_blocked", "")
            short = world.finding(queue, "memory_short", lambda: world.publish_by_api(queue))
            assert "without a prefetch limit get only a few messages" in short["text"]
        finally:
            world.api.put("memory-limit", body={"absolute": before})
    while "publishers_blocked" in world.findings(queue):
        continue
