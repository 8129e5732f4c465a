"""The classes channel and access, without open and close, which the connection handles."""

from collections.abc import Callable
from typing import Any, Final

from pamqp.base import Frame
from pamqp.commands import Channel as ChannelMethods

from leveret.errors import AmqpError, ReplyCode
from leveret.protocol.channels.channel import Channel
from leveret.protocol.wire.methods import AccessRequest, AccessRequestOk

TICKET: Final = 1
"""The only ticket. Methods that carry one ignore it."""


def flow(channel: Channel, method: ChannelMethods.Flow) -> Frame:
    """channel.flow: deliveries cannot be stopped this way, as in RabbitMQ."""
    if not method.active:
        raise AmqpError(ReplyCode.NOT_IMPLEMENTED, "active=false")
    return ChannelMethods.FlowOk(active=True)


def request(channel: Channel, method: AccessRequest) -> Frame:
    """access.request: always granted, since permissions do not depend on tickets."""
    return AccessRequestOk(ticket=TICKET)


HANDLERS: Final[dict[type[Frame], Callable[[Any, Any], Frame | None]]] = {
    ChannelMethods.Flow: flow,
    AccessRequest: request,
}
