"""The class exchange (AMQP 0-9-1, section 1.6, with RabbitMQ's bind and unbind)."""

from collections.abc import Callable
from typing import Any, Final

from pamqp.base import Frame
from pamqp.commands import Exchange

from leveret.engine.access.rights import CONFIGURE, READ, WRITE
from leveret.engine.lifecycle import bindings, exchanges
from leveret.engine.lifecycle.names import clean, refuse_default_exchange
from leveret.engine.routing.exchanges.base import ExchangeDeclaration
from leveret.protocol.channels.audit import audit
from leveret.protocol.channels.channel import Channel


def declare(channel: Channel, method: Exchange.Declare) -> Frame:
    """exchange.declare."""
    name = clean(method.exchange)
    if method.passive:
        exchange = exchanges.check_exchange(channel.vhost, name)
    else:
        is_new = name not in channel.vhost.exchanges
        exchange = exchanges.declare_exchange(
            channel.vhost,
            ExchangeDeclaration(
                method.exchange_type,
                name,
                durable=method.durable,
                auto_delete=method.auto_delete,
                internal=method.internal,
                arguments=method.arguments or {},
            ),
            channel.session.rights,
        )
        if is_new:
            audit(channel, "exchange declared", name=name)
    if exchange.durable:
        channel.hold_until_defined()
    return Exchange.DeclareOk()


def check_source(channel: Channel, exchange: str, routing_key: str) -> None:
    """Check the right to bind to an exchange, and of a topic exchange with this routing key.

    :raises AmqpError: ACCESS_REFUSED.
    """
    rights = channel.session.rights
    rights.check_exchange(READ, exchange)
    if rights.has_topics and channel.vhost.router.is_topic(exchange):
        rights.check_topic(READ, exchange, routing_key)


def delete(channel: Channel, method: Exchange.Delete) -> Frame:
    """exchange.delete."""
    name = clean(method.exchange)
    refuse_default_exchange(name)
    exchanges.refuse_predeclared(channel.vhost, name)
    channel.session.rights.check_exchange(CONFIGURE, name)
    is_there = name in channel.vhost.exchanges
    exchanges.delete_exchange(channel.vhost, name, if_unused=method.if_unused)
    if is_there:
        audit(channel, "exchange deleted", name=name)
    channel.hold_until_defined()
    return Exchange.DeleteOk()


def bind(channel: Channel, method: Exchange.Bind) -> Frame:
    """exchange.bind."""
    destination, source = clean(method.destination), clean(method.source)
    channel.session.rights.check_exchange(WRITE, destination)
    check_source(channel, source, method.routing_key)
    durable = bindings.bind_exchange(
        channel.vhost,
        destination,
        source,
        method.routing_key,
        method.arguments or {},
    )
    key = method.routing_key
    audit(channel, "exchange bound", source=source, destination=destination, routing_key=key)
    if durable:
        channel.hold_until_defined()
    return Exchange.BindOk()


def unbind(channel: Channel, method: Exchange.Unbind) -> Frame:
    """exchange.unbind."""
    destination, source = clean(method.destination), clean(method.source)
    channel.session.rights.check_exchange(WRITE, destination)
    check_source(channel, source, method.routing_key)
    bindings.unbind_exchange(
        channel.vhost,
        destination,
        source,
        method.routing_key,
        method.arguments or {},
    )
    key = method.routing_key
    audit(channel, "exchange unbound", source=source, destination=destination, routing_key=key)
    channel.hold_until_defined()
    return Exchange.UnbindOk()


HANDLERS: Final[dict[type[Frame], Callable[[Any, Any], Frame | None]]] = {
    Exchange.Declare: declare,
    Exchange.Delete: delete,
    Exchange.Bind: bind,
    Exchange.Unbind: unbind,
}
