"""Facts about a queue, and what they lead to. All times are in milliseconds since the epoch."""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Severity(IntEnum):
    """How much a finding matters, the worst last."""

    INFO = 1
    """Good to know."""
    WARNING = 2
    """It is slower than it should be, or loses messages that it is told to lose."""
    ERROR = 3
    """Nothing moves, or messages are lost that should not be."""


class Link(NamedTuple):
    """An object that a finding is about."""

    kind: str
    """connection, channel, queue, exchange or policy."""
    name: str
    vhost: str | None = None


class Finding(NamedTuple):
    """One reason why messages do not move."""

    severity: Severity
    code: str
    """The kind of finding, which stays the same when the sentence is worded anew."""
    text: str
    """What is the case, in sentences."""
    since: int | None = None
    facts: Mapping[str, Any] = NOTHING
    links: tuple[Link, ...] = ()
    weight: float = 0
    """Of findings that are equally severe, the greatest comes first: mostly messages."""


class ConsumerFacts(NamedTuple):
    """One consumer."""

    tag: str
    connection: str
    """The name of its connection."""
    client: str
    """What the client calls itself; its address if it does not."""
    address: str
    user: str
    channel: int
    prefetch: int
    """How many deliveries it may have; 0 is no limit."""
    shared_prefetch: bool = False
    """Whether that is the limit of the whole channel."""
    held: int = 0
    """Deliveries that it has not acknowledged."""
    held_since: int | None = None
    """Since when it has had the oldest of them at least; None if that is not known yet."""
    no_ack: bool = False
    active: bool = True
    """Whether it is not waiting for the single active consumer to leave."""
    timed_out: bool = False
    socket_full: bool = False
    """Whether it does not read what the broker has sent."""
    exclusive: bool = False

    def is_at_limit(self) -> bool:
        """Whether it gets no message before it acknowledges one."""
        return 0 < self.prefetch <= self.held

    def who(self) -> str:
        """It in a sentence."""
        client = "" if self.client == self.address else f"{self.client}, "
        return f"'{self.tag}' ({client}{self.address}, user {self.user})"

    def link(self) -> Link:
        """Its connection."""
        return Link("connection", self.connection)


class DeadLetterFacts(NamedTuple):
    """Where the dead letters of a queue go."""

    exchange: str
    exists: bool
    leads_nowhere: bool
    """Whether no binding can lead any of them to a queue."""
    routing_key: str | None = None


class HeadFacts(NamedTuple):
    """The next message of the queue, if it is in memory."""

    arrived: int
    """When it was published to the queue."""
    deaths: int = 0
    """How often it was dead-lettered."""
    died_in: tuple[str, ...] = ()
    """The queues in which it died, the last one first."""


class DropFacts(NamedTuple):
    """Messages that have left the queue without a client taking them, since the start."""

    expired: int = 0
    maxlen: int = 0
    rejected: int = 0
    delivery_limit: int = 0

    def total(self) -> int:
        """All of them."""
        return sum(self)


class RateFacts(NamedTuple):
    """What happened lately, in messages a second."""

    seconds: float
    """How long that is."""
    publish: float = 0
    deliver: float = 0
    redeliver: float = 0
    settled: float = 0
    """Acknowledged, or delivered without acknowledgement."""
    dropped: float = 0
    rejected: float = 0


class PublisherFacts(NamedTuple):
    """A connection that publishes to the queue, and is slowed down because of it."""

    connection: str
    client: str
    user: str


class DelayedFacts(NamedTuple):
    """A delayed exchange that leads to the queue and has messages that are not due."""

    exchange: str
    messages: int


class QueueFacts(NamedTuple):
    """What is known of a queue that matters for its messages."""

    vhost: str
    name: str
    now: int
    watched_since: int
    """When the broker was started, or when the queue was declared if that was later."""
    ready: int = 0
    unacknowledged: int = 0
    retry_delayed: int = 0
    retry_at: int | None = None
    """When the next retry delay is over."""
    consumers: tuple[ConsumerFacts, ...] = ()
    """The first of them, if there are very many."""
    consumer_count: int = 0
    consumer_left_at: int | None = None
    """When the last consumer left; None if it had none since `watched_since`."""
    paused_at: int | None = None
    """None if it is not paused."""
    single_active: bool = False
    max_length: int | None = None
    max_length_bytes: int | None = None
    bytes: int = 0
    rejects: bool = False
    """Whether it refuses messages when it is full, rather than drop some."""
    origins: Mapping[str, str] = NOTHING
    """Where each setting comes from: its arguments or a policy."""
    policies: tuple[str, ...] = ()
    """The names of the policies among them."""
    delivery_limit: int | None = None
    dead_letters: DeadLetterFacts | None = None
    head: HeadFacts | None = None
    drops: DropFacts = DropFacts()
    rates: RateFacts | None = None
    """None before two measurements."""
    alarm: str = ""
    """Why publishers are blocked; "" if they are not."""
    alarm_since: int | None = None
    blocked_publishers: int = 0
    slowed_publishers: tuple[PublisherFacts, ...] = ()
    delayed: tuple[DelayedFacts, ...] = ()
    memory_short: bool = False
    """Whether consumers without a prefetch get little because memory is short."""

    def links_to_policies(self) -> tuple[Link, ...]:
        """The policies that made its settings."""
        return tuple(Link("policy", name, self.vhost) for name in self.policies)
