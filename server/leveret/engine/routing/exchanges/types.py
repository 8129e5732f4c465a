"""The exchange types by name, and making an exchange from its declaration."""

from typing import Final

from leveret.engine.routing.exchanges.base import ALTERNATE_EXCHANGE, Exchange, ExchangeDeclaration
from leveret.engine.routing.exchanges.consistent_hash import ConsistentHashExchange
from leveret.engine.routing.exchanges.deduplicating import DeduplicatingExchange
from leveret.engine.routing.exchanges.delayed import ROUTED_AS, DelayedExchange
from leveret.engine.routing.exchanges.delayed import TYPE as DELAYED
from leveret.engine.routing.exchanges.direct import DirectExchange
from leveret.engine.routing.exchanges.fanout import FanoutExchange
from leveret.engine.routing.exchanges.headers import HeadersExchange
from leveret.engine.routing.exchanges.modulus_hash import ModulusHashExchange
from leveret.engine.routing.exchanges.random import RandomExchange
from leveret.engine.routing.exchanges.recent_history import RecentHistoryExchange
from leveret.engine.routing.exchanges.topic import TopicExchange
from leveret.engine.values.field_table import Table, type_name
from leveret.errors import AmqpError, ReplyCode

EXCHANGE_TYPES: Final[dict[str, type[Exchange]]] = {
    "direct": DirectExchange,
    "fanout": FanoutExchange,
    "headers": HeadersExchange,
    "topic": TopicExchange,
    "x-consistent-hash": ConsistentHashExchange,
    "x-message-deduplication": DeduplicatingExchange,
    "x-modulus-hash": ModulusHashExchange,
    "x-random": RandomExchange,
    "x-recent-history": RecentHistoryExchange,
}
"""By name: the values of the field `type` of exchange.declare and of the argument
`x-delayed-type`. `x-delayed-message` is a value of the first only, and made by `create`."""


def create(declared: ExchangeDeclaration, vhost: str = "/") -> Exchange:
    """Make an exchange without bindings. `vhost` is only named in error texts.

    :raises AmqpError: PRECONDITION_FAILED for an unknown type, an `alternate-exchange` that is not
        a string, and an argument that the type cannot take.
    """
    check(declared, vhost)
    if declared.type == DELAYED:
        routed_as = _routing_type(declared.arguments)
        inner = EXCHANGE_TYPES[routed_as](declared._replace(type=routed_as))
        return DelayedExchange(inner, declared)
    return EXCHANGE_TYPES[declared.type](declared)


def check(declared: ExchangeDeclaration, vhost: str) -> None:
    """Check the type of a declaration, and the arguments that every type has.

    The arguments of one type are checked when the exchange is made: RabbitMQ does not check them in
    a redeclaration.

    :raises AmqpError: PRECONDITION_FAILED.
    """
    if declared.type not in EXCHANGE_TYPES and declared.type != DELAYED:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, f"unknown exchange type '{declared.type}'")
    if ALTERNATE_EXCHANGE in declared.arguments:
        alternate = declared.arguments[ALTERNATE_EXCHANGE]
        if not isinstance(alternate, str):
            raise AmqpError(
                ReplyCode.PRECONDITION_FAILED,
                f"invalid type '{type_name(alternate)}' for arg '{ALTERNATE_EXCHANGE}' "
                f"in exchange '{declared.name}' in vhost '{vhost}'",
            )


def _routing_type(arguments: Table) -> str:
    """The type that routes for a delayed exchange, which cannot be a delayed one."""
    routed_as = arguments.get(ROUTED_AS)
    if not isinstance(routed_as, str) or routed_as not in EXCHANGE_TYPES:
        raise AmqpError(
            ReplyCode.PRECONDITION_FAILED,
            f"Invalid argument, '{ROUTED_AS}' must be an existing exchange type",
        )
    return routed_as
