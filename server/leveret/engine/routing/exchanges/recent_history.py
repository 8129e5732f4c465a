"""The recent history exchange: a fanout whose last messages go to every new binding, too.

The argument `x-recent-history-length` is the length of the history, 20 messages without it. A new
binding gets the history at once, the oldest message first; so does a binding of the same queue with
another key or other arguments. A message whose header `x-recent-history-no-store` is true is not
added (RabbitMQ: Recent History Exchange).

As in RabbitMQ, the history is in memory and begins anew after a restart. It is bounded in bytes,
too (`limits.HISTORY_BYTES_MAX`), where RabbitMQ's is not: the oldest messages are dropped early,
but never the last one. All histories together take a share of the memory limit at most: beyond it,
those that take more than an equal part of it drop messages, the last one too.
"""

from collections import deque
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
from leveret.engine.values.cache_share import Cache, CacheShare
from leveret.engine.values.field_table import Table, describe
from leveret.engine.values.message import Message
from leveret.engine.values.properties import header_value
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import HISTORY_BYTES_MAX, MESSAGE_OVERHEAD_BYTES

LENGTH: Final = "x-recent-history-length"
LENGTH_DEFAULT: Final = 20
NO_STORE: Final = b"x-recent-history-no-store"

_TRUE: Final = b"t\x01"


class History(Cache):
    """The last messages of an exchange, the oldest first."""

    def __init__(self, length: i64) -> None:
        super().__init__()
        self.messages: deque[Message] = deque()
        self._length = length
        self._bytes: i64 = 0
        self._share: CacheShare | None = None

    def attach(self, share: CacheShare) -> None:
        """Charge what it takes to a share of the memory."""
        self._share = share

    def append(self, message: Message) -> None:
        """Add the last message, and drop the oldest ones that exceed a limit."""
        messages = self.messages
        size = _size(message)
        messages.append(message)
        self._bytes += size
        while len(messages) > self._length or (
            len(messages) > 1 and self._bytes > HISTORY_BYTES_MAX
        ):
            size -= self.drop_oldest()
        if self._share is not None:
            self._share.add(self, size)

    def drop_oldest(self) -> i64:
        if not self.messages:
            return 0
        size = _size(self.messages.popleft())
        self._bytes -= size
        return size

    def delete(self) -> None:
        """Charge nothing any more."""
        if self._share is not None:
            self._share.remove(self)
            self._share = None


class RecentHistoryExchange(Exchange):
    """The type `x-recent-history`.

    :raises AmqpError: PRECONDITION_FAILED for a length that is no positive integer.
    """

    def __init__(self, declared: ExchangeDeclaration) -> None:
        super().__init__(declared)
        self.needs_message = True
        self.records = True
        self.history = History(_length(declared.arguments))
        self._targets: Targets | None = None

    def match(self, routing_key: str, message: Message | None, into: list[Destination]) -> None:
        append_targets(self._targets, into)

    def recent(self) -> list[Message]:
        return list(self.history.messages)

    def record(self, message: Message) -> None:
        if header_value(message.header, NO_STORE) != _TRUE:
            self.history.append(message)

    def _add(self, binding: Binding) -> None:
        self._targets = with_target(self._targets, binding.destination)

    def _remove(self, binding: Binding) -> None:
        self._targets = without_target(self._targets, binding.destination)


def _length(arguments: Table) -> int:
    value = arguments.get(LENGTH, LENGTH_DEFAULT)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise AmqpError(
            ReplyCode.PRECONDITION_FAILED,
            f"Invalid argument {describe(value)}, '{LENGTH}' must be a positive integer",
        )
    return value


def _size(message: Message) -> i64:
    return len(message.header) + len(message.body) + MESSAGE_OVERHEAD_BYTES
