"""What pika raises when the broker refuses: the right code and scope, naming what is wrong."""

from collections.abc import Callable

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker, DuplicateConsumerTag

Connect = Callable[..., pika.BlockingConnection]

INEQUIVALENT = (
    "PRECONDITION_FAILED - inequivalent arg '{}' for {} '{{name}}' in vhost '/': "
    "received '{}' but current is '{}'"
)
CHANNEL_CLOSING: dict[str, tuple[Callable[[BlockingChannel, str], object], int, str]] = {
    "passive declare of a missing queue": (
        lambda channel, name: channel.queue_declare(name, passive=True),
        404,
        "NOT_FOUND - no queue '{name}' in vhost '/'",
    ),
    "passive declare of a missing exchange": (
        lambda channel, name: channel.exchange_declare(name, passive=True),
        404,
        "NOT_FOUND - no exchange '{name}' in vhost '/'",
    ),
    "consuming from a missing queue": (
        lambda channel, name: channel.basic_consume(name, lambda *_: None),
        404,
        "NOT_FOUND - no queue '{name}' in vhost '/'",
    ),
    "binding to a missing exchange": (
        lambda channel, name: channel.queue_bind(
            channel.queue_declare("", exclusive=True).method.queue, name
        ),
        404,
        "NOT_FOUND - no exchange '{name}' in vhost '/'",
    ),
    "declaring a queue otherwise than it is": (
        lambda channel, name: (
            channel.queue_declare(name, durable=True),
            channel.queue_declare(name, durable=False),
        ),
        406,
        INEQUIVALENT.format("durable", "queue", "false", "true"),
    ),
    "declaring an exchange otherwise than it is": (
        lambda channel, name: (
            channel.exchange_declare(name, "direct"),
            channel.exchange_declare(name, "fanout"),
        ),
        406,
        INEQUIVALENT.format("type", "exchange", "fanout", "direct"),
    ),
    "deleting a queue that is not empty": (
        lambda channel, name: (
            channel.queue_declare(name),
            channel.basic_publish("", name, b"x"),
            channel.queue_delete(name, if_empty=True),
        ),
        406,
        "PRECONDITION_FAILED - queue '{name}' in vhost '/' not empty",
    ),
    "deleting an exchange in use": (
        lambda channel, name: (
            channel.exchange_declare(name),
            channel.queue_bind(channel.queue_declare("", exclusive=True).method.queue, name),
            channel.exchange_delete(name, if_unused=True),
        ),
        406,
        "PRECONDITION_FAILED - exchange '{name}' in vhost '/' in use",
    ),
    "a reserved queue name": (
        lambda channel, name: channel.queue_declare(f"amq.{name}"),
        403,
        "ACCESS_REFUSED - queue name 'amq.{name}' contains reserved prefix 'amq.*'",
    ),
    "binding to the default exchange": (
        lambda channel, name: channel.queue_bind(channel.queue_declare(name).method.queue, ""),
        403,
        "ACCESS_REFUSED - operation not permitted on the default exchange",
    ),
    "a second consumer beside an exclusive one": (
        lambda channel, name: (
            channel.queue_declare(name),
            channel.basic_consume(name, lambda *_: None, exclusive=True),
            channel.basic_consume(name, lambda *_: None),
        ),
        403,
        "ACCESS_REFUSED - queue '{name}' in vhost '/' in exclusive use",
    ),
}


@pytest.mark.parametrize("case", CHANNEL_CLOSING)
def test_a_refused_request_closes_only_its_channel(connect: Connect, name: str, case: str) -> None:
    request, code, text = CHANNEL_CLOSING[case]
    connection = connect()
    bystander = connection.channel()
    channel = connection.channel()

    with pytest.raises(ChannelClosedByBroker) as raised:
        request(channel, name)

    assert raised.value.reply_code == code
    assert raised.value.reply_text == text.format(name=name)
    assert channel.is_closed
    assert bystander.queue_declare("", exclusive=True).method.queue.startswith("amq.gen-")


def test_publishing_to_a_missing_exchange_closes_the_channel_with_404(
    channel: BlockingChannel, name: str
) -> None:
    channel.confirm_delivery()

    with pytest.raises(ChannelClosedByBroker) as raised:
        channel.basic_publish(name, "key", b"body")

    assert raised.value.reply_code == 404
    assert raised.value.reply_text == f"NOT_FOUND - no exchange '{name}' in vhost '/'"


def test_an_unknown_delivery_tag_closes_the_channel_with_406(channel: BlockingChannel) -> None:
    channel.basic_ack(delivery_tag=42)

    with pytest.raises(ChannelClosedByBroker) as raised:
        channel.queue_declare("", exclusive=True)

    assert raised.value.reply_code == 406
    assert raised.value.reply_text == "PRECONDITION_FAILED - unknown delivery tag 42"


def test_another_connections_exclusive_queue_is_locked(connect: Connect, name: str) -> None:
    owner = connect()
    owner.channel().queue_declare(name, exclusive=True)

    with pytest.raises(ChannelClosedByBroker) as raised:
        connect().channel().queue_declare(name, passive=True)

    assert raised.value.reply_code == 405
    assert raised.value.reply_text.startswith(
        f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{name}' in vhost '/'"
    )


def test_an_exclusive_queue_goes_with_its_connection(connect: Connect, name: str) -> None:
    owner = connect()
    owner.channel().queue_declare(name, exclusive=True)
    owner.close()

    declared = connect().channel().queue_declare(name, exclusive=True)

    assert declared.method.message_count == 0


def test_a_prefetch_size_is_not_implemented(connect: Connect) -> None:
    connection = connect()

    with pytest.raises(ConnectionClosedByBroker) as raised:
        connection.channel().basic_qos(prefetch_size=1024)

    assert raised.value.reply_code == 540
    assert raised.value.reply_text == "NOT_IMPLEMENTED - prefetch_size!=0 (1024)"
    assert connection.is_closed


def test_a_refusal_to_one_connection_leaves_others_alone(connect: Connect, name: str) -> None:
    bystander = connect().channel()
    bystander.queue_declare(name)

    with pytest.raises(ConnectionClosedByBroker):
        connect().channel().basic_qos(prefetch_size=1)

    assert bystander.queue_declare(name, passive=True).method.queue == name


def test_a_reused_consumer_tag_is_refused_by_pika_itself(
    channel: BlockingChannel, name: str
) -> None:
    channel.queue_declare(name)
    channel.basic_consume(name, lambda *_: None, consumer_tag="mine")

    with pytest.raises(DuplicateConsumerTag):
        channel.basic_consume(name, lambda *_: None, consumer_tag="mine")


def test_a_closed_channels_number_can_be_opened_again(connect: Connect, name: str) -> None:
    connection = connect()
    with pytest.raises(ChannelClosedByBroker):
        connection.channel(7).queue_declare(name, passive=True)

    reopened = connection.channel(7)

    assert reopened.queue_declare(name).method.queue == name
