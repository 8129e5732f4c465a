"""The random exchange: each message goes to one binding, chosen at random.

All bindings are equally likely, so a queue bound twice is twice as likely as one bound once.
Routing keys do not matter (RabbitMQ: Random Exchange Type).
"""

from random import randrange

from leveret.engine.routing.exchanges.base import (
    Binding,
    Destination,
    Exchange,
    ExchangeDeclaration,
)
from leveret.engine.values.message import Message


class RandomExchange(Exchange):
    """The type `x-random`."""

    def __init__(self, declared: ExchangeDeclaration) -> None:
        super().__init__(declared)
        self.needs_message = True
        self._choices: list[Binding] = []
        self._places: dict[Binding, int] = {}
        """The index of each binding in the choices."""

    def match(self, routing_key: str, message: Message | None, into: list[Destination]) -> None:
        if self._choices:
            into.append(self._choices[randrange(len(self._choices))].destination)

    def _add(self, binding: Binding) -> None:
        self._places[binding] = len(self._choices)
        self._choices.append(binding)

    def _remove(self, binding: Binding) -> None:
        place = self._places.pop(binding)
        last = self._choices.pop()
        if last is not binding:
            self._choices[place] = last
            self._places[last] = place
