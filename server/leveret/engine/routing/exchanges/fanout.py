"""The fanout exchange: a message goes to everything bound, whatever its routing key."""

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
from leveret.engine.values.message import Message


class FanoutExchange(Exchange):
    """AMQP 0-9-1, section 3.1.3.2."""

    def __init__(self, declared: ExchangeDeclaration) -> None:
        super().__init__(declared)
        self._targets: Targets | None = None

    def match(self, routing_key: str, message: Message | None, into: list[Destination]) -> None:
        append_targets(self._targets, into)

    def _add(self, binding: Binding) -> None:
        self._targets = with_target(self._targets, binding.destination)

    def _remove(self, binding: Binding) -> None:
        self._targets = without_target(self._targets, binding.destination)
