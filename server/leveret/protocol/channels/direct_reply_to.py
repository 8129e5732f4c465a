"""Direct reply-to: replies go straight to the requesting channel (RabbitMQ: Direct Reply-to).

A channel that consumes from `amq.rabbitmq.reply-to` gets a generated name that cannot be guessed.
Its requests carry that name as reply-to (published_properties.py), and the default exchange routes
messages for it to the channel: to a sink that ends with the consumer, and that no other method
reaches.

Replies are not persisted. A requester that does not read loses those beyond
`limits.REPLIES_WAITING_BYTES_MAX`, which is logged once. A slow requester does not throttle the
publishers of its replies, since they reply to others, too.
"""

from typing import Final

from mypy_extensions import i64

from leveret.engine.lifecycle.names import generated
from leveret.engine.queues.message_memory import message_cost
from leveret.engine.queues.queue import Queue
from leveret.engine.routing.sink import ACCEPTED, PersistTargets, Sink
from leveret.engine.values.field_table import Table
from leveret.engine.values.message import Message
from leveret.engine.vhost import VirtualHost
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import REPLIES_WAITING_BYTES_MAX
from leveret.protocol.channels.channel_consumer import ChannelConsumer
from leveret.protocol.channels.deliveries import Deliveries
from leveret.protocol.channels.published_properties import REPLY_TO

NAME_PREFIX: Final = f"{REPLY_TO}."


def is_name(queue: str) -> bool:
    """Whether a queue name belongs to direct reply-to, with or without a consumer."""
    return queue.startswith(REPLY_TO)


def has_consumer(vhost: VirtualHost, name: str) -> bool:
    """Whether a name of direct reply-to leads to a consumer; `amq.rabbitmq.reply-to` itself counts
    as one that does."""
    return name == REPLY_TO or name in vhost.router.reply_routes


def make_consumer(
    tag: str, vhost: VirtualHost, deliveries: Deliveries, *, no_ack: bool, arguments: Table
) -> "ReplyConsumer":
    """Make the consumer of a channel's replies, and route replies to it.

    :raises AmqpError: PRECONDITION_FAILED unless `no_ack` is set, or if the channel has one.
    """
    if not no_ack:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, "reply consumer cannot acknowledge")
    if deliveries.reply_to:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, "reply consumer already set")
    replies = ReplySink(generated(NAME_PREFIX), deliveries)
    vhost.router.add_reply_sink(replies)
    deliveries.reply_to = replies.name.encode()
    return ReplyConsumer(tag, replies, deliveries, arguments)


class ReplySink(Sink):
    """Takes the replies to one channel, and queues those that its connection cannot send yet."""

    def __init__(self, name: str, deliveries: Deliveries) -> None:
        super().__init__(name)
        self.queue = Queue(name)
        """The replies; its only consumer is the channel's."""
        self.waiting_bytes: i64 = 0
        """Bytes of the replies that wait to be sent."""
        self._deliveries = deliveries
        self._dropped = False

    def publish(self, message: Message, targets: PersistTargets | None = None) -> i64:
        """Send a reply, or drop it if too many wait. It is not persisted, and never
        throttles its publisher."""
        if self.waiting_bytes >= REPLIES_WAITING_BYTES_MAX:
            if not self._dropped:
                self._dropped = True
                deliveries = self._deliveries
                deliveries.session.logger.warning(
                    "replies dropped", channel=deliveries.channel, reason="requester does not read"
                )
            return ACCEPTED
        self.waiting_bytes += _cost(message)
        self.queue.publish(message)
        return ACCEPTED


class ReplyConsumer(ChannelConsumer):
    """A basic.consume of replies. No prefetch applies to it, the channel's neither."""

    def __init__(
        self, tag: str, replies: ReplySink, deliveries: Deliveries, arguments: Table
    ) -> None:
        super().__init__(
            tag,
            replies.queue,
            deliveries,
            no_ack=True,
            exclusive=False,
            prefetch=0,
            arguments=arguments,
        )
        self._replies = replies

    def can_accept(self) -> bool:
        return self.deliveries.session.writable()

    def deliver(self, message: Message, position: i64, redelivered: bool) -> None:
        self._replies.waiting_bytes -= _cost(message)
        super().deliver(message, position, redelivered)

    def end(self, vhost: VirtualHost) -> None:
        """The name leads nowhere any more, and the replies that wait are dropped."""
        self.deliveries.session.suspended.pop(self, None)
        self.deliveries.reply_to = b""
        vhost.router.remove_reply_sink(self._replies)
        self._replies.deleted = True
        self.queue.remove_consumer(self)
        self.queue.delete()


def _cost(message: Message) -> i64:
    """Bytes of memory that a waiting message takes, about."""
    return message_cost(len(message.header) + len(message.body), 1)
