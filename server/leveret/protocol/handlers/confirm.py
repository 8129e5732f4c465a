"""The class confirm (RabbitMQ: Consumer Acknowledgements and Publisher Confirms)."""

from collections.abc import Callable
from typing import Any, Final

from pamqp.base import Frame
from pamqp.commands import Confirm

from leveret.errors import AmqpError, ReplyCode
from leveret.protocol.channels.channel import Channel


def select(channel: Channel, method: Confirm.Select) -> Frame:
    """confirm.select: publishes are counted from 1 and confirmed."""
    if channel.transaction.selected:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, "cannot switch from tx to confirm mode")
    channel.confirms.enabled = True
    return Confirm.SelectOk()


HANDLERS: Final[dict[type[Frame], Callable[[Any, Any], Frame | None]]] = {
    Confirm.Select: select,
}
