"""The class queue (AMQP 0-9-1, section 1.7)."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, cast

from pamqp.base import Frame
from pamqp.commands import Queue

from leveret.engine.access.rights import CONFIGURE, READ, WRITE
from leveret.engine.lifecycle import bindings, queues
from leveret.engine.lifecycle.argument_checks import QUEUE_TYPE
from leveret.engine.lifecycle.names import clean, find_queue, no_queue
from leveret.engine.lifecycle.queue_arguments import is_quorum
from leveret.engine.queues.purge import Purge
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.engine.vhost import VirtualHost
from leveret.errors import AmqpError, ReplyCode
from leveret.protocol.channels import direct_reply_to
from leveret.protocol.channels.audit import audit
from leveret.protocol.channels.channel import Channel
from leveret.protocol.channels.session import Session
from leveret.protocol.handlers.exchange import check_source
from leveret.protocol.wire.methods import QueueDeclareOk


def queue_name(channel: Channel, given: str) -> str:
    """The name a method gives, where an empty one means the queue last declared on the channel.

    :raises AmqpError: NOT_FOUND if none was declared.
    """
    name = clean(given) or channel.last_queue
    if not name:
        raise AmqpError(ReplyCode.NOT_FOUND, "no previously declared queue")
    return name


def declare(channel: Channel, method: Queue.Declare) -> Frame:
    """queue.declare. An exclusive queue belongs to the connection."""
    session = channel.session
    name = clean(method.queue)
    if direct_reply_to.is_name(name):
        return _declare_reply_name(channel, name)
    if method.passive:
        queue = find_queue(channel.vhost, name, session)
        if queue.expiry is not None:
            queue.expiry.renew()
    else:
        arguments = _with_default_type(channel.vhost, method)
        is_new = name not in channel.vhost.queues
        try:
            queue = queues.declare_queue(
                channel.vhost,
                name,
                durable=method.durable,
                auto_delete=method.auto_delete,
                owner=session if method.exclusive else None,
                connection=session,
                arguments=arguments,
                declared_by=session.client_label,
                rights=session.rights,
            )
        except AmqpError as error:
            if error.code == ReplyCode.PRECONDITION_FAILED and not is_new:
                _log_different_declaration(session, channel.vhost, name, error.text)
            raise
        if is_new and is_quorum(arguments) and channel.vhost.copies == 1:
            session.logger.info("quorum queue declared", queue=queue.name, copies=1)
        if queue.exclusive:
            session.exclusive_queues[queue.name] = queue
        if is_new:
            audit(channel, "queue declared", name=queue.name)
    if queue.durable:
        channel.hold_until_defined()
    channel.last_queue = queue.name
    return QueueDeclareOk(
        queue=queue.name,
        message_count=int(queue.message_count()),
        consumer_count=queue.consumer_count,
    )


def _with_default_type(vhost: VirtualHost, method: Queue.Declare) -> Arguments:
    """The arguments of a declaration, with the default queue type of the virtual host for a queue
    that may have any type (RabbitMQ: Virtual Hosts, Default Queue Type)."""
    arguments = cast("Arguments", method.arguments)
    default = vhost.default_queue_type
    if not default or QUEUE_TYPE in arguments:
        return arguments
    if not method.durable or method.exclusive or method.auto_delete:
        return arguments
    types = {**arguments.types, QUEUE_TYPE: "longstr"}
    return Arguments({**arguments, QUEUE_TYPE: default}, types)


def _log_different_declaration(session: Session, vhost: VirtualHost, name: str, text: str) -> None:
    """Log who declared the queue first that is declared with other arguments."""
    queue = vhost.queues[name]
    at = datetime.fromtimestamp(queue.declared_at / 1000, UTC)
    session.logger.warning(
        "queue declared differently",
        queue=queue.name,
        difference=text,
        declared_by=queue.declared_by or "unknown",
        declared_at=at.isoformat(timespec="seconds"),
    )


def _declare_reply_name(channel: Channel, name: str) -> Frame:
    """Declare a name of direct reply-to, which exists if its channel consumes from it."""
    if not direct_reply_to.has_consumer(channel.vhost, name):
        raise no_queue(channel.vhost, name)
    channel.last_queue = name
    return QueueDeclareOk(queue=name, message_count=0, consumer_count=1)


def bind(channel: Channel, method: Queue.Bind) -> Frame:
    """queue.bind."""
    queue, exchange = queue_name(channel, method.queue), clean(method.exchange)
    routing_key = _routing_key(channel, method.queue, method.routing_key)
    channel.session.rights.check_queue(WRITE, queue)
    check_source(channel, exchange, routing_key)
    durable = bindings.bind_queue(
        channel.vhost,
        queue,
        exchange,
        routing_key,
        method.arguments or {},
        channel.session,
    )
    audit(channel, "queue bound", source=exchange, destination=queue, routing_key=routing_key)
    if durable:
        channel.hold_until_defined()
    return Queue.BindOk()


def unbind(channel: Channel, method: Queue.Unbind) -> Frame:
    """queue.unbind."""
    queue, exchange = queue_name(channel, method.queue), clean(method.exchange)
    routing_key = _routing_key(channel, method.queue, method.routing_key)
    channel.session.rights.check_queue(WRITE, queue)
    check_source(channel, exchange, routing_key)
    bindings.unbind_queue(
        channel.vhost,
        queue,
        exchange,
        routing_key,
        method.arguments or {},
        channel.session,
    )
    audit(channel, "queue unbound", source=exchange, destination=queue, routing_key=routing_key)
    channel.hold_until_defined()
    return Queue.UnbindOk()


def _routing_key(channel: Channel, queue: str, routing_key: str) -> str:
    """The routing key of a binding: if queue and key are both empty, the name of the queue declared
    last (AMQP 0-9-1, section 1.7.2.3.4)."""
    return channel.last_queue if not queue and not routing_key else routing_key


def purge(channel: Channel, method: Queue.Purge) -> None:
    """queue.purge: drop the ready messages; unacknowledged ones stay."""
    name = queue_name(channel, method.queue)
    channel.session.rights.check_queue(READ, name)
    queue = find_queue(channel.vhost, name, channel.session)
    channel.session.begin(_PurgeReply(channel, queue.purge(), bool(method.nowait)))


class _PurgeReply(Work):
    """Waits for a purge, and sends the reply."""

    def __init__(self, channel: Channel, purge: Purge, nowait: bool) -> None:
        self._channel = channel
        self._purge = purge
        self._nowait = nowait

    def run(self, time_slice: TimeSlice) -> bool:
        if not self._purge.is_done() and not self._purge.run(time_slice):
            return False
        self._channel.hold_until_committed()
        if not self._nowait:
            self._channel.send(Queue.PurgeOk(message_count=self._purge.count))
        return True


def delete(channel: Channel, method: Queue.Delete) -> None:
    """queue.delete: the reply is sent before consumers on the channel are cancelled."""
    name = queue_name(channel, method.queue)
    channel.session.rights.check_queue(CONFIGURE, name)
    queue = queues.find_deletable(
        channel.vhost,
        name,
        if_unused=method.if_unused,
        if_empty=method.if_empty,
        connection=channel.session,
    )
    if queue is None:
        channel.hold_until_defined()
    if not method.nowait:
        count = 0 if queue is None else int(queue.message_count())
        channel.send(Queue.DeleteOk(message_count=count))
    if queue is not None:
        queues.remove_queue(channel.vhost, queue)
        audit(channel, "queue deleted", name=name)
    channel.session.exclusive_queues.pop(name, None)


HANDLERS: Final[dict[type[Frame], Callable[[Any, Any], Frame | None]]] = {
    Queue.Declare: declare,
    Queue.Bind: bind,
    Queue.Unbind: unbind,
    Queue.Purge: purge,
    Queue.Delete: delete,
}
