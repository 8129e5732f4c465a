"""The recent history exchange: a fanout whose last messages go to every new binding, too.

The argument `x-recent-history-length` is the length of the history, 20 messages without it. A new
binding gets the history at once, the oldest message first; so does a binding of the same queue with
another key or other arguments. A message whose header `x-recent-history-no-store` is true is not
added (RabbitMQ: Recent History Exchange).

As in RabbitMQ, the history is in memory and begins anew after a restart. It is bounded in bytes,
too (`limits.HISTORY_BYTES_MAX`), where RabbitMQ's is not: the oldest messages are dropped early,
but never the last one.
"""

from collections import deque
from typing import Final

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
from leveret.engine.values.field_table import Table, describe
from leveret.engine.values.message import Message
from leveret.engine.values.properties import header_value
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import HISTORY_BYTES_MAX, HISTORY_MESSAGE_BYTES

LENGTH: Final = "x-recent-history-length"
LENGTH_DEFAULT: Final = 20
NO_STORE: Final = b"x-recent-history-no-store"

_TRUE: Final = b"t\x01"


class RecentHistoryExchange(Exchange):
    """The type `x-recent-history`.

    :raises AmqpError: PRECONDITION_FAILED for a length that is no positive integer.
    """

    def __init__(self, declared: ExchangeDeclaration) -> None:
        super().__init__(declared)
        self.needs_message = True
        self.records = True
        self._length = _length(declared.arguments)
        self._history: deque[Message] = deque()
        self._bytes = 0
        self._targets: Targets | None = None

    def match(self, routing_key: str, message: Message | None, into: list[Destination]) -> None:
        append_targets(self._targets, into)

    def recent(self) -> list[Message]:
        return list(self._history)

    def record(self, message: Message) -> None:
        if header_value(message.header, NO_STORE) == _TRUE:
            return
        history = self._history
        history.append(message)
        self._bytes += _size(message)
        while len(history) > self._length or (len(history) > 1 and self._bytes > HISTORY_BYTES_MAX):
            self._bytes -= _size(history.popleft())

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


def _size(message: Message) -> int:
    return len(message.header) + len(message.body) + HISTORY_MESSAGE_BYTES
