"""A look at what a broker has, which changes nothing; it runs in the broker's event loop.

Deliberately elsewhere: what goes through exchanges (`recorder.py`), and what is made of a look that
did not find what was expected (`explanation.py`).
"""

import asyncio
from collections.abc import Iterator

from leveret.engine.administration.reader import Reader
from leveret.engine.broker import Broker
from leveret.engine.queues.queue import Queue
from leveret.engine.values.counters import queue_acknowledged
from leveret.engine.vhost import VirtualHost
from leveret.net.server import AmqpServer
from leveret.protocol.channels.channel import Channel
from leveret.protocol.channels.delivery import DeliveryConsumer
from leveret.protocol.connections.connection import Connection as OpenConnection
from leveret.testing.decoding import decoded_message
from leveret.testing.errors import BrokerError
from leveret.testing.values import Binding, Connection, Consumer, Message, QueueStatus


def find_vhost(broker: Broker, name: str) -> VirtualHost:
    """A virtual host.

    :raises BrokerError: if there is none of that name.
    """
    vhost = broker.vhosts.get(name)
    if vhost is None:
        there = ", ".join(f"'{each}'" for each in broker.vhosts)
        raise BrokerError(f"there is no virtual host '{name}'; there are {there}")
    return vhost


def queue_status(broker: Broker, vhost: str, name: str) -> QueueStatus | None:
    """A queue; None if there is none of that name.

    :raises BrokerError: if there is no such virtual host.
    """
    queue = find_vhost(broker, vhost).queues.get(name)
    return None if queue is None else _status(vhost, queue)


def queues(broker: Broker, vhost: str | None) -> list[QueueStatus]:
    """The queues of a virtual host by name, or of all of them.

    :raises BrokerError: if there is no such virtual host.
    """
    return [
        _status(each.name, each.queues[name])
        for each in _vhosts(broker, vhost)
        for name in sorted(each.queues)
    ]


def exchanges(broker: Broker, vhost: str) -> list[str]:
    """The names of the exchanges of a virtual host, without the default exchange.

    :raises BrokerError: if there is no such virtual host.
    """
    return sorted(find_vhost(broker, vhost).exchanges)


def bindings(broker: Broker, vhost: str, name: str) -> list[Binding]:
    """The bindings of a queue to exchanges other than the default exchange, the oldest first; none
    if there is no such queue.

    :raises BrokerError: if there is no such virtual host.
    """
    queue = find_vhost(broker, vhost).queues.get(name)
    if queue is None:
        return []
    return [
        Binding(each.source.name, each.routing_key, dict(each.arguments))
        for each in queue.destination.incoming()
    ]


async def messages(broker: Broker, vhost: str, name: str, count: int) -> list[Message] | None:
    """The next ready messages of a queue; None if there is no such queue.

    :param count: how many at most.
    :raises BrokerError: if there is no such virtual host.
    """
    queue = find_vhost(broker, vhost).queues.get(name)
    if queue is None:
        return None
    reader = Reader(queue.backlog, 0, count)
    found: list[Message] = []
    while not reader.ended:
        ready = reader.next()
        if ready is not None:
            found.append(decoded_message(ready))
        elif reader.has_to_read():
            await _read(reader)
        else:
            await asyncio.sleep(0)
    return found


async def _read(reader: Reader) -> None:
    """Have the reader read from the disk what it needs next."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    reader.read(lambda: None if done.done() else done.set_result(None))
    await done


def consumers(
    broker: Broker, server: AmqpServer, vhost: str | None, queue: str | None
) -> list[Consumer]:
    """The consumers of a queue, or of all queues, of a virtual host, or of all of them.

    :raises BrokerError: if there is no such virtual host.
    """
    _vhosts(broker, vhost)
    return [
        _consumer(connection, channel, consumer)
        for connection, channel in _channels(server, vhost)
        for consumer in channel.deliveries.consumers.values()
        if queue in (None, consumer.queue.name)
    ]


def connections(server: AmqpServer) -> list[Connection]:
    """The open connections, the oldest first."""
    return [
        Connection(
            name=_name(each),
            address=each.session.peer.address,
            user=each.session.user,
            vhost=each.session.vhost.name,
            channels=len(each.channels.by_number),
            blocked=each.blocked,
        )
        for each in server.connections()
    ]


def _vhosts(broker: Broker, name: str | None) -> list[VirtualHost]:
    return list(broker.vhosts.values()) if name is None else [find_vhost(broker, name)]


def _status(vhost: str, queue: Queue) -> QueueStatus:
    return QueueStatus(
        name=queue.name,
        vhost=vhost,
        ready=int(queue.message_count()),
        unacknowledged=int(queue.unacknowledged),
        acknowledged=queue_acknowledged(queue.counters),
        consumers=int(queue.consumer_count),
        durable=queue.durable,
        exclusive=queue.exclusive,
        auto_delete=queue.auto_delete,
        arguments=dict(queue.arguments),
    )


def _channels(server: AmqpServer, vhost: str | None) -> Iterator[tuple[OpenConnection, Channel]]:
    for connection in server.connections():
        if vhost in (None, connection.session.vhost.name):
            for channel in connection.channels.by_number.values():
                yield connection, channel


def _consumer(connection: OpenConnection, channel: Channel, consumer: DeliveryConsumer) -> Consumer:
    return Consumer(
        tag=consumer.tag,
        queue=consumer.queue.name,
        vhost=connection.session.vhost.name,
        connection=_name(connection),
        channel=int(channel.number),
        prefetch=int(consumer.prefetch),
        no_ack=consumer.no_ack,
        exclusive=consumer.exclusive,
        active=consumer.active,
        unacknowledged=int(consumer.outstanding),
    )


def _name(connection: OpenConnection) -> str:
    return connection.session.peer.name or connection.session.peer.address
