"""pika's event-driven adapters: SelectConnection and AsyncioConnection, through the same story.

The story is a Session of callbacks, so a step begins when the broker has answered the one before; a
watchdog ends a session that stands still.
"""

import asyncio
import functools
from collections.abc import Callable, Iterator
from typing import Any

import pika
import pytest
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.adapters.select_connection import IOLoop
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByClient

from tests.support.brokers import Broker

WATCHDOG_S = 60.0
Adapter = Callable[..., Any]


@pytest.fixture(params=["select", "asyncio"])
def adapter(request: pytest.FixtureRequest) -> Iterator[Adapter]:
    """A constructor of connections of one adapter, on an event loop of its own."""
    if request.param == "select":
        connection_class, loop = pika.SelectConnection, IOLoop()
    else:
        connection_class, loop = AsyncioConnection, asyncio.new_event_loop()
    yield functools.partial(connection_class, custom_ioloop=loop)
    loop.close()


class Session:
    """One connection and channel, driven by callbacks; run() returns when it was closed."""

    def __init__(self, adapter: Adapter, parameters: pika.URLParameters) -> None:
        self.events: list[Any] = []
        self.connection = adapter(
            parameters,
            on_open_callback=self._open_channel,
            on_open_error_callback=self._on_open_error,
            on_close_callback=self._on_closed,
        )
        self._loop = self.connection.ioloop
        self._watchdog = self._loop.call_later(WATCHDOG_S, self._give_up)

    def _open_channel(self, connection: Any) -> None:
        connection.channel(on_open_callback=self.begin)

    def _on_open_error(self, _connection: Any, error: BaseException) -> None:
        self._end(error)

    def _on_closed(self, _connection: Any, error: BaseException) -> None:
        self._end(error)

    def _give_up(self) -> None:
        self._end(TimeoutError(f"the session stood still after {self.events}"))

    def _end(self, event: object) -> None:
        self.events.append(event)
        self._loop.stop()

    def begin(self, channel: Any) -> None:
        """The first step of the story."""
        raise NotImplementedError

    def run(self) -> list[Any]:
        """Run the story and return what happened, the reason for its end last."""
        run_forever = getattr(self._loop, "run_forever", None) or self._loop.start
        run_forever()
        return self.events


class Delivering(Session):
    """Publishes three messages with confirms, consumes them, and has the queue deleted."""

    def __init__(self, adapter: Adapter, parameters: pika.URLParameters, queue: str) -> None:
        super().__init__(adapter, parameters)
        self.queue = queue
        self.confirmed: set[int] = set()
        self.bodies: list[bytes] = []

    def begin(self, channel: Any) -> None:
        """Declare, then publish with confirms."""
        self.channel = channel
        channel.add_on_cancel_callback(self.on_cancelled)
        channel.confirm_delivery(ack_nack_callback=self.on_confirm)
        channel.queue_declare(self.queue, callback=self.publish)

    def publish(self, _declared: Any) -> None:
        """Three messages in one go."""
        for number in range(1, 4):
            self.channel.basic_publish("", self.queue, str(number).encode())

    def on_confirm(self, frame: Any) -> None:
        """Consume once all three are confirmed."""
        confirmed = frame.method
        assert isinstance(confirmed, pika.spec.Basic.Ack)
        first = 1 if confirmed.multiple else confirmed.delivery_tag
        self.confirmed.update(range(first, confirmed.delivery_tag + 1))
        if self.confirmed == {1, 2, 3}:
            self.events.append("confirmed")
            self.channel.basic_consume(self.queue, self.on_message)

    def on_message(self, channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        """Acknowledge; after the last, take the queue away under the consumer."""
        channel.basic_ack(method.delivery_tag)
        self.bodies.append(body)
        if len(self.bodies) == 3:
            self.events.append(self.bodies)
            self.connection.channel(on_open_callback=self.delete)

    def delete(self, other_channel: Any) -> None:
        """Delete the queue from another channel."""
        other_channel.queue_delete(self.queue)

    def on_cancelled(self, _frame: Any) -> None:
        """The broker cancelled the consumer."""
        self.events.append("cancelled")
        self.connection.close()


class Refused(Session):
    """Consumes from a queue that does not exist, and carries on with another channel."""

    def __init__(self, adapter: Adapter, parameters: pika.URLParameters, queue: str) -> None:
        super().__init__(adapter, parameters)
        self.queue = queue

    def begin(self, channel: Any) -> None:
        """Ask for what is not there."""
        channel.add_on_close_callback(self.on_channel_closed)
        channel.basic_consume(self.queue, lambda *_: None)

    def on_channel_closed(self, _channel: Any, reason: ChannelClosedByBroker) -> None:
        """Open another channel after the refusal."""
        self.events.append(reason.reply_code)
        self.connection.channel(on_open_callback=self.go_on)

    def go_on(self, channel: Any) -> None:
        """The connection still serves."""
        channel.queue_declare(
            "", exclusive=True, callback=lambda frame: self.finish(frame.method.queue)
        )

    def finish(self, queue: str) -> None:
        """Leave."""
        self.events.append(queue.startswith("amq.gen-"))
        self.connection.close()


class Returning(Session):
    """Publishes a mandatory message nobody wants; the return comes before the confirm."""

    def begin(self, channel: Any) -> None:
        """Publish into the void."""
        channel.add_on_return_callback(
            lambda _channel, method, _properties, body: self.events.append(
                (method.reply_code, body)
            )
        )
        channel.confirm_delivery(
            ack_nack_callback=self.on_confirm,
            callback=lambda _ok: channel.basic_publish("", "nobody.home", b"x", mandatory=True),
        )

    def on_confirm(self, frame: Any) -> None:
        """Leave after the confirm."""
        self.events.append(frame.method.NAME)
        self.connection.close()


def test_publishing_consuming_and_cancelling(adapter: Adapter, broker: Broker, name: str) -> None:
    *events, end = Delivering(adapter, pika.URLParameters(broker.url), name).run()

    assert events == ["confirmed", [b"1", b"2", b"3"], "cancelled"]
    assert isinstance(end, ConnectionClosedByClient)


def test_a_refusal_closes_the_channel_and_leaves_the_connection(
    adapter: Adapter, broker: Broker, name: str
) -> None:
    *events, end = Refused(adapter, pika.URLParameters(broker.url), name).run()

    assert events == [404, True]
    assert isinstance(end, ConnectionClosedByClient)


def test_an_unroutable_message_returns_before_it_is_confirmed(
    adapter: Adapter, broker: Broker
) -> None:
    *events, end = Returning(adapter, pika.URLParameters(broker.url)).run()

    assert events == [(312, b"x"), "Basic.Ack"]
    assert isinstance(end, ConnectionClosedByClient)


def test_a_refused_login_ends_in_the_open_error_callback(adapter: Adapter, broker: Broker) -> None:
    parameters = pika.URLParameters(broker.url)
    parameters.credentials = pika.PlainCredentials("guest", "wrong")

    (error,) = Returning(adapter, parameters).run()

    assert isinstance(error, pika.exceptions.ProbableAuthenticationError)
