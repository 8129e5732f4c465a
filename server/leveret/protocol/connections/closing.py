"""The close methods that answer an error, which is logged."""

from pamqp.commands import Channel as ChannelMethods
from pamqp.commands import Connection as ConnectionMethods

from leveret.errors import AmqpError, ReplyCode
from leveret.protocol.channels.session import Session
from leveret.protocol.wire import methods


def close_connection(
    session: Session, error: AmqpError, channel: int, method: int, logged: bool
) -> ConnectionMethods.Close:
    """connection.close for an error in a frame.

    :param channel: of the frame.
    :param method: class id and method id that the error is about.
    """
    class_id, method_id = divmod(method, 0x10000)
    if logged:
        _log(session, "connection closed", error, channel, method)
    return ConnectionMethods.Close(int(error.code), error.reply_text, class_id, method_id)


def close_channel(
    session: Session, error: AmqpError, channel: int, method: int
) -> ChannelMethods.Close:
    """channel.close for an error in a frame, as `close_connection`."""
    class_id, method_id = divmod(method, 0x10000)
    _log(session, "channel closed", error, channel, method)
    return ChannelMethods.Close(int(error.code), error.reply_text, class_id, method_id)


def _log(session: Session, event: str, error: AmqpError, channel: int, method: int) -> None:
    class_id, method_id = divmod(method, 0x10000)
    # The broker that passes a connection on tries again, and tells its client in the end.
    is_tried_again = session.peer.vouched is not None and error.code is ReplyCode.INTERNAL_ERROR
    log = session.logger.debug if is_tried_again else session.logger.warning
    log(
        event,
        channel=channel or None,
        code=int(error.code),
        text=error.reply_text,
        method=methods.method_name(class_id, method_id) if class_id else "",
        user=session.user,
    )
