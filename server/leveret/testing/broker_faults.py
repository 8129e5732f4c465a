"""The faults of one running broker: what a test has ordered is done to it here.

What lasts (an alarm, a full disk, a delay) lasts until it is taken back. The resource guards go on
to measure meanwhile: an alarm that they have raised themselves outlasts the order.
"""

import asyncio

from leveret.errors import AmqpError, ReplyCode
from leveret.net import alarms
from leveret.net.server import AmqpServer
from leveret.protocol.handlers.basic import cancel_from_outside
from leveret.testing.fault_orders import (
    Direction,
    DropConnection,
    FaultOrders,
    PendingFault,
    Refusal,
    RefuseConnections,
    RefusePublishes,
    Resource,
)
from leveret.testing.faulty_transport import FaultyConnections, FaultyTransport
from leveret.testing.fillable_medium import FillableMedium
from leveret.testing.observing import NodeObserver
from leveret_storage.medium import Medium


class BrokerFaults:
    """Does to a broker what a test orders. It is made before the broker, whose server gets
    `connections.transport`, and whose store gets `medium_around`."""

    def __init__(self) -> None:
        self.orders = FaultOrders()
        self.connections = FaultyConnections(self.orders)
        self._medium: FillableMedium | None = None
        self._held: set[Resource] = set()
        """The resources whose alarms are ordered."""
        self._disk_full = False

    def medium_around(self, medium: Medium) -> Medium:
        """The medium that the store of the broker uses."""
        self._medium = FillableMedium(medium)
        return self._medium

    def attach(self, server: AmqpServer, observer: NodeObserver) -> None:
        """Know the broker, which has started, by its server and its observer."""
        self._server = server
        self._observer = observer

    # --- connections ------------------------------------------------------------------------

    def refuse_connections(self, count: int, how: Refusal) -> None:
        """Refuse the next connections."""
        self.orders.add(RefuseConnections(how, count))

    def drop_next(self, after_frames: int, direction: Direction, count: int) -> None:
        """Drop the next connections that are made after some frames of each."""
        what = f"drop the next connection after {_frames(after_frames, direction)}"
        order = DropConnection(what, after_frames, direction, count)
        order.unassigned = count
        self.orders.add(order)

    def drop(
        self, after_frames: int, direction: Direction, answered: bool, name: str | None
    ) -> int:
        """Drop open connections after some frames of each.

        :param answered: whether the answers to what came last are sent before.
        :param name: the name that the client has given them, or its address; None for all.
        :returns: how many connections these are.
        """
        found = self._open(name)
        for transport in found:
            peer = transport.connection.session.peer
            what = f"drop the connection {peer.name or peer.address}"
            what = f"{what} after {_frames(after_frames, direction)}"
            order = DropConnection(what, after_frames, direction, answered=answered)
            self.orders.add(order)
            transport.drop(order)
        return len(found)

    def close_connections(self, code: int, text: str, name: str | None) -> int:
        """Close open connections by connection.close; how many. `name` is as in `drop`."""
        found = self._open(name)
        for transport in found:
            transport.close_connection(AmqpError(ReplyCode(code), text))
        return len(found)

    def close_channels(self, code: int, text: str, name: str | None) -> int:
        """Close the open channels of open connections by channel.close; how many. `name` is as in
        `drop`."""
        error = AmqpError(ReplyCode(code), text)
        return sum(
            transport.close_channel(number, error)
            for transport in self._open(name)
            for number in list(transport.connection.channels.by_number)
        )

    def _open(self, name: str | None) -> list[FaultyTransport]:
        """The open connections of a name, or of a client's address; None for all."""
        opened = [each for each in self.connections.open if each.connection.opened is not None]
        if name is None:
            return opened
        peers = [each.connection.session.peer for each in opened]
        return [
            transport
            for transport, peer in zip(opened, peers, strict=True)
            if name in (peer.name, peer.address)
        ]

    def cancel_consumers(self, queue: str | None, vhost: str | None) -> int:
        """Cancel consumers, and tell their clients; how many.

        :param queue: the name of their queue, None for all.
        :param vhost: the name of its virtual host, None for all.
        """
        found = [
            (channel, tag)
            for connection in self._server.all_connections()
            for channel in connection.channels.by_number.values()
            if vhost in (None, channel.vhost.name)
            for tag, consumer in channel.deliveries.consumers.items()
            if queue in (None, consumer.queue.name)
        ]
        for channel, tag in found:
            cancel_from_outside(channel, tag)
        return len(found)

    # --- publishes --------------------------------------------------------------------------

    def refuse_publishes(
        self, count: int, exchange: str | None, routing_key: str | None, queue: str | None
    ) -> None:
        """Refuse the next messages; each of the others is what they have to have, or None."""
        self.orders.add(RefusePublishes(count, exchange, routing_key, queue))
        self._observer.refuse(self._refuses)

    def _refuses(self, exchange: str, routing_key: str, queues: tuple[str, ...]) -> bool:
        refused = self.orders.take_publish(exchange, routing_key, queues)
        if refused and not self.orders.refuses_publishes():
            # Not before the message is dealt with, whose route would change.
            asyncio.get_running_loop().call_soon(self._end_refusing)
        return refused

    def _end_refusing(self) -> None:
        """Be asked about publishes no more, if none is to be refused."""
        if not self.orders.refuses_publishes():
            self._observer.refuse(None)

    # --- resources --------------------------------------------------------------------------

    def hold_alarm(self, resource: Resource, held: bool) -> None:
        """Have the alarm of a resource set, or have it as it is measured."""
        if held:
            self._held.add(resource)
        else:
            self._held.discard(resource)
        self._apply_alarms()

    def fill_disk(self, full: bool) -> None:
        """Have the disk full, or have it as it is measured. A broker in memory has no disk: then
        it is the alarm alone."""
        self._disk_full = full
        if self._medium is None:
            self._apply_alarms()
        else:
            self._medium.full = full
            self._server.check_resources()

    def _apply_alarms(self) -> None:
        self._server.alarms.hold(alarms.Resource.MEMORY, "memory" in self._held)
        disk_full = self._disk_full and self._medium is None
        self._server.alarms.hold(alarms.Resource.DISK, "disk" in self._held or disk_full)

    # --- all --------------------------------------------------------------------------------

    def pending(self) -> tuple[PendingFault, ...]:
        """What was ordered and has not happened yet."""
        return self.orders.pending()

    def clear(self) -> None:
        """Take back all that was ordered."""
        self.connections.clear()
        self._end_refusing()
        self._held.clear()
        self._apply_alarms()
        self.fill_disk(False)


def _frames(count: int, direction: Direction) -> str:
    """How many frames, in words."""
    return f"{count} frame{'' if count == 1 else 's'} {direction}"
