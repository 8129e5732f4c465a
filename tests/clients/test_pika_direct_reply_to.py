"""Direct reply-to, through pika: RPC without a queue for replies."""

from collections.abc import Callable
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

REPLY_TO = "amq.rabbitmq.reply-to"
REQUESTS = 1000

Connect = Callable[..., pika.BlockingConnection]


class Server:
    """Answers requests on a connection of its own."""

    def __init__(self, channel: BlockingChannel, queue: str) -> None:
        self.names: set[str] = set()
        """Where it sent replies to."""
        self._channel = channel
        self._answered = 0
        channel.queue_declare(queue, auto_delete=True)
        channel.basic_consume(queue, self._answer)

    def _answer(self, _: BlockingChannel, method: Any, properties: Any, body: bytes) -> None:
        reply = pika.BasicProperties(correlation_id=properties.correlation_id)
        self._channel.basic_publish("", properties.reply_to, b"reply to " + body, reply)
        self._channel.basic_ack(method.delivery_tag)
        self.names.add(properties.reply_to)
        self._answered += 1

    def answers(self, count: int) -> None:
        """Answer that many requests."""
        wanted = self._answered + count
        while self._answered < wanted:
            self._channel.connection.process_data_events(None)


class Requester:
    """Asks, and collects replies."""

    def __init__(self, channel: BlockingChannel, queue: str) -> None:
        self._channel = channel
        self._queue = queue
        self._replies: list[tuple[str, bytes]] = []
        channel.basic_consume(REPLY_TO, self._reply, auto_ack=True)

    def _reply(self, _: BlockingChannel, method: Any, properties: Any, body: bytes) -> None:
        self._replies.append((properties.correlation_id, body))

    def asks(self, number: int) -> None:
        """Publish a request."""
        properties = pika.BasicProperties(reply_to=REPLY_TO, correlation_id=str(number))
        self._channel.basic_publish("", self._queue, b"%d" % number, properties)

    def gets(self, count: int) -> list[tuple[str, bytes]]:
        """Wait for replies; the correlation id and body of each."""
        while len(self._replies) < count:
            self._channel.connection.process_data_events(None)
        replies, self._replies = self._replies, []
        return replies


@pytest.fixture
def server(connect: Connect, name: str) -> Server:
    return Server(connect().channel(), name)


@pytest.fixture
def requester(server: Server, connect: Connect, name: str) -> Requester:
    """Asks what the server answers."""
    return Requester(connect().channel(), name)


def test_a_thousand_requests_are_answered_in_order(server: Server, requester: Requester) -> None:
    for number in range(REQUESTS):
        requester.asks(number)

    server.answers(REQUESTS)

    expected = [(str(number), b"reply to %d" % number) for number in range(REQUESTS)]
    assert requester.gets(REQUESTS) == expected
    assert len(server.names) == 1


def test_each_of_two_clients_gets_the_replies_to_its_own_requests(
    server: Server, requester: Requester, connect: Connect, name: str
) -> None:
    requesters = [requester, Requester(connect().channel(), name)]

    for number in range(100):
        requesters[number % 2].asks(number)
        server.answers(1)
        assert requesters[number % 2].gets(1) == [(str(number), b"reply to %d" % number)]

    assert len(server.names) == 2


def test_a_reply_to_a_client_that_left_is_returned(
    server: Server, connect: Connect, name: str
) -> None:
    client = connect()
    Requester(client.channel(), name).asks(1)
    server.answers(1)
    client.close()

    other = connect().channel()
    other.confirm_delivery()
    with pytest.raises(pika.exceptions.UnroutableError):
        other.basic_publish("", server.names.pop(), b"too late", mandatory=True)


def test_a_request_without_a_consumer_closes_the_channel(channel: BlockingChannel) -> None:
    channel.confirm_delivery()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
        channel.basic_publish("", "q", b"1", pika.BasicProperties(reply_to=REPLY_TO))
    assert closed.value.args == (406, "PRECONDITION_FAILED - fast reply consumer does not exist")


def test_replies_cannot_be_acknowledged(channel: BlockingChannel) -> None:
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
        channel.basic_consume(REPLY_TO, lambda *_: None)
    assert closed.value.args == (406, "PRECONDITION_FAILED - reply consumer cannot acknowledge")
