"""Looking at queues and waiting for them: what is found, and the words for what is not."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import aio_pika
import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from leveret.testing import Binding, Broker, BrokerError, Properties, UnmetExpectation

SHORT_S = 0.01
"""Seconds for what does not come."""


@pytest.fixture
def channel(broker: Broker) -> Iterator[BlockingChannel]:
    """A channel with confirms, so that what was published is there."""
    parameters = pika.URLParameters(broker.url)
    parameters.client_properties = {"connection_name": "shop"}
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        yield channel


def publish(channel: BlockingChannel, key: str, *bodies: bytes, exchange: str = "") -> None:
    for body in bodies:
        channel.basic_publish(exchange, key, body)


def unmet(error: pytest.ExceptionInfo[UnmetExpectation]) -> list[str]:
    """The clauses of a text."""
    return str(error.value).split("; ")


# --- messages --------------------------------------------------------------------------------


def test_messages_are_seen_in_order_and_stay(broker: Broker, channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    publish(channel, "q", b"1", b"2", b"3")
    queue = broker.queue("q")
    for _ in range(2):
        assert [message.body for message in queue.messages()] == [b"1", b"2", b"3"]
    assert [message.body for message in queue.messages(2)] == [b"1", b"2"]
    assert queue.messages(0) == []
    assert (queue.ready, queue.unacknowledged) == (3, 0)
    method, _, body = channel.basic_get("q")
    assert (method.redelivered, body) == (False, b"1")
    assert [message.body for message in queue.messages()] == [b"2", b"3"]
    assert (queue.ready, queue.unacknowledged) == (2, 1)


def test_a_message_has_its_properties(broker: Broker, channel: BlockingChannel) -> None:
    channel.exchange_declare("shop", "topic")
    channel.queue_declare("q")
    channel.queue_bind("q", "shop", "order.#")
    given: dict[str, Any] = {
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "delivery_mode": 2,
        "priority": 3,
        "correlation_id": "c",
        "reply_to": "r",
        "expiration": "60000",
        "message_id": "m",
        "type": "t",
        "user_id": "guest",
        "app_id": "a",
    }
    headers = {"attempt": 1, "tags": ["a", {"b": True}], "large": 2**40, "none": None}
    properties = pika.BasicProperties(headers=headers, timestamp=1_700_000_000, **given)
    channel.basic_publish("shop", "order.created", b'{"id": 1}', properties)
    (message,) = broker.queue("q").messages()
    assert message.exchange == "shop"
    assert message.routing_key == "order.created"
    assert message.json() == {"id": 1}
    assert message.headers == headers
    expected = Properties(
        headers=headers, timestamp=datetime.fromtimestamp(1_700_000_000, UTC), **given
    )
    assert message.properties == expected


def test_a_requeued_message_is_redelivered(broker: Broker, channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    publish(channel, "q", b"1")
    method, _, _ = channel.basic_get("q")
    channel.basic_nack(method.delivery_tag)
    (message,) = broker.queue("q").wait_for(1)
    assert message.redelivered


def test_a_negative_number_of_messages_is_refused(broker: Broker) -> None:
    with pytest.raises(BrokerError, match="-1 messages: negative"):
        broker.queue("q").messages(-1)


# --- queues ----------------------------------------------------------------------------------


def test_queues_are_seen(broker: Broker, channel: BlockingChannel) -> None:
    assert broker.queues() == []
    channel.queue_declare("b", durable=True, arguments={"x-max-length": 5})
    channel.queue_declare("a", exclusive=True)
    publish(channel, "b", b"1")
    a, b = broker.queues("/")
    assert (a.name, a.exclusive, a.durable, a.arguments) == ("a", True, False, {})
    assert (b.name, b.vhost, b.ready, b.durable) == ("b", "/", 1, True)
    assert b.arguments == {"x-max-length": 5}
    assert broker.queue("b").status() == b
    assert broker.queue("b").exists
    assert not broker.queue("c").exists


def test_exchanges_and_bindings_are_seen(broker: Broker, channel: BlockingChannel) -> None:
    channel.exchange_declare("shop", "headers")
    channel.queue_declare("q")
    channel.queue_bind("q", "shop", "k", {"x-match": "any", "a": 1})
    assert "shop" in broker.exchanges()
    assert "amq.topic" in broker.exchanges()
    assert broker.queue("q").bindings() == [Binding("shop", "k", {"x-match": "any", "a": 1})]


def test_an_unknown_virtual_host_is_named(broker: Broker) -> None:
    for look in (
        lambda: broker.queues("shop"),
        lambda: broker.exchanges("shop"),
        lambda: broker.consumers("shop"),
        lambda: broker.queue("q", vhost="shop").exists,
    ):
        with pytest.raises(BrokerError, match="there is no virtual host 'shop'; there are '/'"):
            look()


def test_a_missing_queue_is_told_with_those_that_are_there(
    broker: Broker, channel: BlockingChannel
) -> None:
    queue = broker.queue("orders")
    with pytest.raises(UnmetExpectation) as error:
        _ = queue.ready
    assert unmet(error) == ["there was no queue 'orders'", "there is no queue"]
    channel.queue_declare("invoices")
    channel.queue_declare("order")
    publish(channel, "orders", b"1")
    for look in (queue.messages, queue.consumers, queue.bindings, queue.status):
        with pytest.raises(UnmetExpectation) as error:
            look()
        assert unmet(error) == [
            "there was no queue 'orders'",
            "there are 'invoices' and 'order'",
            "did you mean 'order'?",
            "1 message to the default exchange reached no queue (routing key 'orders')",
        ]


# --- waiting for messages --------------------------------------------------------------------


def test_messages_are_waited_for(broker: Broker, channel: BlockingChannel) -> None:
    def publish_later() -> None:
        with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
            later = connection.channel()
            later.queue_declare("late")
            publish(later, "late", b"1", b"2")

    application = threading.Thread(target=publish_later)
    application.start()
    messages = broker.queue("late").wait_for(2, timeout=60)
    application.join()
    assert [message.body for message in messages] == [b"1", b"2"]


def test_more_messages_than_are_waited_for_are_returned(
    broker: Broker, channel: BlockingChannel
) -> None:
    channel.queue_declare("q")
    publish(channel, "q", *[b"x"] * 150)
    assert len(broker.queue("q").wait_for(1)) == 150
    assert len(broker.queue("q").messages()) == 100


def test_messages_that_do_not_come_are_told_with_what_was_there(
    broker: Broker, channel: BlockingChannel
) -> None:
    channel.queue_declare("orders")
    publish(channel, "orders", b"1", b"2", b"3")
    for _ in range(2):
        channel.basic_get("orders")
    with pytest.raises(UnmetExpectation) as error:
        broker.queue("orders").wait_for(3, timeout=SHORT_S)
    assert str(error.value) == (
        "queue 'orders' had 1 ready message and 2 unacknowledged ones after 0.01 s, 3 were"
        " expected; 3 messages were routed to it in all, 0 acknowledged"
    )


def test_the_text_says_where_messages_went_instead(
    broker: Broker, channel: BlockingChannel
) -> None:
    channel.queue_declare("q")
    channel.exchange_declare("shop", "direct")
    channel.queue_bind("q", "shop", "order")
    publish(channel, "oder", b"1", exchange="shop")
    with pytest.raises(UnmetExpectation) as error:
        broker.queue("q").wait_for(timeout=SHORT_S)
    assert unmet(error) == [
        "queue 'q' had 0 ready messages and 0 unacknowledged ones after 0.01 s, 1 was expected",
        "no message was routed to it",
        "1 message to exchange 'shop' reached no queue (routing key 'oder')",
    ]


def test_the_text_says_which_queues_have_messages(broker: Broker, channel: BlockingChannel) -> None:
    channel.queue_declare("orders")
    channel.queue_declare("orders.v2")
    channel.queue_declare("invoices")
    publish(channel, "orders.v2", b"1", b"2")
    with pytest.raises(UnmetExpectation) as error:
        broker.queue("orders").wait_for(timeout=SHORT_S)
    assert unmet(error)[1:] == [
        "no message was routed to it",
        "queue 'orders.v2' has 2 ready messages",
    ]


def test_the_text_says_what_was_dropped_and_dead_lettered(
    broker: Broker, channel: BlockingChannel
) -> None:
    arguments = {"x-dead-letter-exchange": "amq.fanout", "x-max-length": 2}
    channel.queue_declare("q", arguments=arguments)
    publish(channel, "q", b"1", b"2", b"3")
    method, _, _ = channel.basic_get("q")
    channel.basic_ack(method.delivery_tag)
    method, _, _ = channel.basic_get("q")
    channel.basic_reject(method.delivery_tag, requeue=False)
    channel.queue_declare("other")
    with pytest.raises(UnmetExpectation) as error:
        broker.queue("q").wait_for(timeout=SHORT_S)
    (clause,) = unmet(error)[1:]
    assert clause == (
        "3 messages were routed to it in all, 1 acknowledged, 1 exceeded its length limit,"
        " 1 rejected by a client (2 of these dead-lettered to exchange 'amq.fanout')"
    )


def test_the_text_says_what_is_delayed_or_has_expired(
    broker: Broker, channel: BlockingChannel
) -> None:
    channel.queue_declare("q", arguments={"x-message-ttl": 3_600_000})
    channel.exchange_declare("later", "x-delayed-message", arguments={"x-delayed-type": "fanout"})
    channel.queue_bind("q", "later")
    delayed = pika.BasicProperties(headers={"x-delay": 7_200_000})
    channel.basic_publish("later", "", b"1", delayed)
    publish(channel, "q", b"2")
    broker.advance(3_700)
    with pytest.raises(UnmetExpectation) as error:
        broker.queue("q").wait_for(timeout=SHORT_S)
    assert unmet(error)[1:] == [
        "1 message was routed to it in all, 1 expired",
        "1 message waits in exchange 'later' for the end of the delay",
    ]
    broker.advance(3_700)
    assert [message.body for message in broker.queue("q").wait_for()] == [b"1"]


def test_a_queue_in_another_virtual_host_is_named(broker: Broker) -> None:
    with Broker(settings={"auth.default_vhost": "shop"}) as other:
        assert other.queue("q").vhost == "shop"
        with pika.BlockingConnection(pika.URLParameters(other.url)) as connection:
            connection.channel().queue_declare("q")
            assert other.queue("q").exists
    assert broker.queue("q").vhost == "/"


def test_blocked_publishers_are_told(broker: Broker, channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    with broker.faults.blocked("memory"), pytest.raises(UnmetExpectation) as error:
        broker.queue("q").wait_for(timeout=SHORT_S)
    assert unmet(error)[-1] == "publishers are blocked: low on memory"


def test_a_queue_that_is_not_declared_in_time_is_told(broker: Broker) -> None:
    with pytest.raises(UnmetExpectation) as error:
        broker.queue("q").wait_for(timeout=SHORT_S)
    assert unmet(error) == [
        "there was no queue 'q' after 0.01 s",
        "there is no queue",
        "no connection is open",
    ]
    with pytest.raises(UnmetExpectation, match=r"no queue 'q' after 0\.01 s"):
        broker.queue("q").wait_until_empty(SHORT_S)
    with pytest.raises(UnmetExpectation, match=r"no queue 'q' after 0\.01 s"):
        broker.queue("q").wait_for_consumers(timeout=SHORT_S)


def test_a_broker_that_does_not_run_says_so() -> None:
    broker = Broker()
    for look in (
        broker.queues,
        broker.connections,
        lambda: broker.queue("q").wait_for(),
        lambda: broker.queue("q").exists,
    ):
        with pytest.raises(BrokerError, match="the broker is not running"):
            look()


# --- consumers -------------------------------------------------------------------------------


def test_consumers_are_seen(broker: Broker, channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    publish(channel, "q", b"1", b"2", b"3")
    channel.basic_qos(prefetch_count=2)
    channel.basic_consume("q", lambda *_: None, consumer_tag="worker")
    (consumer,) = broker.queue("q").wait_for_consumers()
    assert broker.wait_for_consumers() == [consumer]
    assert broker.consumers("/") == [consumer]
    assert (consumer.tag, consumer.queue, consumer.vhost) == ("worker", "q", "/")
    assert (consumer.connection, consumer.channel, consumer.prefetch) == ("shop", 1, 2)
    assert (consumer.no_ack, consumer.exclusive, consumer.active) == (False, False, True)
    assert consumer.unacknowledged == 2
    assert broker.queue("q").unacknowledged == 2


def test_consumers_that_do_not_come_are_told(broker: Broker, channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    with pytest.raises(UnmetExpectation) as error:
        broker.wait_for_consumers(1, timeout=SHORT_S)
    assert unmet(error) == [
        "there were 0 consumers after 0.01 s, 1 was expected",
        "1 connection is open",
    ]
    channel.basic_consume("q", lambda *_: None, consumer_tag="worker")
    with pytest.raises(UnmetExpectation) as error:
        broker.queue("q").wait_for_consumers(2, timeout=SHORT_S)
    assert unmet(error) == ["queue 'q' had 1 consumer ('worker') after 0.01 s, 2 were expected"]
    with pytest.raises(UnmetExpectation) as error:
        broker.wait_for_consumers(2, timeout=SHORT_S)
    assert unmet(error)[0] == (
        "there was 1 consumer ('worker' of queue 'q') after 0.01 s, 2 were expected"
    )


def test_a_queue_is_waited_for_until_it_is_consumed(
    broker: Broker, channel: BlockingChannel
) -> None:
    channel.queue_declare("q")
    publish(channel, "q", b"1")
    method, _, _ = channel.basic_get("q")
    with pytest.raises(UnmetExpectation) as error:
        broker.queue("q").wait_until_empty(timeout=SHORT_S)
    assert unmet(error)[0] == (
        "queue 'q' had 0 ready messages and 1 unacknowledged one after 0.01 s, none was expected"
    )
    assert unmet(error)[1] == "it has 0 consumers"
    channel.basic_consume("q", lambda *_: None)
    with pytest.raises(UnmetExpectation) as error:
        broker.queue("q").wait_for(timeout=SHORT_S)
    assert unmet(error)[1] == "it has 1 consumer"
    channel.basic_ack(method.delivery_tag)
    broker.queue("q").wait_until_empty()


def test_acknowledged_messages_are_waited_for(broker: Broker, channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    publish(channel, "q", b"1", b"2", b"3")
    queue = broker.queue("q")
    with pytest.raises(UnmetExpectation) as error:
        queue.wait_for_acknowledged(timeout=SHORT_S)
    assert unmet(error)[0].endswith("1 acknowledged one was expected")
    method, _, _ = channel.basic_get("q")
    channel.basic_ack(method.delivery_tag)
    channel.basic_get("q", auto_ack=True)
    queue.wait_for_acknowledged(2)
    asyncio.run(queue.wait_for_acknowledged_async(2))
    assert queue.acknowledged == 2
    with pytest.raises(UnmetExpectation) as error:
        asyncio.run(queue.wait_for_acknowledged_async(3, timeout=SHORT_S))
    assert str(error.value) == (
        "queue 'q' had 1 ready message and 0 unacknowledged ones after 0.01 s, 3 acknowledged ones"
        " were expected; it has 0 consumers; 3 messages were routed to it in all, 2 acknowledged"
    )


def test_connections_are_seen(broker: Broker, channel: BlockingChannel) -> None:
    (connection,) = broker.connections()
    assert (connection.name, connection.user, connection.vhost) == ("shop", "guest", "/")
    assert connection.channels == 1
    assert connection.address.startswith("127.0.0.1:")
    assert not connection.blocked


# --- coroutines ------------------------------------------------------------------------------


def test_who_holds_up_the_event_loop_in_vain_is_warned(broker: Broker) -> None:
    async def wait(seconds: float) -> None:
        broker.queue("jobs").wait_for_consumers(timeout=seconds)

    with pytest.raises(UnmetExpectation), pytest.warns(RuntimeWarning, match="_async") as found:
        asyncio.run(wait(SHORT_S))
    assert [each.filename for each in found] == [__file__]
    with pytest.raises(UnmetExpectation):
        asyncio.run(wait(0))
    with pytest.raises(UnmetExpectation):
        broker.queue("jobs").wait_for_consumers(timeout=SHORT_S)


def test_coroutines_wait_without_blocking_their_loop(broker: Broker) -> None:
    async def ignore(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        """Take a message, and do not settle it."""

    async def application() -> None:
        connection = await aio_pika.connect(broker.url)
        async with connection:
            channel = await connection.channel()
            queue = await channel.declare_queue("q")
            looked = asyncio.gather(
                broker.queue("q").wait_for_async(2, timeout=60),
                broker.wait_for_published_async(2, "", "q", timeout=60),
            )
            for body in (b"1", b"2"):
                await channel.default_exchange.publish(aio_pika.Message(body), "q")
            messages, published = await looked
            assert [message.body for message in messages] == [b"1", b"2"]
            assert [message.body for message in published] == [b"1", b"2"]
            await asyncio.gather(
                broker.queue("q").wait_for_consumers_async(timeout=60),
                broker.wait_for_consumers_async(timeout=60),
                queue.consume(ignore),
            )
            await channel.close()
            again = await connection.channel()
            await (await again.get_queue("q")).purge()
            await broker.queue("q").wait_until_empty_async()

    broker.record()
    asyncio.run(application())


def test_coroutines_get_the_same_texts(broker: Broker) -> None:
    for wait in (
        broker.queue("q").wait_for_async(timeout=SHORT_S),
        broker.queue("q").wait_until_empty_async(timeout=SHORT_S),
        broker.queue("q").wait_for_consumers_async(timeout=SHORT_S),
        broker.wait_for_consumers_async(timeout=SHORT_S),
    ):
        with pytest.raises(UnmetExpectation, match=r"after 0\.01 s"):
            asyncio.run(wait)
