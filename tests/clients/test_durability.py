"""What is there after a restart, and what is not: with a real client, by SIGTERM and by SIGKILL."""

from collections.abc import Callable
from pathlib import Path

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker, NackError

from tests.support.brokers import Leveret
from tests.support.channels import confirming_channel

COUNT = 300
PERSISTENT = pika.BasicProperties(delivery_mode=2)
TRANSIENT = pika.BasicProperties(delivery_mode=1)

PROPERTIES = pika.BasicProperties(
    content_type="text/plain",
    content_encoding="utf-8",
    headers={"number": 7, "nested": {"list": [1, "two", None]}, "bytes": b"\x00\xff"},
    delivery_mode=2,
    priority=3,
    correlation_id="c-1",
    reply_to="answers",
    expiration="86400000",
    message_id="m-1",
    timestamp=1_700_000_000,
    type="greeting",
    user_id="guest",
    app_id="tests",
)

Start = Callable[[], Leveret]


@pytest.fixture(params=["commit", "interval", "os"])
def sync(request: pytest.FixtureRequest) -> str:
    """Each value of `storage.sync`."""
    return str(request.param)


@pytest.fixture(params=[Leveret.stop, Leveret.kill], ids=["stopped", "killed"])
def end(request: pytest.FixtureRequest) -> Callable[[Leveret], int | None]:
    """Each way to end a broker."""
    ending: Callable[[Leveret], int | None] = request.param
    return ending


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts a broker on the data that the one before it has left."""
    return lambda: Leveret(data_dir=tmp_path / "data")


def publish(
    channel: BlockingChannel,
    queue: str,
    bodies: list[bytes],
    properties: pika.BasicProperties = PERSISTENT,
) -> None:
    """Publish, and wait for the confirms."""
    for body in bodies:
        channel.basic_publish("", queue, body, properties)


def drain(channel: BlockingChannel, queue: str) -> list[bytes]:
    """Take every message out of a queue."""
    bodies: list[bytes] = []
    while True:
        method, _, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return bodies
        bodies.append(body)


def exists(broker: Leveret, queue: str) -> bool:
    """Whether a queue is there."""
    with confirming_channel(broker) as channel:
        try:
            channel.queue_declare(queue, passive=True)
        except ChannelClosedByBroker as closed:
            return bool(closed.reply_code != 404)
        return True


def numbered(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def test_confirmed_messages_outlive_the_process_in_order(
    tmp_path: Path, sync: str, end: Callable[[Leveret], int | None]
) -> None:
    settings = {"LEVERET_STORAGE_SYNC": sync}
    with Leveret(data_dir=tmp_path, env=settings) as broker:
        with confirming_channel(broker) as channel:
            channel.queue_declare("work", durable=True)
            publish(channel, "work", numbered(COUNT))
        end(broker)

    with Leveret(data_dir=tmp_path, env=settings) as broker, confirming_channel(broker) as channel:
        assert drain(channel, "work") == numbered(COUNT)


def test_a_message_keeps_every_property(start: Start) -> None:
    with start() as broker, confirming_channel(broker) as channel:
        channel.queue_declare("work", durable=True)
        channel.basic_publish("", "work", b"hello", PROPERTIES)

    with start() as broker, confirming_channel(broker) as channel:
        method, properties, body = channel.basic_get("work")

        assert body == b"hello"
        assert properties == PROPERTIES
        assert (method.exchange, method.routing_key) == ("", "work")


def test_exchanges_queues_and_bindings_route_as_before(
    start: Start, end: Callable[[Leveret], int | None]
) -> None:
    with start() as broker:
        with confirming_channel(broker) as channel:
            channel.exchange_declare("orders", "topic", durable=True)
            channel.exchange_declare("all", "fanout", durable=True)
            channel.exchange_declare("marked", "headers", durable=True)
            for queue in ("new", "every", "red"):
                channel.queue_declare(queue, durable=True, arguments={"x-max-length": 1000})
            channel.exchange_bind("all", "orders", "#")
            channel.queue_bind("new", "orders", "order.*.new")
            channel.queue_bind("every", "all")
            channel.queue_bind("red", "marked", "", {"x-match": "all", "colour": "red"})
        end(broker)

    with start() as broker, confirming_channel(broker) as channel:
        channel.exchange_declare("orders", "topic", durable=True)
        channel.queue_declare("new", durable=True, arguments={"x-max-length": 1000})
        channel.basic_publish("orders", "order.7.new", b"1")
        channel.basic_publish("orders", "order.7.paid", b"2")
        for colour in ("red", "green"):
            channel.basic_publish(
                "marked", "", colour.encode(), pika.BasicProperties(headers={"colour": colour})
            )

        assert drain(channel, "new") == [b"1"]
        assert drain(channel, "every") == [b"1", b"2"]
        assert drain(channel, "red") == [b"red"]


def test_what_was_acknowledged_is_gone_and_what_was_only_delivered_is_there(start: Start) -> None:
    with start() as broker:
        with confirming_channel(broker) as channel:
            channel.queue_declare("work", durable=True)
            publish(channel, "work", numbered(10))
            tags = [channel.basic_get("work")[0].delivery_tag for _ in range(6)]
            for tag in tags[1:5:2]:
                channel.basic_ack(tag)
            # The reply to a later method says that the acknowledgements have arrived.
            channel.queue_declare("work", passive=True)
        assert broker.stop() == 0

    with start() as broker, confirming_channel(broker) as channel:
        assert drain(channel, "work") == [b"%d" % n for n in (0, 2, 4, 5, 6, 7, 8, 9)]


def test_what_was_delivered_is_redelivered_after_a_restart_and_nothing_else_is(
    start: Start, end: Callable[[Leveret], int | None]
) -> None:
    with start() as broker:
        with confirming_channel(broker) as channel:
            channel.queue_declare("work", durable=True)
            publish(channel, "work", numbered(4))
            returned = channel.basic_get("work")[0]
            channel.basic_nack(returned.delivery_tag, requeue=True)
            for _ in range(2):
                channel.basic_get("work")
            # A confirm says that what was noted before it is written.
            publish(channel, "work", [b"4"])
        end(broker)

    with start() as broker:
        # Nothing is delivered, and what was stays known.
        end(broker)
    with start() as broker, confirming_channel(broker) as channel:
        found = [channel.basic_get("work") for _ in range(5)]
        assert [body for _, _, body in found] == numbered(5)
        assert [method.redelivered for method, _, _ in found] == [True, True, False, False, False]


def test_a_restart_marks_no_more_messages_as_redelivered_than_were_delivered(start: Start) -> None:
    with start() as broker:
        with confirming_channel(broker) as channel:
            channel.queue_declare("work", durable=True, arguments={"x-max-priority": 2})
            publish(channel, "work", numbered(COUNT))
            for _ in range(COUNT // 2):
                channel.basic_get("work")
        assert broker.stop() == 0

    with start() as broker, confirming_channel(broker) as channel:
        found = [channel.basic_get("work")[0].redelivered for _ in range(COUNT)]
        assert found == [True] * (COUNT // 2) + [False] * (COUNT - COUNT // 2)


def test_transient_messages_end_with_the_process(
    start: Start, end: Callable[[Leveret], int | None]
) -> None:
    with start() as broker:
        with confirming_channel(broker) as channel:
            channel.queue_declare("work", durable=True)
            publish(channel, "work", [b"confirmed 1"])
            publish(channel, "work", [b"lost"], TRANSIENT)
            publish(channel, "work", [b"confirmed 2"])
        end(broker)

    with start() as broker, confirming_channel(broker) as channel:
        assert drain(channel, "work") == [b"confirmed 1", b"confirmed 2"]


def test_transient_and_exclusive_queues_end_with_the_process(
    start: Start, end: Callable[[Leveret], int | None]
) -> None:
    with start() as broker:
        with confirming_channel(broker) as channel:
            channel.queue_declare("transient")
            channel.queue_declare("exclusive", durable=True, exclusive=True)
            channel.queue_declare("durable", durable=True)
            for queue in ("transient", "exclusive", "durable"):
                publish(channel, queue, [b"1"])
        end(broker)

    with start() as broker:
        there = [name for name in ("transient", "exclusive", "durable") if exists(broker, name)]

    assert there == ["durable"]


def test_what_was_deleted_unbound_or_purged_does_not_come_back(
    start: Start, end: Callable[[Leveret], int | None]
) -> None:
    with start() as broker:
        with confirming_channel(broker) as channel:
            channel.exchange_declare("logs", "fanout", durable=True)
            for queue in ("gone", "unbound", "bound"):
                channel.queue_declare(queue, durable=True)
                channel.queue_bind(queue, "logs")
            publish(channel, "bound", numbered(5))
            channel.queue_purge("bound")
            channel.queue_unbind("unbound", "logs")
            channel.queue_delete("gone")
            # What is confirmed later was also synced later than all this.
            publish(channel, "bound", [b"last"])
        end(broker)

    with start() as broker, confirming_channel(broker) as channel:
        assert not exists(broker, "gone")
        channel.basic_publish("logs", "", b"new", PERSISTENT)
        assert drain(channel, "unbound") == []
        assert drain(channel, "bound") == [b"last", b"new"]


def test_a_transaction_is_kept_if_it_was_committed(
    start: Start, end: Callable[[Leveret], int | None]
) -> None:
    with start() as broker:
        connection = pika.BlockingConnection(pika.URLParameters(broker.url))
        channel = connection.channel()
        channel.queue_declare("work", durable=True)
        channel.tx_select()
        publish(channel, "work", [b"1", b"2"])
        channel.tx_commit()
        publish(channel, "work", [b"3"])
        connection.close()
        end(broker)

    with start() as broker, confirming_channel(broker) as channel:
        assert drain(channel, "work") == [b"1", b"2"]


def test_a_message_for_several_queues_is_in_each_until_it_is_taken_there(start: Start) -> None:
    with start() as broker, confirming_channel(broker) as channel:
        for queue in ("a", "b", "c"):
            channel.queue_declare(queue, durable=True)
            channel.queue_bind(queue, "amq.fanout")
        channel.basic_publish("amq.fanout", "", b"x" * 100_000, PERSISTENT)
        assert len(drain(channel, "b")) == 1

    with start() as broker, confirming_channel(broker) as channel:
        assert [len(drain(channel, queue)) for queue in ("a", "b", "c")] == [1, 0, 1]


def test_several_restarts_keep_what_each_run_has_added(start: Start) -> None:
    for number in range(4):
        with start() as broker:
            with confirming_channel(broker) as channel:
                channel.queue_declare("work", durable=True)
                publish(channel, "work", [b"%d" % number])
            if number % 2:
                broker.kill()

    with start() as broker, confirming_channel(broker) as channel:
        assert drain(channel, "work") == numbered(4)


def test_with_memory_nothing_outlives_the_process_and_the_directory_is_not_touched(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    with Leveret("--memory", data_dir=data) as broker, confirming_channel(broker) as channel:
        channel.queue_declare("work", durable=True)
        publish(channel, "work", numbered(3))

    assert not data.exists()
    with Leveret("--memory", data_dir=data) as broker:
        assert not exists(broker, "work")


def test_a_full_queue_is_as_full_after_a_restart_wherever_its_messages_are(
    start: Start, end: Callable[[Leveret], int | None]
) -> None:
    size, count = 4_000, 1_000
    arguments = {"x-max-length-bytes": size * count, "x-overflow": "reject-publish"}
    bodies = [(b"%d " % number).ljust(size, b".") for number in range(count)]
    with start() as broker:
        with confirming_channel(broker) as channel:
            channel.queue_declare("full", durable=True, arguments=arguments)
            publish(channel, "full", bodies)
            assert channel.basic_get("full", auto_ack=True)[2] == bodies[0]
            publish(channel, "full", bodies[:1])
        end(broker)

    with start() as broker, confirming_channel(broker) as channel:
        with pytest.raises(NackError):
            publish(channel, "full", bodies[:1])
        assert drain(channel, "full") == [*bodies[1:], bodies[0]]
        publish(channel, "full", bodies)
        with pytest.raises(NackError):
            publish(channel, "full", bodies[:1])
