"""The delayed message exchange: what is published with a header `x-delay` is routed later.

The header says for how many milliseconds a message is to wait. The argument `x-delayed-type` names
the exchange type that routes it then, with the bindings there are then. Until it is due it lies
where no queue's consumers see it, in what `waiting` is.

The type is that of the community plugin `rabbitmq_delayed_message_exchange`, with its rules:

- `x-delay` may be an integer of any width, a fraction, which is cut, or text with a number in it. A
  message without it, or with anything else, or with a number below 1, is routed at once.
- A message that has waited carries its delay as a negative number. That is how a consumer can tell,
  and why it does not wait again on its further way.
- It counts as routed while it waits, so it is not returned, though it be `mandatory`.

Delays have 64 bits here, where the plugin routes at once what is to wait longer than 49 days.
"""

import struct
from typing import TYPE_CHECKING, Final

from mypy_extensions import i64

from leveret.engine.routing.exchanges.base import Binding, Destination, Exchange
from leveret.engine.values import properties
from leveret.engine.values.field_table import Table
from leveret.engine.values.message import Message

if TYPE_CHECKING:
    from leveret.engine.queues.delayed_store import DelayedStore

TYPE: Final = "x-delayed-message"
ROUTED_AS: Final = "x-delayed-type"
"""The argument that names the type that routes what is due."""

DELAY: Final = b"x-delay"
DELAY_MS_MAX: Final = 0x3FFFFFFFFFFFFFFF
"""Milliseconds beyond which a delay is as good as this one, so that no sum leaves 64 bits."""

_NUMBER_OCTETS_MAX: Final = 24


class DelayedExchange(Exchange):
    """The type `x-delayed-message`."""

    def __init__(
        self,
        inner: Exchange,
        name: str,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        arguments: Table,
    ) -> None:
        """`inner` is an exchange of the type that routes, which nobody else knows."""
        super().__init__(name, durable, auto_delete, internal, arguments)
        self.type = TYPE
        self.per_message = True
        self.by_each_key = inner.by_each_key
        self.waiting: DelayedStore | None = None
        """Where messages wait, from the time the exchange is in a virtual host."""
        self.inner = inner

    def match(self, routing_key: str, message: Message | None, into: list[Destination]) -> None:
        waiting = self.waiting
        if waiting is not None and message is not None and delay_of(message.header) > 0:
            into.append(waiting)
        else:
            self.inner.match(routing_key, message, into)

    def recent(self) -> list[Message]:
        return self.inner.recent()

    def validate(self, routing_key: str, arguments: Table) -> None:
        self.inner.validate(routing_key, arguments)

    def _add(self, binding: Binding) -> None:
        self.inner._add(binding)

    def _remove(self, binding: Binding) -> None:
        self.inner._remove(binding)


def delay_of(header: bytes) -> i64:
    """For how many milliseconds a message with this content header is to wait; 0 is not at all."""
    value = properties.header_value(header, DELAY)
    if value is None:
        return 0
    delay = _number(value)
    return min(delay, DELAY_MS_MAX) if delay > 0 else 0


def has_waited(header: bytes) -> bytes:
    """The content header of a message that has waited."""
    delay = -delay_of(header)
    if delay >= -0x80000000:
        value = b"I" + int(delay).to_bytes(4, "big", signed=True)
    else:
        value = properties.long_integer(delay)
    return properties.with_headers(header, {DELAY: value})


def _number(value: bytes) -> int:
    """The whole number in a value of a table, its type letter first; 0 if there is none."""
    letter = value[:1]
    if letter == b"S":
        text = value[5:]
        digits = text[1:] if text[:1] in (b"+", b"-") else text
        return int(text) if digits.isdigit() and len(text) <= _NUMBER_OCTETS_MAX else 0
    if letter in (b"f", b"d"):
        number: float = struct.unpack(">f" if letter == b"f" else ">d", value[1:])[0]
        # Neither infinite nor no number at all.
        return int(number) if abs(number) <= DELAY_MS_MAX else 0
    if letter == b"D":
        return int.from_bytes(value[2:], "big", signed=True) // int(10 ** value[1])
    return properties.integer_of(value)
