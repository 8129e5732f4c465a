"""The exchange types by name, and the making of an exchange from what a client declares."""

from typing import Final

from leveret.engine.exchanges.base import Exchange
from leveret.engine.exchanges.direct import DirectExchange
from leveret.engine.exchanges.fanout import FanoutExchange
from leveret.engine.exchanges.headers import HeadersExchange
from leveret.engine.exchanges.topic import TopicExchange
from leveret.engine.table import Table, type_name
from leveret.errors import AmqpError, ReplyCode

EXCHANGE_TYPES: Final[dict[str, type[Exchange]]] = {
    "direct": DirectExchange,
    "fanout": FanoutExchange,
    "headers": HeadersExchange,
    "topic": TopicExchange,
}
"""What `exchange.declare` may ask for in its field `type`."""


def create(
    type: str,
    name: str,
    durable: bool,
    auto_delete: bool,
    internal: bool,
    arguments: Table,
    vhost: str = "/",
) -> Exchange:
    """Make an exchange without bindings. `vhost` is only named in error texts.

    Raises AmqpError(PRECONDITION_FAILED) for an unknown type, and for an `alternate-exchange`
    that is not a string.
    """
    made = EXCHANGE_TYPES.get(type)
    if made is None:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, f"unknown exchange type '{type}'")
    if "alternate-exchange" in arguments:
        alternate = arguments["alternate-exchange"]
        if not isinstance(alternate, str):
            raise AmqpError(
                ReplyCode.PRECONDITION_FAILED,
                f"invalid type '{type_name(alternate)}' for arg 'alternate-exchange' "
                f"in exchange '{name}' in vhost '{vhost}'",
            )
    return made(name, durable, auto_delete, internal, arguments)
