"""The class basic (AMQP 0-9-1, section 1.8). `channels/` has publish, ack, reject and nack."""

from collections.abc import Callable
from typing import Any, Final, cast

from pamqp.base import Frame
from pamqp.commands import Basic

from leveret.engine.access.rights import READ
from leveret.engine.lifecycle.names import find_queue, generated, the_queue
from leveret.engine.lifecycle.queue_arguments import CONSUMER_ARGUMENTS, check_arguments
from leveret.engine.lifecycle.queues import check_may_consume, check_may_get
from leveret.engine.queues.queue import Queue
from leveret.engine.values.arguments import CONSUMER_TIMEOUT, Arguments
from leveret.engine.values.settings import NONE
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.errors import AmqpError, ReplyCode
from leveret.protocol.channels import direct_reply_to
from leveret.protocol.channels.channel import Channel
from leveret.protocol.channels.channel_consumer import ChannelConsumer
from leveret.protocol.channels.delivery import Delivery
from leveret.protocol.channels.published_properties import REPLY_TO
from leveret.protocol.handlers.queue import queue_name

GENERATED_TAG_PREFIX: Final = "amq.ctag-"


def qos(channel: Channel, method: Basic.Qos) -> None:
    """basic.qos (RabbitMQ: Consumer Prefetch).

    With `global` the limit is that of the channel and holds at once, so the reply is sent before
    the deliveries that it allows. Without, it is that of each later consumer and, as the
    configuration key `qos.retune` says, of the present ones.
    """
    if method.prefetch_size:
        raise AmqpError(ReplyCode.NOT_IMPLEMENTED, f"prefetch_size!=0 ({method.prefetch_size})")
    channel.send(Basic.QosOk())
    if method.global_:
        channel.deliveries.prefetch = method.prefetch_count
        channel.deliveries.resume_consumers()
    else:
        channel.prefetch = method.prefetch_count
        if channel.prefetch_changes_consumers:
            channel.deliveries.set_consumer_prefetch(method.prefetch_count)


def consume(channel: Channel, method: Basic.Consume) -> None:
    """basic.consume: the reply is sent before the first delivery."""
    consumers = channel.deliveries.consumers
    tag = method.consumer_tag or generated(GENERATED_TAG_PREFIX)
    if tag in consumers:
        raise AmqpError(ReplyCode.NOT_ALLOWED, f"attempt to reuse consumer tag '{tag}'")
    most = channel.consumers_max
    if most and len(consumers) >= most:
        raise AmqpError(ReplyCode.NOT_ALLOWED, f"reached maximum ({most}) of consumers per channel")
    memory = channel.vhost.memory
    memory.admit(f"consumer '{tag}'")
    consumer = _make_consumer(channel, method, tag)
    consumers[tag] = consumer
    memory.added(consumer.arguments)
    channel.session.receives = True
    if not method.nowait:
        channel.send(Basic.ConsumeOk(consumer_tag=tag))
    consumer.queue.add_consumer(consumer)
    consumer.queue.deliver_ready()


def _make_consumer(channel: Channel, method: Basic.Consume, tag: str) -> ChannelConsumer:
    """The consumer of a queue, or of the replies to the channel."""
    vhost = channel.vhost
    name = queue_name(channel, method.queue)
    arguments = cast("Arguments", method.arguments)
    if name == REPLY_TO:
        return direct_reply_to.make_consumer(
            tag, vhost, channel.deliveries, no_ack=method.no_ack, arguments=arguments
        )
    channel.session.rights.check_queue(READ, name)
    queue = find_queue(vhost, name, channel.session)
    check_arguments(the_queue(vhost, queue.name), arguments, CONSUMER_ARGUMENTS)
    check_may_consume(vhost, queue, method.exclusive)
    return ChannelConsumer(
        tag,
        queue,
        channel.deliveries,
        no_ack=method.no_ack,
        exclusive=method.exclusive,
        prefetch=channel.prefetch,
        arguments=arguments,
        timeout_ms=_timeout_ms(channel, queue, arguments),
    )


def _timeout_ms(channel: Channel, queue: Queue, arguments: Arguments) -> int:
    """Milliseconds to settle a delivery, as the consumer, its queue or the configuration says."""
    own = arguments.get(CONSUMER_TIMEOUT)
    if isinstance(own, int):
        return own
    queues = queue.settings.consumer_timeout
    return channel.consumer_timeout_ms if queues == NONE else int(queues)


def cancel(channel: Channel, method: Basic.Cancel) -> None:
    """basic.cancel; an unknown tag counts as cancelled already.

    The reply is sent before deliveries to the consumer that becomes the single active one.
    """
    tag = method.consumer_tag or ""
    consumer = channel.deliveries.consumers.pop(tag, None)
    if consumer is not None:
        channel.vhost.memory.removed(consumer.arguments)
        consumer.end(channel.vhost)
    if not method.nowait:
        channel.send(Basic.CancelOk(consumer_tag=tag))
    if consumer is not None:
        consumer.queue.deliver_ready()


def cancel_from_outside(channel: Channel, tag: str) -> Queue | None:
    """Cancel a consumer of an open channel, and tell its client by basic.cancel. What it has not
    acknowledged stays with its channel, as after a basic.cancel of its own.

    :returns: the queue of the consumer; None if there is no consumer of that tag.
    """
    consumer = channel.deliveries.consumers.get(tag)
    if consumer is None:
        return None
    channel.deliveries.consumer_cancelled(consumer)
    consumer.end(channel.vhost)
    consumer.queue.deliver_ready()
    return consumer.queue


def get(channel: Channel, method: Basic.Get) -> Frame | None:
    """basic.get: one message, regardless of the prefetch."""
    name = queue_name(channel, method.queue)
    channel.session.rights.check_queue(READ, name)
    queue = find_queue(channel.vhost, name, channel.session)
    check_may_get(channel.vhost, queue)
    if queue.expiry is not None:
        queue.expiry.renew()
    channel.session.receives = True
    if queue.prepare_take():
        return _got(channel, queue, method.no_ack)
    channel.session.begin(_LongGet(channel, queue.name, method.no_ack))
    return None


class _LongGet(Work):
    """A basic.get of a queue whose next message is on disk, or that has many to drop first."""

    def __init__(self, channel: Channel, queue_name: str, no_ack: bool) -> None:
        self._channel = channel
        self._queue_name = queue_name
        self._no_ack = no_ack
        self._waits = False

    def run(self, time_slice: TimeSlice) -> bool:
        channel = self._channel
        queue = find_queue(channel.vhost, self._queue_name, channel.session)
        if not queue.prepare_take():
            self._waits = queue.awaits_disk()
            return False
        reply = _got(channel, queue, self._no_ack)
        if reply is not None:
            channel.send(reply)
        return True

    def waits(self) -> bool:
        return self._waits


def _got(channel: Channel, queue: Queue, no_ack: bool) -> Frame | None:
    """Send the next message of a queue; the reply if there is none, or the queue is paused."""
    popped = None if queue.paused else queue.take()
    counted = (queue.counters, channel.counters, channel.vhost.counters)
    if popped is None:
        for counters in counted:
            counters.get_empty += 1
        return Basic.GetEmpty()
    message, position, redelivered = popped
    tag = channel.deliveries.next_tag()
    delivery = Delivery(tag, message, position, queue, None)
    for counters in counted:
        if no_ack:
            counters.get_no_ack += 1
        else:
            counters.get += 1
        if redelivered:
            counters.redeliver += 1
    if no_ack:
        queue.settle(position)
    else:
        queue.unacknowledged += 1
        channel.deliveries.unacknowledged[tag] = delivery
        queue.host.memory.add_delivering(channel.deliveries)
    channel.send_get_ok(delivery, redelivered)
    return None


def recover(channel: Channel, method: Basic.Recover) -> None:
    """basic.recover: the reply, and then all unacknowledged messages again."""
    _refuse_recover_without_requeue(method.requeue)
    channel.send(Basic.RecoverOk())
    channel.settlement.requeue_all()


def recover_async(channel: Channel, method: Basic.RecoverAsync) -> None:
    """basic.recover-async: as basic.recover, without a reply."""
    _refuse_recover_without_requeue(method.requeue)
    channel.settlement.requeue_all()


def _refuse_recover_without_requeue(requeue: bool) -> None:
    if not requeue:
        raise AmqpError(ReplyCode.NOT_IMPLEMENTED, "requeue=false")


HANDLERS: Final[dict[type[Frame], Callable[[Any, Any], Frame | None]]] = {
    Basic.Qos: qos,
    Basic.Consume: consume,
    Basic.Cancel: cancel,
    Basic.Get: get,
    Basic.Recover: recover,
    Basic.RecoverAsync: recover_async,
}
