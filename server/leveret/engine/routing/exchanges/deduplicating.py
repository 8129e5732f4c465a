"""The deduplicating exchange: a fanout that drops duplicates.

`values/deduplication.py` says what a duplicate is. A duplicate is dropped, counted and confirmed:
it counts as routed, so it is not returned even if it is `mandatory`, and does not go to the
alternate exchange. A message without a key is never a duplicate.
"""

from collections.abc import Callable
from typing import Final

from mypy_extensions import i64

from leveret.engine.routing.exchanges.base import (
    Binding,
    Destination,
    Exchange,
    ExchangeDeclaration,
)
from leveret.engine.routing.exchanges.targets import (
    Targets,
    append_targets,
    with_target,
    without_target,
)
from leveret.engine.routing.sink import ACCEPTED, AWAITS_COMMIT, PersistTargets, Sink
from leveret.engine.values.clock import Clock
from leveret.engine.values.deduplication import (
    CACHE_SIZE,
    CACHE_TTL,
    HEADER,
    KEYS_MAX,
    DeduplicationWindow,
    number,
)
from leveret.engine.values.field_table import Table
from leveret.engine.values.message import Message
from leveret.errors import AmqpError, ReplyCode

TYPE: Final = "x-message-deduplication"
PERSISTENCE: Final = "x-cache-persistence"
"""An argument of the plugin, which is checked and has no effect: a durable exchange persists the
keys of persistent messages."""


class DeduplicatingExchange(Exchange):
    """The type `x-message-deduplication`.

    :raises AmqpError: PRECONDITION_FAILED for arguments it cannot have.
    """

    def __init__(self, declared: ExchangeDeclaration) -> None:
        super().__init__(declared)
        self.needs_message = True
        self.records = True
        self.window = _window(declared.arguments)
        self._clock: Clock | None = None
        self._persist_key: Callable[[bytes, int], None] | None = None
        self._discard = DuplicateDiscard(self.window)
        self._targets: Targets | None = None

    def attach(self, clock: Clock, persist_key: Callable[[bytes, int], None]) -> None:
        """Begin to deduplicate, in a virtual host.

        :param persist_key: called with the key of a persistent message, and when it expires, if the
            exchange is durable.
        """
        self._clock = clock
        self._persist_key = persist_key

    def match(self, routing_key: str, message: Message | None, into: list[Destination]) -> None:
        append_targets(self._targets, into)

    def intercept(self, message: Message) -> Sink | None:
        clock = self._clock
        if clock is None:
            return None
        key = self.window.key_of(message.header)
        return self._discard if key is not None and self.window.has(key, clock.now) else None

    def record(self, message: Message) -> None:
        clock, persist_key = self._clock, self._persist_key
        key = self.window.key_of(message.header)
        if clock is None or key is None:
            return
        expires_at = self.window.add(key, message.header, clock.now)
        if persist_key is not None and message.persistent and self.durable:
            persist_key(key, int(expires_at))

    def _add(self, binding: Binding) -> None:
        self._targets = with_target(self._targets, binding.destination)

    def _remove(self, binding: Binding) -> None:
        self._targets = without_target(self._targets, binding.destination)


class DuplicateDiscard(Sink):
    """Counts duplicates and drops them."""

    def __init__(self, window: DeduplicationWindow) -> None:
        super().__init__()
        self._window = window

    def publish(self, message: Message, targets: PersistTargets | None = None) -> i64:
        self._window.duplicates += 1
        # The message that it is a duplicate of may be in the open batch.
        return ACCEPTED | AWAITS_COMMIT if message.persistent else ACCEPTED


def _window(arguments: Table) -> DeduplicationWindow:
    size = number(arguments, CACHE_SIZE)
    if size is None:
        raise _refused(
            f"Missing or invalid argument, '{CACHE_SIZE}' must be an integer greater than 0"
        )
    if size > KEYS_MAX:
        raise _refused(f"Invalid argument, '{CACHE_SIZE}' must not be greater than {KEYS_MAX}")
    ttl = number(arguments, CACHE_TTL)
    if ttl is None:
        raise _refused(f"Invalid argument, '{CACHE_TTL}' must be an integer greater than 0")
    header = arguments.get(HEADER, HEADER)
    if not isinstance(header, str):
        raise _refused(f"Invalid argument, '{HEADER}' must be a string")
    if arguments.get(PERSISTENCE, "disk") not in ("disk", "memory"):
        raise _refused(f"Invalid argument, '{PERSISTENCE}' must be either 'disk' or 'memory'")
    return DeduplicationWindow(size, ttl, header)


def _refused(text: str) -> AmqpError:
    return AmqpError(ReplyCode.PRECONDITION_FAILED, text)
