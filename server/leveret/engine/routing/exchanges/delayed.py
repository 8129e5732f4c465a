"""The delayed message exchange: a message with the header `x-delay` is routed later.

The header is a delay in milliseconds. The argument `x-delayed-type` names the exchange type that
routes the message when it is due, with the bindings there are then. Until it is due it is in the
sink `delayed`, where no consumer sees it.

The type is that of the community plugin `rabbitmq_delayed_message_exchange`, with its rules:

- `x-delay` may be an integer of any width, a fraction, which is cut, or text with a number in it. A
  message without it, or with anything else, or with a number below 1, is routed at once.
- A message whose delay is over carries it as a negative number. So a consumer can tell, and another
  delayed exchange does not delay the message again.
- A delayed message counts as routed, so it is not returned even if it is `mandatory`.

Delays have 64 bits here, where the plugin routes a message with a delay of more than 49 days at
once.
"""

from typing import Final

from leveret.engine.routing.exchanges.base import (
    Binding,
    Destination,
    Exchange,
    ExchangeDeclaration,
)
from leveret.engine.routing.sink import Sink
from leveret.engine.values.delay import delay_of
from leveret.engine.values.field_table import Table
from leveret.engine.values.message import Message
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work

TYPE: Final = "x-delayed-message"
ROUTED_AS: Final = "x-delayed-type"
"""The argument that names the type that routes messages when they are due."""


class DelayedExchange(Exchange):
    """The type `x-delayed-message`."""

    def __init__(self, inner: Exchange, declared: ExchangeDeclaration) -> None:
        """
        :param inner: an exchange of the type that routes, which nothing else refers to.
        """
        super().__init__(declared)
        self.needs_message = True
        self.uses_all_keys = inner.uses_all_keys
        self.records = inner.records
        self.delayed: Sink | None = None
        """The sink of delayed messages; None while the exchange is in no virtual host."""
        self.inner = inner

    def match(self, routing_key: str, message: Message | None, into: list[Destination]) -> None:
        self.inner.match(routing_key, message, into)

    def begin_match(
        self,
        routing_key: str,
        message: Message | None,
        into: list[Destination],
        time_slice: TimeSlice,
    ) -> Work | None:
        return self.inner.begin_match(routing_key, message, into, time_slice)

    def intercept(self, message: Message) -> Sink | None:
        delayed = self.delayed
        if delayed is not None and delay_of(message.header) > 0:
            return delayed
        return self.inner.intercept(message)

    def record(self, message: Message) -> None:
        self.inner.record(message)

    def recent(self) -> list[Message]:
        return self.inner.recent()

    def validate(self, routing_key: str, arguments: Table) -> None:
        self.inner.validate(routing_key, arguments)

    def _add(self, binding: Binding) -> None:
        self.inner._add(binding)

    def _remove(self, binding: Binding) -> None:
        self.inner._remove(binding)
