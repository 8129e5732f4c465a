"""Faults on order, as an application sees them whose client is pika; afterwards all works again."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import pika
import pytest
from pamqp.commands import Queue
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.exceptions import (
    AMQPConnectionError,
    ChannelClosedByBroker,
    ConnectionBlockedTimeout,
    ConnectionClosedByBroker,
    NackError,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
    StreamLostError,
)

from leveret.testing import Broker, BrokerError, UnmetExpectation
from tests.support.brokers import wait_until
from tests.support.wire import PROTOCOL_HEADER
from tests.support.wire import connect as connect_wire

LONG_S = 60
"""Seconds for what happens at once, on however busy a machine."""

Connect: TypeAlias = Callable[..., BlockingConnection]


@pytest.fixture
def connect(broker: Broker) -> Iterator[Connect]:
    """Opens connections, with parameters of pika, which are closed at the end."""
    opened: list[BlockingConnection] = []

    def connect(name: str = "", **parameters: Any) -> BlockingConnection:
        wanted = pika.URLParameters(broker.url)
        wanted.client_properties = {"connection_name": name} if name else None
        for key, value in parameters.items():
            setattr(wanted, key, value)
        opened.append(BlockingConnection(wanted))
        return opened[-1]

    yield connect
    for connection in opened:
        if connection.is_open:
            try:
                connection.close()
            except AMQPConnectionError:
                continue


def works(connection: BlockingConnection) -> bool:
    """Whether a message that is published is confirmed, and comes back."""
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare("works")
    channel.basic_publish("", "works", b"sound")
    body: bytes = channel.basic_get("works", auto_ack=True)[2]
    channel.close()
    return body == b"sound"


def get_and_wait(channel: BlockingChannel) -> None:
    """Get a message, and wait for the end of the connection, which pika may see before it."""
    channel.basic_get("q")
    channel.connection.process_data_events(LONG_S)


def serve_until(connection: BlockingConnection, condition: Callable[[], bool]) -> None:
    """Have a connection process what comes until a condition is met."""
    end = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < end
        connection.process_data_events(0.05)


def begin_to_connect(broker: Broker) -> None:
    """Connect in the background, whatever becomes of it."""
    with suppress(OSError), socket.create_connection((broker.host, broker.port)) as connection:
        connection.sendall(PROTOCOL_HEADER)


class TestRefusedConnections:
    def test_a_client_that_tries_again_gets_through(self, broker: Broker, connect: Connect) -> None:
        broker.faults.refuse_connections(2)
        with pytest.raises(AMQPConnectionError):
            connect()
        assert [str(each) for each in broker.faults.pending()] == ["refuse a connection: reset"]
        assert works(connect(connection_attempts=2, retry_delay=0))
        broker.faults.assert_happened()

    def test_a_login_is_refused(self, broker: Broker, connect: Connect) -> None:
        broker.faults.refuse_connections(how="login")
        with pytest.raises(ProbableAuthenticationError, match="ACCESS_REFUSED"):
            connect()
        assert works(connect())

    def test_the_limit_is_reached(self, broker: Broker, connect: Connect) -> None:
        broker.faults.refuse_connections(how="limit")
        with pytest.raises((ProbableAccessDeniedError, ConnectionClosedByBroker), match="530"):
            connect()
        assert works(connect())


class TestDroppedConnections:
    def test_all_at_once(self, broker: Broker, connect: Connect) -> None:
        connections = [connect(), connect()]
        assert broker.faults.drop_connections() == 2
        for connection in connections:
            with pytest.raises(StreamLostError):
                connection.process_data_events(LONG_S)
        assert works(connect())

    def test_only_one_by_its_name(self, broker: Broker, connect: Connect) -> None:
        worker, other = connect("worker"), connect("other")
        assert broker.faults.drop_connections(name="worker") == 1
        with pytest.raises(StreamLostError):
            worker.process_data_events(LONG_S)
        assert works(other)

    def test_in_the_middle_of_publishing(self, broker: Broker, connect: Connect) -> None:
        channel = connect().channel()
        channel.queue_declare("q")
        channel.confirm_delivery()
        # Two messages, and the method and the header of the third.
        broker.faults.drop_connections(after_frames=3 + 3 + 2)
        for _ in range(2):
            channel.basic_publish("", "q", b"x")
        with pytest.raises(AMQPConnectionError):
            channel.basic_publish("", "q", b"x")
        broker.faults.assert_happened()
        channel = connect().channel()
        assert channel.queue_declare("q", passive=True).method.message_count == 2

    def test_when_a_delivery_was_sent_which_then_comes_again(
        self, broker: Broker, connect: Connect
    ) -> None:
        channel = connect().channel()
        channel.queue_declare("q")
        channel.basic_publish("", "q", b"x")
        # basic.get-ok, the header and the body.
        broker.faults.drop_connections(after_frames=3, direction="sent")
        with pytest.raises(AMQPConnectionError):
            get_and_wait(channel)
        method, _, body = connect().channel().basic_get("q")
        assert (method.redelivered, body) == (True, b"x")

    def test_the_next_one_in_its_login(self, broker: Broker, connect: Connect) -> None:
        before = connect()
        broker.faults.drop_next_connection(2)
        with pytest.raises(AMQPConnectionError):
            connect()
        assert works(before)
        assert works(connect())

    def test_one_that_is_not_there_is_an_error_of_the_test(self, broker: Broker) -> None:
        with pytest.raises(BrokerError, match="no connection is open as 'worker'"):
            broker.faults.drop_connections(name="worker")


class TestClosing:
    def test_connections(self, broker: Broker, connect: Connect) -> None:
        connection = connect()
        assert broker.faults.close_connections("maintenance") == 1
        with pytest.raises(ConnectionClosedByBroker) as closed:
            connection.process_data_events(LONG_S)
        assert (closed.value.reply_code, closed.value.reply_text) == (
            320,
            "CONNECTION_FORCED - maintenance",
        )
        assert works(connect())

    def test_channels(self, broker: Broker, connect: Connect) -> None:
        connection = connect()
        channel = connection.channel()
        assert broker.faults.close_channels(406, "unknown delivery tag 7") == 1
        with pytest.raises(ChannelClosedByBroker, match="unknown delivery tag 7") as closed:
            channel.queue_declare("q")
        assert closed.value.reply_code == 406
        assert works(connection)


class TestDelay:
    def test_everything_takes_as_much_longer(self, broker: Broker, connect: Connect) -> None:
        channel = connect().channel()
        with broker.faults.delayed(0.1):
            start = time.monotonic()
            channel.queue_declare("q")
            assert time.monotonic() - start >= 0.1
        assert works(channel.connection)

    def test_what_waits_comes_when_it_is_switched_off(
        self, broker: Broker, connect: Connect
    ) -> None:
        channel = connect().channel()
        broker.faults.delay(3600)
        threading.Timer(0.05, broker.faults.delay, [0]).start()
        channel.queue_declare("q")
        assert works(channel.connection)


class TestNacks:
    def test_as_many_messages_as_ordered_are_refused_and_no_queue_gets_them(
        self, broker: Broker, connect: Connect
    ) -> None:
        channel = connect().channel()
        channel.queue_declare("q")
        channel.confirm_delivery()
        channel.basic_publish("", "q", b"before")
        broker.faults.nack(2)
        for body in (b"1", b"2"):
            with pytest.raises(NackError):
                channel.basic_publish("", "q", body)
        channel.basic_publish("", "q", b"after")
        broker.faults.assert_happened()
        assert [each.body for each in broker.queue("q").messages()] == [b"before", b"after"]

    def test_only_those_that_are_meant(self, broker: Broker, connect: Connect) -> None:
        connection = connect()
        unconfirmed, channel = connection.channel(), connection.channel()
        channel.confirm_delivery()
        for queue in ("q", "r"):
            channel.queue_declare(queue)
            channel.queue_bind(queue, "amq.topic", f"{queue}.#")
        broker.faults.nack(exchange="amq.topic")
        broker.faults.nack(routing_key="q")
        broker.faults.nack(queue="r")
        unconfirmed.basic_publish("", "q", b"unconfirmed")
        assert broker.queue("q").wait_for(1)
        channel.basic_publish("amq.direct", "q.x", b"elsewhere")
        for exchange, key in (("amq.topic", "q.x"), ("", "q"), ("amq.topic", "r.x")):
            with pytest.raises(NackError):
                channel.basic_publish(exchange, key, b"refused")
            channel.basic_publish(exchange, key, b"taken")
        assert [len(broker.queue(queue).messages()) for queue in ("q", "r")] == [3, 1]

    def test_they_are_in_the_record_as_refused(self, broker: Broker, connect: Connect) -> None:
        channel = connect().channel()
        channel.queue_declare("q")
        channel.confirm_delivery()
        with broker.record():
            broker.faults.nack()
            with pytest.raises(NackError):
                channel.basic_publish("", "q", b"1")
            channel.basic_publish("", "q", b"1")
        assert [each.refused for each in broker.published()] == [True, False]
        assert broker.unroutable() == []

    def test_a_large_message(self, broker: Broker, connect: Connect) -> None:
        channel = connect().channel()
        channel.queue_declare("q")
        channel.confirm_delivery()
        broker.faults.nack()
        with pytest.raises(NackError):
            channel.basic_publish("", "q", bytes(1_000_000))
        assert works(channel.connection)
        assert broker.queue("q").messages() == []


class TestBlockedPublishers:
    def test_they_are_told_why_and_go_on_afterwards(self, broker: Broker, connect: Connect) -> None:
        connection = connect()
        channel = connection.channel()
        channel.queue_declare("q")
        told: list[str] = []
        connection.add_on_connection_blocked_callback(
            lambda _, frame: told.append(frame.method.reason)
        )
        connection.add_on_connection_unblocked_callback(lambda *_: told.append("unblocked"))
        with broker.faults.blocked("disk"):
            channel.basic_publish("", "q", b"x")
            serve_until(connection, lambda: told == ["low on disk"])
        serve_until(connection, lambda: told == ["low on disk", "unblocked"])
        assert works(connection)

    def test_a_client_that_waits_too_long_gives_up(self, broker: Broker, connect: Connect) -> None:
        connection = connect(blocked_connection_timeout=0.05)
        channel = connection.channel()
        broker.faults.block()
        channel.basic_publish("", "q", b"x")
        with pytest.raises(ConnectionBlockedTimeout):
            connection.process_data_events(LONG_S)
        broker.faults.unblock()
        assert works(connect())

    def test_two_alarms_are_taken_back_one_by_one(self, broker: Broker, connect: Connect) -> None:
        reasons: list[str] = []

        def publish() -> BlockingConnection:
            connection = connect()
            connection.add_on_connection_blocked_callback(
                lambda _, frame: reasons.append(frame.method.reason)
            )
            connection.add_on_connection_unblocked_callback(lambda *_: reasons.append(""))
            connection.channel().basic_publish("", "q", b"x")
            return connection

        broker.faults.fill_disk()
        broker.faults.block("memory")
        connection = publish()
        serve_until(connection, lambda: reasons == ["low on memory & disk"])
        broker.faults.unblock()
        other = publish()
        serve_until(other, lambda: reasons[-1] == "low on disk")
        broker.faults.free_disk()
        serve_until(connection, lambda: "" in reasons)


class TestFullDisk:
    @pytest.mark.parametrize("process", [False, True], ids=["thread", "process"])
    def test_persistent_messages_are_confirmed_when_there_is_space_again(
        self, process: bool, tmp_path: Path
    ) -> None:
        with Broker(tmp_path / "data", process=process) as broker:
            connection = BlockingConnection(pika.URLParameters(broker.url))
            channel = connection.channel()
            channel.confirm_delivery()
            channel.queue_declare("q", durable=True)
            told: list[str] = []
            connection.add_on_connection_blocked_callback(
                lambda _, frame: told.append(frame.method.reason)
            )
            with broker.faults.full_disk():
                start = time.monotonic()
                threading.Timer(0.1, broker.faults.free_disk).start()
                channel.basic_publish("", "q", b"x", pika.BasicProperties(delivery_mode=2))
                assert time.monotonic() - start >= 0.1
            serve_until(connection, lambda: told == ["low on disk"])
            assert works(connection)
            connection.close()
            broker.kill()
            broker.restart()
            connection = BlockingConnection(pika.URLParameters(broker.url))
            assert connection.channel().basic_get("q")[2] == b"x"
            connection.close()

    def test_a_reset_frees_it(self, tmp_path: Path) -> None:
        with Broker(tmp_path / "data") as broker:
            broker.faults.fill_disk()
            with connect_wire(broker.host, broker.port) as wire:
                wire.send(Queue.Declare(queue="q", durable=True), 1)
                wait_until(lambda: any("disk full" in line for line in broker.log()))
                broker.reset()
            assert not any("storage failed" in line for line in broker.log())
            connection = BlockingConnection(pika.URLParameters(broker.url))
            connection.channel().queue_declare("q", durable=True)
            connection.close()


class TestCancelledConsumers:
    def test_the_client_is_told_and_can_consume_again(
        self, broker: Broker, connect: Connect
    ) -> None:
        channel = connect().channel()
        for queue in ("a", "b"):
            channel.queue_declare(queue)
            channel.basic_consume(queue, lambda *_: None, consumer_tag=f"of {queue}")
        cancelled: list[str] = []
        channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
        assert broker.faults.cancel_consumers("a") == 1
        serve_until(channel.connection, lambda: cancelled == ["of a"])
        assert broker.faults.cancel_consumers() == 1
        serve_until(channel.connection, lambda: cancelled == ["of a", "of b"])
        received: list[bytes] = []
        channel.basic_consume("a", lambda *arguments: received.append(arguments[3]))
        channel.basic_publish("", "a", b"x")
        serve_until(channel.connection, lambda: received == [b"x"])

    def test_a_consumer_that_is_not_there_is_an_error_of_the_test(self, broker: Broker) -> None:
        with pytest.raises(BrokerError, match="there is no consumer of the queue 'q'"):
            broker.faults.cancel_consumers("q")


class TestOrders:
    def test_what_did_not_happen_is_named(self, broker: Broker, connect: Connect) -> None:
        connect("worker")
        broker.faults.refuse_connections(2, "login")
        broker.faults.drop_connections(5, name="worker")
        broker.faults.drop_next_connection(1, direction="sent")
        broker.faults.nack(3, exchange="orders", routing_key="paid")
        with pytest.raises(UnmetExpectation) as unmet:
            broker.faults.assert_happened()
        assert str(unmet.value) == (
            "faults were ordered that did not happen:\n"
            "  refuse a connection: login (2 times)\n"
            "  drop the connection worker after 5 frames received\n"
            "  drop the next connection after 1 frame sent\n"
            "  nack a publish of exchange 'orders' and routing key 'paid' (3 times)"
        )

    def test_what_happens_elsewhere_is_waited_for(self, broker: Broker, connect: Connect) -> None:
        broker.faults.refuse_connections()
        client = threading.Timer(0.05, begin_to_connect, [broker])
        client.start()
        broker.faults.wait_until_happened(LONG_S)
        client.join()
        broker.faults.nack()
        with pytest.raises(UnmetExpectation, match="nack a publish"):
            broker.faults.wait_until_happened(0.01)
        broker.faults.clear()
        assert works(connect())

    def test_a_broker_that_ended_meanwhile_has_nothing_to_take_back(self) -> None:
        with Broker() as broker:
            with broker.faults.blocked(), broker.faults.full_disk(), broker.faults.delayed(1):
                broker.kill()
            broker.restart()
            broker.faults.assert_happened()

    @pytest.mark.parametrize("take_back", [lambda b: b.faults.clear(), lambda b: b.reset()])
    def test_all_are_taken_back(
        self, broker: Broker, connect: Connect, take_back: Callable[[Broker], None]
    ) -> None:
        connect("worker")
        broker.faults.refuse_connections()
        broker.faults.drop_connections(5)
        broker.faults.block()
        broker.faults.fill_disk()
        broker.faults.delay(3600)
        broker.faults.nack()
        take_back(broker)
        broker.faults.assert_happened()
        assert works(connect())

    @pytest.mark.parametrize(
        "misuse",
        [
            lambda faults: faults.refuse_connections(0),
            lambda faults: faults.refuse_connections(1, "politely"),
            lambda faults: faults.drop_connections(-1),
            lambda faults: faults.drop_next_connection(0),
            lambda faults: faults.drop_next_connection(1, direction="up"),
            lambda faults: faults.delay(-1),
            lambda faults: faults.nack(0),
            lambda faults: faults.block("patience"),
            lambda faults: faults.close_connections(code=404),
            lambda faults: faults.close_channels(320, ""),
        ],
    )
    def test_what_makes_no_sense_is_refused(
        self, broker: Broker, misuse: Callable[[object], None]
    ) -> None:
        with pytest.raises(BrokerError):
            misuse(broker.faults)

    def test_a_broker_that_does_not_run_has_none(self) -> None:
        with pytest.raises(BrokerError, match="the broker is not running"):
            Broker().faults.pending()
