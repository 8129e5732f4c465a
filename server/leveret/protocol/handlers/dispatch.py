"""The table of all channel methods, and what they share: the reply, and what it waits for.

A handler takes the channel and the decoded method, and returns the reply, or None if there is none
or if it sent the reply itself because something has to follow it. It ignores `nowait`.
"""

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from pamqp.base import Frame

from leveret.protocol.channels.channel import Channel
from leveret.protocol.handlers import basic, channel, confirm, exchange, queue, tx

Handler: TypeAlias = Callable[[Any, Any], Frame | None]

HANDLERS: Final[dict[int, Handler]] = {
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


def handle(channel: Channel, method: Any) -> bool:
    """Have a method handled, and send its reply.

    If the handler wrote a definition, all that the channel sends from here on is held until the
    definition is synced. So a handler holds its reply itself in one case only: it reports a
    definition that an earlier method wrote, on any connection, which may not be synced yet.

    :returns: False if no handler has this method.
    :raises AmqpError: for an error of the peer.
    """
    handler = HANDLERS.get(method.index)
    if handler is None:
        return False
    session = channel.session
    definition_log = session.definition_log
    written = 0 if definition_log is None else definition_log.awaited_count
    offset = session.output_size()
    reply = handler(channel, method)
    if reply is not None and not getattr(method, "nowait", False):
        channel.send(reply)
    if definition_log is not None and definition_log.awaited_count != written:
        session.hold_until(definition_log.awaited_batch, channel.number, offset)
    return True
