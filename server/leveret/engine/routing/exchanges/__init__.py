"""The exchanges: one file a type, `types` to make one by the name of its type."""

from leveret.engine.routing.exchanges.base import (
    Binding,
    Destination,
    Exchange,
    ExchangeDeclaration,
)
from leveret.engine.routing.exchanges.types import EXCHANGE_TYPES, create

__all__ = [
    "EXCHANGE_TYPES",
    "Binding",
    "Destination",
    "Exchange",
    "ExchangeDeclaration",
    "create",
]
