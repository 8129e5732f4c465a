"""The record of publishes: the latest messages that went through exchanges.

It is bounded in messages and in bytes of their bodies. If there is no room the oldest ones are
dropped, and counted, so that whoever reads it can tell.
"""

from collections import deque

from leveret.engine.queues.delayed_store import DelayedStore
from leveret.engine.routing.exchanges.deduplicating import DuplicateDiscard
from leveret.engine.routing.observer import Origin
from leveret.engine.routing.sink import Sink
from leveret.engine.values.message import Message
from leveret.testing.decoding import decoded_properties
from leveret.testing.values import Published, Recording


class Recorded:
    """One message as the router has told it."""

    def __init__(
        self,
        vhost: str,
        exchange: str,
        routing_keys: list[str],
        message: Message,
        sinks: list[Sink],
        origin: Origin,
    ) -> None:
        self.vhost = vhost
        self.exchange = exchange
        self.routing_keys = tuple(routing_keys)
        self.message = message
        self.queues = tuple(sink.name for sink in sinks if sink.name)
        self.delayed = any(isinstance(sink, DelayedStore) for sink in sinks)
        self.duplicate = any(isinstance(sink, DuplicateDiscard) for sink in sinks)
        self.origin = origin
        self.refused = False

    def value(self) -> Published:
        """What a test sees of it."""
        return Published(
            body=bytes(self.message.body),
            exchange=self.exchange,
            routing_key=self.routing_keys[0],
            properties=decoded_properties(self.message.header),
            vhost=self.vhost,
            routing_keys=self.routing_keys,
            queues=self.queues,
            refused=self.refused,
            delayed=self.delayed,
            duplicate=self.duplicate,
            origin=self.origin.value,
        )

    def is_unroutable(self) -> bool:
        """As `Published.unroutable`."""
        return not (self.queues or self.refused or self.delayed or self.duplicate)


class Recorder:
    """The latest publishes of one broker."""

    def __init__(self, messages_max: int, bytes_max: int) -> None:
        """
        :param messages_max: how many are kept, from 1.
        :param bytes_max: bytes of their bodies together; the latest message is kept in any case.
        """
        self.dropped = 0
        """How many there was no room for."""
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._recorded: deque[Recorded] = deque()

    def add(self, recorded: Recorded) -> None:
        """Record a message, the latest one."""
        self._recorded.append(recorded)
        self._bytes += len(recorded.message.body)
        while len(self._recorded) > 1 and (
            len(self._recorded) > self._messages_max or self._bytes > self._bytes_max
        ):
            self._bytes -= len(self._recorded.popleft().message.body)
            self.dropped += 1

    def note_refused(self, message: Message) -> None:
        """A message that was recorded is refused: it is one of the latest."""
        for recorded in reversed(self._recorded):
            if recorded.message is message:
                recorded.refused = True
                return

    def count(self, exchange: str | None, routing_key: str | None) -> int:
        """How many messages were recorded; None is any exchange and any routing key."""
        return len(self._matching(exchange, routing_key))

    def recording(
        self, exchange: str | None, routing_key: str | None, unroutable_only: bool
    ) -> Recording:
        """The messages that were recorded; None is any exchange and any routing key."""
        found = self._matching(exchange, routing_key)
        if unroutable_only:
            found = [each for each in found if each.is_unroutable()]
        return Recording([each.value() for each in found], self.dropped)

    def _matching(self, exchange: str | None, routing_key: str | None) -> list[Recorded]:
        return [
            each
            for each in self._recorded
            if exchange in (None, each.exchange)
            and (routing_key is None or routing_key in each.routing_keys)
        ]
