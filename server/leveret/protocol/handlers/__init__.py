"""What each method does: one file an AMQP class, one table of all.

A handler takes the channel, or the connection for the class connection, and the decoded method; it
returns the reply, or None where there is none. Whether the client wants a reply (`nowait`) is not
its affair.
"""

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from pamqp.base import Frame

from leveret.protocol.handlers import basic, channel, confirm, connection, exchange, queue, tx

Handler: TypeAlias = Callable[[Any, Any], Frame | None]

CHANNEL_HANDLERS: Final[dict[int, Handler]] = {
    method.index: handler
    for table in (
        basic.HANDLERS,
        channel.HANDLERS,
        confirm.HANDLERS,
        exchange.HANDLERS,
        queue.HANDLERS,
        tx.HANDLERS,
    )
    for method, handler in table.items()
}
"""The methods of an open channel, by class id and method id."""

CONNECTION_HANDLERS: Final[dict[int, Handler]] = {
    method.index: handler for method, handler in connection.HANDLERS.items()
}
"""The methods of channel 0, by class id and method id."""
