"""The channels of one connection, by number, and how many there may be."""

from pamqp.commands import Channel as ChannelMethods

from leveret.engine.access.open_connections import OpenConnection
from leveret.engine.broker import Broker
from leveret.errors import AmqpError, ReplyCode
from leveret.protocol.channels.channel import Channel
from leveret.protocol.channels.session import Session
from leveret.protocol.connections import handshake
from leveret.protocol.states import ChannelEvent
from leveret.protocol.wire.frames import CHANNEL_CLOSE, CHANNEL_CLOSE_OK


class ChannelTable:
    """Those that are open, and those that wait for the client's channel.close-ok."""

    def __init__(self) -> None:
        self.by_number: dict[int, Channel] = {}
        self.most = 0
        """As many may be open, as connection.tune-ok says."""

    def is_full(self) -> bool:
        """Whether as many are open as may be."""
        return len(self.by_number) >= self.most

    def open(
        self, number: int, session: Session, broker: Broker, opened: OpenConnection | None
    ) -> Channel:
        """Open a channel.

        :param opened: counts the channels of its user.
        :raises AmqpError: NOT_ALLOWED at a limit of channels, RESOURCE_ERROR if the broker has no
            memory for it.
        """
        if self.is_full():
            raise AmqpError(
                ReplyCode.NOT_ALLOWED,
                f"number of channels opened ({len(self.by_number)}) has reached the negotiated "
                f"channel_max ({self.most})",
            )
        if broker.memory.refuses():
            raise AmqpError(ReplyCode.RESOURCE_ERROR, "the broker is low on memory")
        if opened is not None:
            handshake.check_channel_limit(broker, opened)
            opened.channels += 1
        channel = Channel(session, number, broker.config)
        self.by_number[number] = channel
        channel.vhost.churn.channel_created += 1
        return channel

    def remove(self, channel: Channel, opened: OpenConnection | None) -> None:
        """Forget a channel that has ended."""
        del self.by_number[channel.number]
        _count_end(channel)
        if opened is not None:
            opened.channels -= 1

    def handle_while_closing(
        self, channel: Channel, method: int, opened: OpenConnection | None
    ) -> None:
        """Handle a method of a channel that the broker has sent channel.close on: all but the end
        is discarded (AMQP 0-9-1, 2.2.5).

        :param method: its class id and method id.
        """
        if method == CHANNEL_CLOSE:
            # Both sides closed at the same time: the client still has to answer the broker's close.
            channel.move(ChannelEvent.CLOSE)
            channel.send(ChannelMethods.CloseOk())
        elif method == CHANNEL_CLOSE_OK:
            channel.move(ChannelEvent.CLOSE_OK)
            self.remove(channel, opened)

    def disconnect(self) -> list[Channel]:
        """End them all, as the connection ends.

        :returns: those that were open.
        """
        channels = self.by_number.values()
        ending = [channel for channel in channels if channel.open]
        for channel in channels:
            channel.confirms.flush()
            channel.move(ChannelEvent.DISCONNECT)
            _count_end(channel)
        self.by_number = {}
        return ending


def _count_end(channel: Channel) -> None:
    vhost = channel.vhost
    vhost.churn.channel_closed += 1
    vhost.gone.publish_confirm += channel.confirms.published_count
