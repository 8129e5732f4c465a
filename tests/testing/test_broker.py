"""The broker of a test: its life in a thread and in a process, with pika as its client."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import aio_pika
import pika
import pytest
from pika.exceptions import AMQPConnectionError, ConnectionClosedByBroker

from leveret.testing import Broker, BrokerError
from tests.support.brokers import wait_until

DAY_S = 86_400

Connect = Callable[[Broker], pika.adapters.blocking_connection.BlockingChannel]


@pytest.fixture(params=[False, True], ids=["thread", "process"])
def process(request: pytest.FixtureRequest) -> bool:
    """Whether the broker has a process of its own."""
    return bool(request.param)


@pytest.fixture
def connect() -> Iterator[Connect]:
    """A function that opens a connection with a channel, which is closed at the end."""
    opened: list[pika.BlockingConnection] = []

    def connect(broker: Broker) -> pika.adapters.blocking_connection.BlockingChannel:
        opened.append(pika.BlockingConnection(pika.URLParameters(broker.url)))
        return opened[-1].channel()

    yield connect
    for connection in opened:
        # One that the broker has closed is no longer open only after it was read.
        if connection.is_open:
            try:
                connection.close()
            except AMQPConnectionError:
                continue


def count(channel: pika.adapters.blocking_connection.BlockingChannel, queue: str) -> int:
    found: int = channel.queue_declare(queue, passive=True).method.message_count
    return found


def publish(
    channel: pika.adapters.blocking_connection.BlockingChannel,
    queue: str,
    body: bytes = b"x",
    *,
    persistent: bool = False,
) -> None:
    """Publish with a confirm."""
    properties = pika.BasicProperties(delivery_mode=2 if persistent else 1)
    channel.confirm_delivery()
    channel.basic_publish("", queue, body, properties)


def test_a_message_passes_through_it(broker: Broker, connect: Connect) -> None:
    channel = connect(broker)
    channel.queue_declare("q")
    publish(channel, "q", b"hello")

    assert channel.basic_get("q", auto_ack=True)[2] == b"hello"


def test_a_reset_leaves_nothing_and_keeps_the_port(broker: Broker, connect: Connect) -> None:
    port = broker.port
    channel = connect(broker)
    channel.queue_declare("q", durable=True)
    publish(channel, "q")
    broker.reset()

    with pytest.raises(ConnectionClosedByBroker) as closed:
        channel.connection.process_data_events(10)
    assert closed.value.reply_code == 320
    assert broker.port == port
    channel = connect(broker)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="NOT_FOUND"):
        channel.queue_declare("q", passive=True)


def test_a_killed_broker_refuses_connections_until_its_restart(
    broker: Broker, connect: Connect
) -> None:
    channel = connect(broker)
    channel.queue_declare("q")
    port = broker.port
    broker.kill()

    with pytest.raises(AMQPConnectionError):
        channel.connection.process_data_events(10)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((broker.host, port))
    broker.restart()
    assert broker.port == port
    connect(broker).queue_declare("q")


def test_a_stop_says_goodbye(broker: Broker, connect: Connect) -> None:
    channel = connect(broker)
    broker.stop()

    with pytest.raises(ConnectionClosedByBroker, match="shutdown"):
        channel.connection.process_data_events(10)
    broker.restart()


@pytest.mark.parametrize("how", ["kill", "stop", "restart"])
def test_what_is_durable_survives_in_a_directory(
    how: str, process: bool, tmp_path: Path, connect: Connect
) -> None:
    with Broker(tmp_path / "data", process=process) as broker:
        channel = connect(broker)
        channel.queue_declare("durable", durable=True)
        channel.queue_declare("transient")
        publish(channel, "durable", b"kept", persistent=True)
        getattr(broker, how)()
        if how != "restart":
            broker.restart()

        channel = connect(broker)
        assert channel.basic_get("durable", auto_ack=True)[2] == b"kept"
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="NOT_FOUND"):
            channel.queue_declare("transient", passive=True)


def test_a_reset_empties_the_directory(process: bool, tmp_path: Path, connect: Connect) -> None:
    with Broker(tmp_path, process=process) as broker:
        channel = connect(broker)
        channel.queue_declare("q", durable=True)
        publish(channel, "q", persistent=True)
        broker.reset()
        broker.restart()

        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="NOT_FOUND"):
            connect(broker).queue_declare("q", passive=True)


def test_a_paused_broker_says_nothing_until_it_goes_on(broker: Broker, connect: Connect) -> None:
    connect(broker)
    broker.pause()
    with closing(socket.create_connection((broker.host, broker.port))) as sock:
        sock.sendall(b"AMQP\0\0\x09\x01")
        sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        with pytest.raises(BrokerError, match="the broker is paused"):
            broker.log()
        broker.resume()
        sock.settimeout(30)
        assert sock.recv(1) == b"\x01"


def test_a_paused_broker_can_be_killed(broker: Broker, connect: Connect) -> None:
    channel = connect(broker)
    broker.pause()
    broker.kill()

    with pytest.raises(AMQPConnectionError):
        channel.connection.process_data_events(10)
    broker.reset()
    assert broker.is_running


def test_thirty_days_pass_at_once(broker: Broker, connect: Connect) -> None:
    channel = connect(broker)
    month = 30 * DAY_S * 1000
    channel.queue_declare("late")
    dead_letters = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "late"}
    channel.queue_declare("waiting", arguments={"x-message-ttl": month, **dead_letters})
    publish(channel, "waiting", b"old")

    broker.advance(30 * DAY_S - 60)
    assert (count(channel, "waiting"), count(channel, "late")) == (1, 0)
    broker.advance(61)
    assert (count(channel, "waiting"), count(channel, "late")) == (0, 1)


def test_what_is_due_in_between_is_done_in_its_turn(broker: Broker, connect: Connect) -> None:
    channel = connect(broker)
    for number in range(5):
        target = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"q{number + 1}"}
        channel.queue_declare(f"q{number}", arguments={"x-message-ttl": 60_000, **target})
    publish(channel, "q0")

    broker.advance(3.5 * 60)
    assert [count(channel, f"q{number}") for number in range(5)] == [0, 0, 0, 1, 0]


def test_a_queue_expires_and_a_delayed_message_is_released(
    broker: Broker, connect: Connect
) -> None:
    channel = connect(broker)
    channel.exchange_declare("x", "x-delayed-message", arguments={"x-delayed-type": "fanout"})
    channel.queue_declare("q")
    channel.queue_bind("q", "x")
    channel.queue_declare("brief", arguments={"x-expires": 60_000})
    channel.confirm_delivery()
    delayed = pika.BasicProperties(headers={"x-delay": 3_600_000})
    channel.basic_publish("x", "", b"in an hour", delayed)

    assert count(channel, "q") == 0
    broker.advance(3601)
    assert count(channel, "q") == 1
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="NOT_FOUND"):
        channel.queue_declare("brief", passive=True)


def test_time_goes_on_where_it_was_after_a_restart(
    process: bool, tmp_path: Path, connect: Connect
) -> None:
    with Broker(tmp_path, process=process) as broker:
        channel = connect(broker)
        broker.advance(DAY_S)
        channel.queue_declare("q", durable=True, arguments={"x-message-ttl": DAY_S * 1000})
        publish(channel, "q", persistent=True)
        broker.advance(DAY_S / 2)
        broker.restart()

        channel = connect(broker)
        assert count(channel, "q") == 1
        broker.advance(DAY_S / 2)
        assert count(channel, "q") == 0


def test_time_does_not_go_back(broker: Broker) -> None:
    with pytest.raises(BrokerError, match="time cannot go back"):
        broker.advance(-1)


def test_the_log_is_there_to_be_read(broker: Broker, connect: Connect) -> None:
    connect(broker)
    assert any("connection opened" in line for line in broker.log())


def test_what_a_broker_starts_with_can_be_set(process: bool) -> None:
    settings = {
        "auth.default_user": "tom@example.org",
        "auth.default_pass": "a/b?c",
        "auth.default_vhost": "/shop",
        "amqp.channel_max": 5,
    }
    with Broker(process=process, settings=settings) as broker:
        assert broker.url.startswith("amqp://tom%40example.org:a%2Fb%3Fc@127.0.0.1:")
        assert broker.url.endswith("/%2Fshop")
        with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
            assert connection._impl.params.channel_max == 5


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"amqp.heartbeet": 5}, "amqp.heartbeat"),
        ({"amqp.heartbeat": "often"}, r"amqp\.heartbeat"),
        ({"amqp.listen": ["127.0.0.1:5672"]}, "give the argument port instead"),
    ],
)
def test_a_wrong_setting_is_named(process: bool, settings: dict[str, object], text: str) -> None:
    with pytest.raises(BrokerError, match=text):
        Broker(process=process, settings=settings).start()


def test_a_port_that_is_taken_is_named(process: bool) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BrokerError, match=f"port {port}: Address already in use"):
            Broker(process=process, port=port).start()


def test_a_reset_keeps_what_it_listens_at_besides(process: bool, tmp_path: Path) -> None:
    path = tmp_path / "amqp"
    with Broker(process=process, settings={"amqp.unix_socket": str(path)}) as broker:
        for _ in range(3):
            broker.reset()
            assert path.is_socket()
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))


def test_a_reset_that_fails_says_why_and_another_may_succeed(process: bool, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with Broker(process=process, settings={"amqp.unix_socket": str(folder / "amqp")}) as broker:
        folder.rename(tmp_path / "elsewhere")
        with pytest.raises(BrokerError, match=r"does not start anew: .*no such file"):
            broker.reset()
        folder.mkdir()
        broker.reset()
        assert broker.queues() == []


def test_a_directory_that_is_in_use_is_named(process: bool, tmp_path: Path) -> None:
    with Broker(tmp_path, process=process), pytest.raises(BrokerError, match=str(tmp_path)):
        Broker(tmp_path, process=process).start()


def test_misuse_is_told_in_words() -> None:
    broker = Broker()
    with pytest.raises(BrokerError, match="no port before its start"):
        assert broker.port
    with pytest.raises(BrokerError, match="not running"):
        broker.advance(1)
    with broker:
        with pytest.raises(BrokerError, match="the broker is running"):
            broker.start()
        with pytest.raises(BrokerError, match="not paused"):
            broker.resume()
        with pytest.raises(BrokerError, match="management=True"):
            assert broker.management_url


def test_a_handle_can_be_used_again() -> None:
    broker = Broker()
    for _ in range(2):
        with broker:
            socket.create_connection((broker.host, broker.port)).close()


def test_two_brokers_have_nothing_in_common(connect: Connect) -> None:
    with Broker() as one, Broker() as other:
        channel = connect(one)
        channel.queue_declare("q", arguments={"x-message-ttl": 60_000})
        publish(channel, "q")
        other.advance(61)

        assert count(channel, "q") == 1
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="NOT_FOUND"):
            connect(other).queue_declare("q", passive=True)


def test_a_forked_process_does_not_keep_the_port(connect: Connect) -> None:
    ready, end = os.pipe(), os.pipe()
    with Broker() as broker:
        channel = connect(broker)
        child = os.fork()
        if child == 0:
            os.write(ready[1], b"x")
            os.read(end[0], 1)
            os._exit(0)
        os.read(ready[0], 1)
        broker.kill()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((broker.host, broker.port))
        with pytest.raises(AMQPConnectionError):
            channel.connection.process_data_events(30)
    os.write(end[1], b"x")
    assert os.waitpid(child, 0)[1] == 0
    for each in (*ready, *end):
        os.close(each)


def test_the_process_ends_with_the_test_process(tmp_path: Path) -> None:
    ready, end = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        broker = Broker(process=True)
        broker.start()
        os.write(ready[1], broker.port.to_bytes(4, "big"))
        os.read(end[0], 1)
        os._exit(0)
    port = int.from_bytes(os.read(ready[0], 4), "big")
    socket.create_connection(("127.0.0.1", port)).close()
    os.write(end[1], b"x")
    os.waitpid(child, 0)

    def is_gone() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            return True
        return False

    wait_until(is_gone, what="the end of the broker's process")
    for each in (*ready, *end):
        os.close(each)


def test_a_coroutine_can_have_one_too(process: bool) -> None:
    async def publish_and_get() -> bytes:
        async with Broker(process=process) as broker:
            connection = await aio_pika.connect(broker.url)
            async with connection:
                channel = await connection.channel()
                queue = await channel.declare_queue("q")
                await channel.default_exchange.publish(aio_pika.Message(b"hello"), "q")
                message = await queue.get()
                await message.ack()
                return message.body

    assert asyncio.run(publish_and_get()) == b"hello"


def test_the_loggers_of_an_application_that_uses_uvicorn_stay_as_they_are() -> None:
    loggers = [logging.getLogger(f"uvicorn.{name}") for name in ("error", "access")]
    handler = logging.NullHandler()
    loggers[1].addHandler(handler)
    with Broker(management=True) as broker:
        with closing(
            socket.create_connection(("127.0.0.1", int(broker.management_url.rpartition(":")[2])))
        ) as http:
            http.sendall(b"no request\r\n\r\n")
            assert http.recv(100).startswith(b"HTTP/1.1 400")
        assert [each.level for each in loggers] == [logging.NOTSET, logging.NOTSET]
        assert loggers[1].handlers == [handler]
        assert loggers[1].propagate
    loggers[1].removeHandler(handler)
