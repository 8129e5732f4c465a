"""What a test sees of a broker: messages, queues, consumers, connections.

These are values as they were at one moment, which do not change with the broker. They are made in
its event loop and may come from another process, so they consist of plain Python. Names are those
of AMQP and RabbitMQ.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

SHOWN_BODY_BYTES: Final = 80
"""Bytes of a body that a representation has."""

CUT_CHARACTER: Final = "unexpected end of data"
"""Why octets are no UTF-8 that end within a character, as Python says it."""

BY_BROKER: Final = {"dead letter": "a dead letter", "delay": "after its delay"}
"""What is said of a message that the broker itself has published, by its origin."""


@dataclass(frozen=True, slots=True)
class Properties:
    """The properties of a message (AMQP 0-9-1, section 1.8.4); None for those that it has not."""

    content_type: str | None = None
    content_encoding: str | None = None
    headers: dict[str, Any] = field(default_factory=dict)
    delivery_mode: int | None = None
    """2 for a persistent message, 1 or None for one that is not."""
    priority: int | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    expiration: str | None = None
    """The time to live, in milliseconds, as AMQP has it: as text."""
    message_id: str | None = None
    timestamp: datetime | None = None
    type: str | None = None
    user_id: str | None = None
    app_id: str | None = None

    def __repr__(self) -> str:
        given = [f"{name}={value!r}" for name, value in self._given()]
        return f"Properties({', '.join(given)})"

    def _given(self) -> list[tuple[str, Any]]:
        """Names and values of those that the message has."""
        found = [(name, getattr(self, name)) for name in self.__slots__]
        return [(name, value) for name, value in found if value is not None and value != {}]


@dataclass(frozen=True, slots=True)
class Message:
    """A message in a queue."""

    body: bytes
    exchange: str
    """The exchange it was published to last; "" is the default exchange."""
    routing_key: str
    properties: Properties = field(default_factory=Properties)
    redelivered: bool = False
    """Whether it was delivered before."""
    position: int = 0
    """Its position in the queue, which names it as long as it is there."""

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return len(self.body)

    @property
    def headers(self) -> dict[str, Any]:
        """The property `headers`; empty if the message has none."""
        return self.properties.headers

    @property
    def text(self) -> str:
        """The body as text.

        :raises ValueError: if it is no UTF-8.
        """
        try:
            return self.body.decode()
        except UnicodeDecodeError:
            raise ValueError(f"the body is no UTF-8: {shown_body(self.body)}") from None

    def json(self) -> Any:
        """What the body says in JSON.

        :raises ValueError: if it is no JSON.
        """
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise ValueError(f"the body is no JSON ({error}): {shown_body(self.body)}") from None

    def __repr__(self) -> str:
        again = ", redelivered" if self.redelivered else ""
        return f"<Message {self._address()}{again}: {shown_body(self.body)}>"

    def _address(self) -> str:
        return f"{self.routing_key!r} of {exchange_in_words(self.exchange)}"


@dataclass(frozen=True, slots=True, repr=False)
class Published(Message):
    """A message that went through an exchange while publishes were recorded."""

    vhost: str = "/"
    routing_keys: tuple[str, ...] = ()
    """`routing_key`, and those in the headers CC and BCC."""
    queues: tuple[str, ...] = ()
    """The queues that it was routed to, in no particular order."""
    refused: bool = False
    """Whether a queue refused it because it was full, or a fault that was ordered did."""
    delayed: bool = False
    """Whether a delayed exchange holds it back; it is published again when its delay is over."""
    duplicate: bool = False
    """Whether a deduplicating exchange discarded it."""
    origin: str = "client"
    """Who published it: "client", or the broker as a "dead letter" or after a "delay"."""

    @property
    def unroutable(self) -> bool:
        """Whether no queue matched, so that it was dropped or returned."""
        return not (self.queues or self.refused or self.delayed or self.duplicate)

    def __repr__(self) -> str:
        to = " and ".join(f"{queue!r}" for queue in self.queues) or "no queue"
        if self.delayed:
            to = "be delayed"
        elif self.duplicate:
            to = "be discarded as a duplicate"
        notes = ", refused" if self.refused else ""
        if self.origin in BY_BROKER:
            notes += f", {BY_BROKER[self.origin]}"
        return f"<Published {self._address()} to {to}{notes}: {shown_body(self.body)}>"


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """A queue at one moment."""

    name: str
    vhost: str
    ready: int
    """Messages that wait for a consumer."""
    unacknowledged: int
    """Messages that consumers, or basic.get, have and did not settle."""
    acknowledged: int
    """Messages that were acknowledged since the broker began, and those that were delivered to who
    does not acknowledge."""
    consumers: int
    durable: bool
    exclusive: bool
    auto_delete: bool
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Consumer:
    """A consumer: one basic.consume."""

    tag: str
    queue: str
    vhost: str
    connection: str
    """What its connection is called, as in `Connection.name`."""
    channel: int
    prefetch: int
    """Messages it may have at a time that it did not acknowledge; 0 is no limit."""
    no_ack: bool
    """Whether messages count as acknowledged when they are delivered."""
    exclusive: bool
    active: bool
    """False while another one is the single active consumer of the queue."""
    unacknowledged: int
    """Messages that it has and did not settle."""


@dataclass(frozen=True, slots=True)
class Connection:
    """An open connection."""

    name: str
    """What the client calls it (`connection_name`), else its address."""
    address: str
    """Host and port of the client."""
    user: str
    vhost: str
    channels: int
    """Open channels."""
    blocked: bool
    """Whether it was told that publishers are blocked."""


@dataclass(frozen=True, slots=True)
class Binding:
    """A binding of a queue to an exchange."""

    exchange: str
    routing_key: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recording:
    """What was recorded of the publishes."""

    messages: list[Published]
    """Those that were asked for, the oldest first."""
    dropped: int
    """How many messages were dropped, the oldest ones, because there was no room."""


def shown_body(body: bytes) -> str:
    """A body as a representation has it: text where it is text, and cut if it is long."""
    start = body[:SHOWN_BODY_BYTES]
    try:
        text = start.decode()
    except UnicodeDecodeError as error:
        # The cut may be in the middle of a character.
        text = start[: error.start].decode() if error.reason == CUT_CHARACTER else ""
    shown = text if text and text.isprintable() else repr(start)
    return shown if len(start) == len(body) else f"{shown}... ({len(body)} bytes)"


def exchange_in_words(name: str) -> str:
    """How a text names an exchange."""
    return f"exchange {name!r}" if name else "the default exchange"
