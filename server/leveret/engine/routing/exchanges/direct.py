"""The direct exchange: a message goes where its routing key equals the binding's."""

from leveret.engine.routing.exchanges.base import (
    Binding,
    Destination,
    Exchange,
    ExchangeDeclaration,
    Targets,
    add_target,
    remove_target,
)
from leveret.engine.values.message import Message


class DirectExchange(Exchange):
    """AMQP 0-9-1, section 3.1.3.1."""

    def __init__(self, declared: ExchangeDeclaration) -> None:
        super().__init__(declared)
        self.uses_all_keys = True
        self._targets: dict[str, Targets] = {}

    def match(self, routing_key: str, message: Message | None, into: list[Destination]) -> None:
        targets = self._targets.get(routing_key)
        if targets is not None:
            into.extend(targets)

    def _add(self, binding: Binding) -> None:
        targets = self._targets.get(binding.routing_key)
        if targets is None:
            targets = {}
            self._targets[binding.routing_key] = targets
        add_target(targets, binding.destination)

    def _remove(self, binding: Binding) -> None:
        targets = self._targets[binding.routing_key]
        remove_target(targets, binding.destination)
        if not targets:
            del self._targets[binding.routing_key]
