"""py-amqp, the client under kombu: each refusal as the class py-amqp has for its code."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import amqp
import pytest
from amqp.exceptions import (
    AccessRefused,
    AMQPNotImplementedError,
    NotAllowed,
    NotFound,
    PreconditionFailed,
    ResourceLocked,
)

from tests.support.brokers import Broker

EVENT_DEADLINE_S = 60.0
HEARTBEAT_S = 3
"""A process that stands still for twice as long loses its connection."""

Connect = Callable[..., Any]


@pytest.fixture
def connect_amqp(broker: Broker) -> Iterator[Connect]:
    """Open py-amqp connections; all are closed after the test."""
    opened: list[Any] = []

    def connect(**parameters: Any) -> Any:
        connection = amqp.Connection(f"{broker.host}:{broker.port}", **parameters)
        opened.append(connection)
        connection.connect()
        return connection

    yield connect
    for connection in opened:
        connection.collect()


@pytest.mark.parametrize("mechanism", ["PLAIN", "AMQPLAIN"])
def test_both_mechanisms_log_in(connect_amqp: Connect, mechanism: str) -> None:
    assert connect_amqp(login_method=mechanism).channel().is_open


@pytest.mark.parametrize("mechanism", ["PLAIN", "AMQPLAIN"])
def test_a_wrong_password_is_access_refused(connect_amqp: Connect, mechanism: str) -> None:
    with pytest.raises(AccessRefused) as raised:
        connect_amqp(login_method=mechanism, userid="guest", password="wrong")

    assert raised.value.reply_code == 403
    assert f"using authentication mechanism {mechanism}." in raised.value.reply_text


def test_a_missing_virtual_host_is_not_allowed(connect_amqp: Connect) -> None:
    with pytest.raises(NotAllowed, match="vhost nowhere not found"):
        connect_amqp(virtual_host="nowhere")


def test_a_missing_queue_is_not_found_by_class_and_method(connect_amqp: Connect, name: str) -> None:
    connection = connect_amqp()

    with pytest.raises(NotFound) as raised:
        connection.channel().queue_declare(name, passive=True)

    assert raised.value.reply_code == 404
    assert raised.value.method_sig == amqp.spec.Queue.Declare
    assert connection.channel().is_open


def test_a_reserved_name_is_access_refused(connect_amqp: Connect, name: str) -> None:
    with pytest.raises(AccessRefused):
        connect_amqp().channel().exchange_declare(f"amq.{name}", "direct")


def test_another_shape_is_a_failed_precondition(connect_amqp: Connect, name: str) -> None:
    channel = connect_amqp().channel()
    channel.queue_declare(name, auto_delete=False)

    with pytest.raises(PreconditionFailed, match="inequivalent arg 'auto_delete'"):
        channel.queue_declare(name, auto_delete=True)


def test_anothers_exclusive_queue_is_a_locked_resource(connect_amqp: Connect, name: str) -> None:
    owner = connect_amqp()
    owner.channel().queue_declare(name, exclusive=True)

    with pytest.raises(ResourceLocked):
        connect_amqp().channel().basic_consume(name, callback=print)


def test_what_is_not_implemented_closes_the_connection(connect_amqp: Connect) -> None:
    connection = connect_amqp()

    with pytest.raises(AMQPNotImplementedError):
        connection.channel().basic_qos(prefetch_size=1, prefetch_count=0, a_global=False)

    assert not connection.connected


def test_a_reused_consumer_tag_is_not_allowed(connect_amqp: Connect, name: str) -> None:
    channel = connect_amqp().channel()
    channel.queue_declare(name, auto_delete=False)
    channel.basic_consume(name, consumer_tag="mine", callback=print)

    with pytest.raises(NotAllowed, match="attempt to reuse consumer tag 'mine'"):
        channel.basic_consume(name, consumer_tag="mine", callback=print)


@pytest.mark.parametrize("a_global", [False, True])
def test_both_kinds_of_prefetch_bound_the_deliveries(
    connect_amqp: Connect, name: str, a_global: bool
) -> None:
    connection = connect_amqp(confirm_publish=True)
    channel = connection.channel()
    channel.queue_declare(name, auto_delete=False)
    for number in range(5):
        channel.basic_publish(amqp.Message(str(number)), routing_key=name)
    received: list[Any] = []
    channel.basic_qos(prefetch_size=0, prefetch_count=2, a_global=a_global)
    channel.basic_consume(name, callback=received.append)
    while len(received) < 2:
        connection.drain_events(timeout=EVENT_DEADLINE_S)

    waiting = channel.queue_declare(name, passive=True).message_count
    channel.basic_ack(received[0].delivery_tag)
    while len(received) < 3:
        connection.drain_events(timeout=EVENT_DEADLINE_S)

    assert waiting == 3
    assert [message.body for message in received] == ["0", "1", "2"]


def test_heartbeats_are_sent_and_seen(connect_amqp: Connect) -> None:
    connection = connect_amqp(heartbeat=HEARTBEAT_S)
    bytes_before = connection.bytes_recv
    deadline = time.monotonic() + EVENT_DEADLINE_S

    while connection.bytes_recv == bytes_before and time.monotonic() < deadline:
        with contextlib.suppress(TimeoutError):
            connection.drain_events(timeout=0.1)
        connection.heartbeat_tick(rate=2)

    assert connection.heartbeat == HEARTBEAT_S
    assert connection.bytes_recv > bytes_before
    assert connection.channel().is_open


def test_flow_can_be_asked_to_stay_on(connect_amqp: Connect) -> None:
    channel = connect_amqp().channel()

    channel.flow(True)

    assert channel.is_open
