"""Direct reply-to: replies go straight to the channel that asked (RabbitMQ: Direct Reply-to).

A channel that consumes from `amq.rabbitmq.reply-to` gets a name that nobody can guess; its requests
carry it in place of that one (publishing.py), and whoever publishes to it through the default
exchange reaches the channel. Behind the name is a queue that no other method knows, of this one
consumer, and it is gone with the consumer.

Replies are not kept: a requester that does not read loses those beyond
`limits.REPLIES_WAITING_BYTES_MAX`, and its log says so once. They are not held against who sends
them, so that one requester cannot hold up the replies to all others.
"""

from typing import Final

from mypy_extensions import i64

from leveret.engine.lifecycle.names import generated
from leveret.engine.queues.queue import TAKEN, Queue
from leveret.engine.values.field_table import Table
from leveret.engine.values.message import Message
from leveret.engine.vhost import VirtualHost
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import MESSAGE_OVERHEAD_BYTES, REPLIES_WAITING_BYTES_MAX
from leveret.protocol.channels.deliveries import ChannelConsumer, Deliveries
from leveret.protocol.channels.published_properties import REPLY_TO

NAME_PREFIX: Final = f"{REPLY_TO}."


def is_name(queue: str) -> bool:
    """Whether the name of a queue is one of direct reply-to, be there a consumer or not."""
    return queue.startswith(REPLY_TO)


def has_consumer(vhost: VirtualHost, name: str) -> bool:
    """Whether a name of direct reply-to leads to a consumer; of `amq.rabbitmq.reply-to` itself it
    is always said."""
    return name == REPLY_TO or name in vhost.replies


def make_consumer(
    tag: str, vhost: VirtualHost, deliveries: Deliveries, *, no_ack: bool, arguments: Table
) -> "ReplyConsumer":
    """The consumer of a channel's replies, reached from now on.

    :raises AmqpError: PRECONDITION_FAILED if it is to acknowledge, or the channel has one.
    """
    if not no_ack:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, "reply consumer cannot acknowledge")
    if deliveries.reply_to:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, "reply consumer already set")
    queue = ReplyQueue(generated(NAME_PREFIX), deliveries)
    vhost.add_replies(queue)
    deliveries.reply_to = queue.name.encode()
    return ReplyConsumer(tag, queue, deliveries, arguments)


class ReplyQueue(Queue):
    """The replies to one channel that its connection has no room for yet."""

    def __init__(self, name: str, deliveries: Deliveries) -> None:
        super().__init__(name)
        self.waiting: i64 = 0
        """Bytes of the replies that wait."""
        self._deliveries = deliveries
        self._dropped = False

    def publish(self, message: Message) -> i64:
        if self.waiting >= REPLIES_WAITING_BYTES_MAX:
            if not self._dropped:
                self._dropped = True
                deliveries = self._deliveries
                deliveries.session.logger.warning(
                    "replies dropped", channel=deliveries.channel, reason="requester does not read"
                )
            return TAKEN
        self.waiting += cost(message)
        return super().publish(message)


class ReplyConsumer(ChannelConsumer):
    """A basic.consume of replies. No prefetch holds it up, the channel's neither."""

    def __init__(
        self, tag: str, queue: ReplyQueue, deliveries: Deliveries, arguments: Table
    ) -> None:
        super().__init__(
            tag, queue, deliveries, no_ack=True, exclusive=False, prefetch=0, arguments=arguments
        )
        self._replies = queue

    def can_take(self) -> bool:
        return self.deliveries.session.writable()

    def deliver(self, message: Message, position: i64, redelivered: bool) -> None:
        self._replies.waiting -= cost(message)
        super().deliver(message, position, redelivered)

    def end(self, vhost: VirtualHost) -> None:
        """Nobody is reached by the name any more, and what waits is dropped."""
        self.deliveries.session.suspended.pop(self, None)
        self.deliveries.reply_to = b""
        vhost.remove_replies(self.queue)
        self.queue.remove_consumer(self)
        self.queue.delete()


def cost(message: Message) -> i64:
    """Bytes of memory that a waiting message takes, about."""
    return len(message.header) + len(message.body) + MESSAGE_OVERHEAD_BYTES
