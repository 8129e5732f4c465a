"""The settings of a queue, computed from sources: its arguments, and policies once there are any.

A setting has one name wherever it comes from: the argument `x-message-ttl` sets `message-ttl`, and
so would a policy. The first source that has a setting decides, but for limits, where the smallest
value of all sources applies (RabbitMQ: Parameters and Policies, "Combining Policy Definitions").
Settings can change while the queue exists: compute them anew, and apply them.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from mypy_extensions import i64
from pamqp.common import FieldValue

from leveret.engine.values.arguments import Arguments

ARGUMENT_PREFIX: Final = "x-"

NONE: Final = -1
"""The value of a number that is not set."""

OVERFLOWS: Final = ("drop-head", "reject-publish", "reject-publish-dlx")
"""What a full queue does (RabbitMQ: Queue Length Limit)."""

REJECT_PUBLISH_DLX: Final = OVERFLOWS[2]

RETRY_TYPES: Final = ("disabled", "all", "failed", "returned")
"""Which requeued messages are delayed before they are delivered again (RabbitMQ: Quorum Queues,
"Delayed Retry"): none, all, those that failed, or those that were only returned."""

SHARED_SETTINGS_MAX: Final = 1024
"""Different arguments whose settings are shared; when there are more, sharing begins anew."""

TEXT_MAX: Final = 256
"""Characters of a text among the arguments from which on they are not shared."""

LIMITS: Final = frozenset(
    {
        "message-ttl",
        "expires",
        "max-length",
        "max-length-bytes",
        "delivery-limit",
    }
)
"""Settings of which the smallest value applies."""


class Source(NamedTuple):
    """A source of settings."""

    name: str
    """As an operator reads it: `arguments`, or a policy."""
    values: Mapping[str, FieldValue]
    """Checked values by the name of the setting."""


class QueueSettings:
    """The settings of one queue. Times are in milliseconds; numbers that are not set are `NONE`."""

    def __init__(self) -> None:
        self.message_ttl: i64 = NONE
        self.expires: i64 = NONE
        self.max_length: i64 = NONE
        self.max_length_bytes: i64 = NONE
        self.overflow = OVERFLOWS[0]
        self.dead_letter_exchange: str | None = None
        self.dead_letter_routing_key: str | None = None
        self.max_priority: i64 = NONE
        self.single_active_consumer = False
        self.quorum = False
        """Whether it is what RabbitMQ calls a quorum queue: persistent, and counting."""
        self.delivery_limit: i64 = NONE
        self.retry_type = RETRY_TYPES[0]
        self.retry_min: i64 = NONE
        self.retry_max: i64 = NONE
        self.retry_multiplier: i64 = NONE
        self.consumer_timeout: i64 = NONE
        self.deduplicates = False
        self.cache_size: i64 = NONE
        self.cache_ttl: i64 = NONE
        self.deduplication_header: str | None = None
        self.origins: dict[str, str] = {}
        """The name of the source that decided, by the name of the setting."""

    @property
    def rejects(self) -> bool:
        """Whether a full queue refuses messages that are published."""
        return self.overflow != OVERFLOWS[0]

    @property
    def counts_deliveries(self) -> bool:
        """Whether the queue counts how often a message was requeued."""
        return self.quorum or self.delivery_limit != NONE or self.retry_type != RETRY_TYPES[0]

    @property
    def needs_checks(self) -> bool:
        """Whether each message has to be checked: the queue is more than first in, first out."""
        return (
            self.message_ttl != NONE
            or self.max_length != NONE
            or self.max_length_bytes != NONE
            or self.max_priority > 0
            or self.deduplicates
            or self.counts_deliveries
        )


class SharedSettings:
    """The settings of queues by their arguments: queues with equal arguments share one object.

    A broker with many queues mostly declares them with few different arguments.
    """

    def __init__(self) -> None:
        self._by_key: dict[tuple[object, ...], tuple[Arguments, QueueSettings]] = {}

    def of(self, arguments: Arguments) -> tuple[Arguments, QueueSettings]:
        """Equal arguments, and the settings that they make; neither is to be changed."""
        key = sharing_key(arguments)
        if key is None:
            return arguments, compute([arguments_source(arguments)])
        found = self._by_key.get(key)
        if found is None:
            if len(self._by_key) >= SHARED_SETTINGS_MAX:
                self._by_key.clear()
            found = (arguments, compute([arguments_source(arguments)]))
            self._by_key[key] = found
        return found


def sharing_key(arguments: Arguments) -> tuple[object, ...] | None:
    """What is equal for equal arguments only: 1, 1.0 and true are equal, but of different types.

    None if an argument is a table, an array or a long text: there are few of these, and they are
    large.
    """
    key: list[object] = []
    for name, value in arguments.items():
        if not (isinstance(value, int) or (isinstance(value, str) and len(value) < TEXT_MAX)):
            return None
        key += (name, type(value), value)
    for name, type_name in arguments.types.items():
        key += (name, type_name)
    return tuple(key)


SHARED: Final = SharedSettings()


def arguments_source(arguments: Mapping[str, FieldValue]) -> Source:
    """The arguments of a declaration as a source."""
    prefix = len(ARGUMENT_PREFIX)
    values = {
        name[prefix:]: value
        for name, value in arguments.items()
        if name.startswith(ARGUMENT_PREFIX)
    }
    return Source("arguments", values)


def compute(sources: list[Source]) -> QueueSettings:
    """The settings that these sources make, the first source before the others."""
    decided: dict[str, FieldValue] = {}
    origins: dict[str, str] = {}
    for source in sources:
        for name, value in source.values.items():
            if name not in decided or (name in LIMITS and _is_less(value, decided[name])):
                decided[name] = value
                origins[name] = source.name
    return _settings(decided, origins)


def _is_less(value: FieldValue, current: FieldValue) -> bool:
    return isinstance(value, int) and isinstance(current, int) and value < current


def _settings(values: Mapping[str, FieldValue], origins: dict[str, str]) -> QueueSettings:
    made = QueueSettings()
    made.message_ttl = _number(values, "message-ttl")
    made.expires = _number(values, "expires")
    made.max_length = _number(values, "max-length")
    made.max_length_bytes = _number(values, "max-length-bytes")
    made.overflow = _text(values, "overflow") or OVERFLOWS[0]
    made.dead_letter_exchange = _text(values, "dead-letter-exchange")
    made.dead_letter_routing_key = _text(values, "dead-letter-routing-key")
    made.max_priority = _number(values, "max-priority")
    made.quorum = _text(values, "queue-type") == "quorum"
    made.single_active_consumer = values.get("single-active-consumer") is True
    made.delivery_limit = _number(values, "delivery-limit")
    made.retry_min = _number(values, "delayed-retry-min")
    # A minimum delay without a type enables the retry, as on LavinMQ.
    default = RETRY_TYPES[0] if made.retry_min == NONE else "all"
    made.retry_type = _text(values, "delayed-retry-type") or default
    made.retry_max = _number(values, "delayed-retry-max")
    made.retry_multiplier = _number(values, "delayed-retry-multiplier")
    made.consumer_timeout = _number(values, "consumer-timeout")
    made.deduplicates = values.get("message-deduplication") is True
    made.cache_size = _number(values, "cache-size")
    made.cache_ttl = _number(values, "cache-ttl")
    made.deduplication_header = _text(values, "deduplication-header")
    made.origins = origins
    return made


def _number(values: Mapping[str, FieldValue], name: str) -> int:
    value = values.get(name)
    return value if isinstance(value, int) and value >= 0 else NONE


def _text(values: Mapping[str, FieldValue], name: str) -> str | None:
    value = values.get(name)
    return value if isinstance(value, str) else None
