"""pika's BlockingConnection: publishing, getting, consuming and settling."""

from collections.abc import Callable, Iterator

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import UnroutableError

Connect = Callable[..., pika.BlockingConnection]
INACTIVITY_S = 60.0


def fill(channel: BlockingChannel, queue: str, *bodies: bytes) -> None:
    """Declare a queue and put messages into it; on return the broker has them."""
    channel.queue_declare(queue=queue, auto_delete=False)
    channel.confirm_delivery()
    for body in bodies:
        channel.basic_publish(exchange="", routing_key=queue, body=body, mandatory=True)


def drain(channel: BlockingChannel, queue: str) -> Iterator[bytes]:
    """Take every message out of a queue, oldest first."""
    while True:
        method, _properties, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return
        yield body


def test_confirmed_messages_are_in_the_queue_in_order(channel: BlockingChannel, name: str) -> None:
    bodies = [str(number).encode() for number in range(20)]

    fill(channel, name, *bodies)

    assert list(drain(channel, name)) == bodies


def test_an_unroutable_mandatory_message_comes_back(channel: BlockingChannel, name: str) -> None:
    channel.confirm_delivery()
    properties = pika.BasicProperties(message_id="lost")

    with pytest.raises(UnroutableError) as raised:
        channel.basic_publish("", name, b"anyone?", properties, mandatory=True)

    (returned,) = raised.value.messages
    assert (returned.method.reply_code, returned.method.reply_text) == (312, "NO_ROUTE")
    assert (returned.method.exchange, returned.method.routing_key) == ("", name)
    assert (returned.properties.message_id, returned.body) == ("lost", b"anyone?")


def test_an_unroutable_message_is_confirmed_when_not_mandatory(
    channel: BlockingChannel, name: str
) -> None:
    channel.confirm_delivery()

    channel.basic_publish("", name, b"anyone?")

    assert channel.is_open


def test_a_return_without_confirms_reaches_the_callback(
    channel: BlockingChannel, name: str
) -> None:
    returned: list[bytes] = []
    channel.add_on_return_callback(lambda *arguments: returned.append(arguments[-1]))

    channel.basic_publish("", name, b"anyone?", mandatory=True)
    channel.queue_declare(queue="", exclusive=True)
    channel.connection.process_data_events()

    assert returned == [b"anyone?"]


def test_get_tells_what_is_left_and_when_the_queue_is_empty(
    channel: BlockingChannel, name: str
) -> None:
    fill(channel, name, b"first", b"second")

    method, _properties, body = channel.basic_get(name)

    assert (body, method.message_count, method.redelivered) == (b"first", 1, False)
    assert (method.exchange, method.routing_key) == ("", name)
    assert list(drain(channel, name)) == [b"second"]
    assert channel.basic_get(name) == (None, None, None)


def test_the_consume_generator_yields_until_left(channel: BlockingChannel, name: str) -> None:
    fill(channel, name, b"1", b"2", b"3")
    seen = []

    for method, _properties, body in channel.consume(name, inactivity_timeout=INACTIVITY_S):
        seen.append(body)
        channel.basic_ack(method.delivery_tag)
        if len(seen) == 3:
            break
    requeued = channel.cancel()

    assert (seen, requeued) == ([b"1", b"2", b"3"], 0)
    assert channel.queue_declare(name, passive=True).method.message_count == 0


def test_a_nacked_message_returns_to_its_place_marked_redelivered(
    channel: BlockingChannel, name: str
) -> None:
    fill(channel, name, b"first", b"second")
    method, _properties, _body = channel.basic_get(name)

    channel.basic_nack(method.delivery_tag, requeue=True)

    again, _properties, body = channel.basic_get(name, auto_ack=True)
    assert (body, again.redelivered) == (b"first", True)
    assert list(drain(channel, name)) == [b"second"]


def test_a_message_rejected_without_requeue_is_gone(channel: BlockingChannel, name: str) -> None:
    fill(channel, name, b"first", b"second")
    method, _properties, _body = channel.basic_get(name)

    channel.basic_reject(method.delivery_tag, requeue=False)

    assert list(drain(channel, name)) == [b"second"]


def test_one_ack_with_multiple_settles_all_before_it(connect: Connect, name: str) -> None:
    channel = connect().channel()
    fill(channel, name, b"1", b"2", b"3")
    tags = [channel.basic_get(name)[0].delivery_tag for _ in range(3)]

    channel.basic_ack(tags[1], multiple=True)
    channel.close()

    assert list(drain(connect().channel(), name)) == [b"3"]


def test_recover_redelivers_what_was_not_acknowledged(channel: BlockingChannel, name: str) -> None:
    fill(channel, name, b"first", b"second")
    for _ in range(2):
        channel.basic_get(name)

    channel.basic_recover(requeue=True)

    recovered = [channel.basic_get(name, auto_ack=True) for _ in range(2)]
    assert [(body, method.redelivered) for method, _, body in recovered] == [
        (b"first", True),
        (b"second", True),
    ]


def test_unacknowledged_messages_of_a_closed_connection_are_redelivered(
    connect: Connect, name: str
) -> None:
    closing = connect()
    receiver = closing.channel()
    fill(receiver, name, b"requeued")
    receiver.basic_get(name)

    closing.close()

    method, _properties, body = connect().channel().basic_get(name, auto_ack=True)
    assert (body, method.redelivered) == (b"requeued", True)


def test_prefetch_bounds_what_is_delivered_unacknowledged(
    channel: BlockingChannel, name: str
) -> None:
    fill(channel, name, *[b"x"] * 10)
    outstanding: list[int] = []
    channel.basic_qos(prefetch_count=3)
    channel.basic_consume(name, lambda _c, method, _p, _b: outstanding.append(method.delivery_tag))
    while len(outstanding) < 3:
        channel.connection.process_data_events(time_limit=INACTIVITY_S)

    waiting = channel.queue_declare(name, passive=True).method.message_count
    channel.basic_ack(outstanding[-1], multiple=True)
    while len(outstanding) < 6:
        channel.connection.process_data_events(time_limit=INACTIVITY_S)

    assert waiting == 7
    assert outstanding == [1, 2, 3, 4, 5, 6]


def test_a_consumer_is_told_when_its_queue_is_deleted(connect: Connect, name: str) -> None:
    connection = connect()
    channel = connection.channel()
    channel.queue_declare(name)
    cancelled: list[str] = []
    channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    tag = channel.basic_consume(name, lambda *_: None)

    connect().channel().queue_delete(name)
    while not cancelled:
        connection.process_data_events(time_limit=INACTIVITY_S)

    assert cancelled == [tag]
    assert channel.consumer_tags == []
    assert channel.is_open


def test_purge_and_delete_tell_how_many_messages_went(channel: BlockingChannel, name: str) -> None:
    fill(channel, name, b"1", b"2")

    assert channel.queue_purge(name).method.message_count == 2
    fill(channel, name, b"3")
    assert channel.queue_delete(name).method.message_count == 1


def test_every_property_arrives_as_it_was_sent(channel: BlockingChannel, name: str) -> None:
    channel.queue_declare(name)
    sent = pika.BasicProperties(
        content_type="text/plain",
        content_encoding="utf-8",
        headers={"n": 1, "s": "ä", "nested": {"list": [True, None, 2**40]}},
        delivery_mode=2,
        priority=5,
        correlation_id="c",
        reply_to="r",
        expiration="60000",
        message_id="m",
        timestamp=1_500_000_000,
        type="t",
        user_id="guest",
        app_id="a",
        cluster_id="k",
    )

    channel.basic_publish("", name, b"body", sent)

    _method, properties, _body = channel.basic_get(name, auto_ack=True)
    assert properties == sent


def test_transactions_publish_on_commit_and_forget_on_rollback(
    channel: BlockingChannel, name: str
) -> None:
    channel.queue_declare(name)
    channel.tx_select()
    channel.basic_publish("", name, b"forgotten")
    channel.tx_rollback()
    channel.basic_publish("", name, b"committed")
    before = channel.queue_declare(name, passive=True).method.message_count

    channel.tx_commit()

    assert before == 0
    assert list(drain(channel, name)) == [b"committed"]


def test_an_ack_in_a_transaction_counts_from_the_commit(connect: Connect, name: str) -> None:
    channel = connect().channel()
    fill(connect().channel(), name, b"1", b"2")
    channel.tx_select()
    for _ in range(2):
        method, _properties, _body = channel.basic_get(name)
        channel.basic_ack(method.delivery_tag)
        if method.delivery_tag == 1:
            channel.tx_commit()

    channel.close()

    assert list(drain(connect().channel(), name)) == [b"2"]
