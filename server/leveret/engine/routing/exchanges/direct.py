"""The direct exchange: a message goes where its routing key equals the binding's."""

from leveret.engine.routing.exchanges.base import (
    Binding,
    Destination,
    Exchange,
    ExchangeDeclaration,
)
from leveret.engine.routing.exchanges.targets import TargetIndex
from leveret.engine.values.message import Message


class DirectExchange(Exchange):
    """AMQP 0-9-1, section 3.1.3.1."""

    def __init__(self, declared: ExchangeDeclaration) -> None:
        super().__init__(declared)
        self.uses_all_keys = True
        self._targets = TargetIndex()

    def match(self, routing_key: str, message: Message | None, into: list[Destination]) -> None:
        self._targets.append(routing_key, into)

    def _add(self, binding: Binding) -> None:
        self._targets.add(binding.routing_key, binding.destination)

    def _remove(self, binding: Binding) -> None:
        self._targets.remove(binding.routing_key, binding.destination)
