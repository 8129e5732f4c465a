"""Looking at everything once a second, to sample what has changed.

A look at something that has not changed compares its counters with those of the last look, and does
nothing else: that takes some 50 ns. What changes gets a history, and what has not changed for as
long as that goes back loses it. A history is released with its object.

The broker's work is done between two slices: a look at ten thousand queues takes a millisecond or
two.
"""

from typing import Final

from mypy_extensions import i64

from leveret.engine.queues.queue import Queue
from leveret.engine.routing.exchanges.base import Exchange
from leveret.engine.values.counters import (
    NEVER_SEEN,
    ChannelCounters,
    ChurnCounters,
    Counted,
    ExchangeCounters,
    QueueCounters,
    TrafficCounters,
)
from leveret.engine.values.delivery_times import DeliveryTimes
from leveret.engine.values.history import History, Layout, Tier
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.engine.vhost import VirtualHost
from leveret.protocol.channels.channel import Channel
from leveret.protocol.channels.deliveries import Deliveries
from leveret.protocol.connections.connection import Connection

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE

TIERS: Final = (Tier(5 * SECOND, 48), Tier(MINUTE, 60), Tier(30 * MINUTE, 49))
"""Four minutes, an hour and a day: 3.5 kB with the ten series of a queue."""

BROKER_TIERS: Final = (
    Tier(SECOND, 120),
    Tier(5 * SECOND, 240),
    Tier(MINUTE, 240),
    Tier(10 * MINUTE, 145),
)
"""Two minutes, twenty minutes, four hours and a day: 30 kB with all series of the broker."""

FORGET_MS: Final = 25 * HOUR
"""After how many milliseconds without a change a history is forgotten: it goes back a day."""

DELIVERED: Final = (
    "deliver",
    "deliver_no_ack",
    "redeliver",
    "get",
    "get_no_ack",
    "get_empty",
    "ack",
)
PUBLISHED: Final = ("publish", "confirm", "return_unroutable", "drop_unroutable")
LENGTHS: Final = ("messages_ready", "messages_unacknowledged")
TRAFFIC: Final = ("recv_oct", "send_oct")
CHURN: Final = (
    "connection_created",
    "connection_closed",
    "channel_created",
    "channel_closed",
    "queue_declared",
    "queue_created",
    "queue_deleted",
)

QUEUE: Final = Layout(("publish", *DELIVERED), LENGTHS, TIERS)
EXCHANGE: Final = Layout(
    ("publish_in", "publish_out", "return_unroutable", "drop_unroutable"), (), TIERS
)
CHANNEL: Final = Layout((*PUBLISHED, *DELIVERED), (), TIERS)
CONNECTION: Final = Layout(TRAFFIC, (), TIERS)
VHOST: Final = Layout((*PUBLISHED, *DELIVERED, *TRAFFIC), LENGTHS, TIERS)
BROKER: Final = Layout((*PUBLISHED, *DELIVERED, *CHURN), LENGTHS, BROKER_TIERS)

NODE: Final = Layout((), ("mem_used", "fd_used", "sockets_used", "disk_free"), BROKER_TIERS)

UTILISATION_LOOKS: Final = 10
"""Looks that the utilisation of consumers is about an average of."""


def queue_values(queue: Queue) -> list[int]:
    """The series of `QUEUE`."""
    counters = queue.counters
    return [
        int(counters.publish),
        int(counters.deliver),
        int(counters.deliver_no_ack),
        int(counters.redeliver),
        int(counters.get),
        int(counters.get_no_ack),
        int(counters.get_empty),
        int(counters.ack),
        int(queue.message_count()),
        int(queue.unacknowledged),
    ]


def exchange_values(counters: ExchangeCounters) -> list[int]:
    """The series of `EXCHANGE`."""
    return [
        int(counters.publish_in),
        int(counters.publish_out),
        int(counters.return_unroutable),
        int(counters.drop_unroutable),
    ]


def channel_values(counters: ChannelCounters) -> list[int]:
    """The series of `CHANNEL`."""
    return [
        int(counters.publish),
        int(counters.confirm),
        int(counters.return_unroutable),
        int(counters.drop_unroutable),
        int(counters.deliver),
        int(counters.deliver_no_ack),
        int(counters.redeliver),
        int(counters.get),
        int(counters.get_no_ack),
        int(counters.get_empty),
        int(counters.ack),
    ]


def traffic_values(counters: TrafficCounters) -> list[int]:
    """The series of `CONNECTION`."""
    return [int(counters.recv_oct), int(counters.send_oct)]


class Looked:
    """What a look has found in one virtual host, or in all of them."""

    def __init__(self) -> None:
        self.ready: i64 = 0
        self.unacknowledged: i64 = 0
        """Messages in all queues."""
        self.recv_oct: i64 = 0
        self.send_oct: i64 = 0
        """Octets of all connections, of those that have ended, too."""


def vhost_values(vhost: VirtualHost, looked: Looked) -> list[int]:
    """The series of `VHOST`."""
    traffic = [int(looked.recv_oct), int(looked.send_oct)]
    lengths = [int(looked.ready), int(looked.unacknowledged)]
    return channel_values(vhost.counters) + traffic + lengths


class Look(Work):
    """One look at everything in a broker."""

    def __init__(self, vhosts: list[VirtualHost], connections: list[Connection], now: i64) -> None:
        self.now = now
        self.is_done = False
        self.found: dict[str, Looked] = {vhost.name: Looked() for vhost in vhosts}
        """By virtual host; complete when it is done."""
        self._vhosts = vhosts
        self._connections = connections
        self._queues: list[Queue] = []
        self._exchanges: list[Exchange] = []
        self._channels: list[Channel] = []
        self._looked = Looked()
        """That of the virtual host whose queues are looked at."""

    def give_up(self) -> None:
        self.is_done = True

    def run(self, time_slice: TimeSlice) -> bool:
        while self._connections or self._channels:
            if self._channels:
                look_at_channel(self._channels.pop(), self.now)
            else:
                self._look_at_connection(self._connections.pop())
            if time_slice.is_over():
                return False
        while self._queues or self._exchanges or self._vhosts:
            if self._queues:
                self._look_at_queue(self._queues.pop())
            elif self._exchanges:
                look_at_exchange(self._exchanges.pop().counters, self.now)
            else:
                self._begin_vhost(self._vhosts.pop())
            if time_slice.is_over():
                return False
        self.is_done = True
        return True

    def _begin_vhost(self, vhost: VirtualHost) -> None:
        self._queues = list(vhost.queues.values())
        self._exchanges = list(vhost.exchanges.values())
        look_at_exchange(vhost.router.default_counters, self.now)
        looked = self.found[vhost.name]
        looked.recv_oct += vhost.closed_traffic.recv_oct
        looked.send_oct += vhost.closed_traffic.send_oct
        self._looked = looked

    def _look_at_connection(self, connection: Connection) -> None:
        session = connection.session
        traffic = session.traffic
        looked = self.found.get(session.vhost.name)
        if looked is not None:
            looked.recv_oct += traffic.recv_oct
            looked.send_oct += traffic.send_oct
        if note_change(traffic, traffic.recv_oct + traffic.send_oct, CONNECTION, self.now):
            sample(traffic, traffic_values(traffic), self.now)
        self._channels = list(connection.channels.by_number.values())

    def _look_at_queue(self, queue: Queue) -> None:
        looked = self._looked
        looked.ready += queue.message_count()
        looked.unacknowledged += queue.unacknowledged
        look_at_queue(queue, self.now)


def look_at_queue(queue: Queue, now: i64) -> None:
    """Sample a queue if it is time, and note how well its consumers are used."""
    counters = queue.counters
    ready, unacknowledged = queue.message_count(), queue.unacknowledged
    happened = (
        counters.publish
        + counters.deliver
        + counters.deliver_no_ack
        + counters.get
        + counters.get_no_ack
        + counters.get_empty
        + counters.ack
    )
    if counters.seen == NEVER_SEEN and happened == 0:
        # What a start has found.
        counters.seen_ready = ready
        counters.seen_unacknowledged = unacknowledged
    if ready != counters.seen_ready or unacknowledged != counters.seen_unacknowledged:
        # Whatever it was: it is a change.
        counters.seen = NEVER_SEEN - 1
    changed = happened != counters.seen
    if changed or counters.unsampled:
        if note_change(counters, happened, QUEUE, now, _before(counters)):
            sample(counters, queue_values(queue), now)
        counters.seen_ready = ready
        counters.seen_unacknowledged = unacknowledged
    elif counters.history is not None:
        forget(counters, now)
    if queue.consumer_set.count != 0:
        could = ready == 0 or (not queue.paused and queue.consumer_set.ready.first is not None)
        looks: i64 = 1000 if could else 0
        used = counters.utilisation
        if used == NEVER_SEEN:
            counters.utilisation = looks
        else:
            counters.utilisation = used + (looks - used) // UTILISATION_LOOKS
    else:
        counters.utilisation = NEVER_SEEN


def _before(counters: QueueCounters) -> list[int] | None:
    """What the series of a queue were before it had a history: nothing had happened to it."""
    if counters.history is not None:
        return None
    return [0] * 8 + [int(counters.seen_ready), int(counters.seen_unacknowledged)]


def look_at_exchange(counters: ExchangeCounters, now: i64) -> None:
    """Sample an exchange if it is time."""
    if note_change(counters, counters.publish_in, EXCHANGE, now):
        sample(counters, exchange_values(counters), now)


def look_at_channel(channel: Channel, now: i64) -> None:
    """Sample a channel if it is time, and note when its deliveries were made."""
    counters = channel.counters
    if note_change(counters, happened_on(counters), CHANNEL, now):
        sample(counters, channel_values(counters), now)
    deliveries = channel.deliveries
    times = deliveries.times
    if deliveries.unacknowledged:
        if times is None:
            times = DeliveryTimes()
            deliveries.times = times
        times.note(oldest_tag(deliveries), deliveries.last_tag, now)
    elif times is not None:
        deliveries.times = None


def oldest_tag(deliveries: Deliveries) -> i64:
    """The tag of the oldest delivery that is unacknowledged, of which there are some."""
    oldest: i64 = next(iter(deliveries.unacknowledged))
    return oldest


def happened_on(counters: ChannelCounters) -> i64:
    """A number that grows with whatever happens on a channel, or on all of a virtual host."""
    return (
        counters.publish
        + counters.confirm
        + counters.deliver
        + counters.deliver_no_ack
        + counters.get
        + counters.get_no_ack
        + counters.get_empty
        + counters.ack
    )


def note_change(
    counted: Counted, happened: i64, layout: Layout, now: i64, before: list[int] | None = None
) -> bool:
    """Note whether something has happened since the last look, and begin a history if so.

    :param happened: the sum of all counters.
    :returns: whether it is time for a sample.
    """
    if happened != counted.seen:
        first = counted.seen == NEVER_SEEN
        counted.seen = happened
        counted.active_at = now
        if first and happened == 0:
            return False
        counted.unsampled = True
        if counted.history is None:
            counted.history = History(layout, now, before)
    history = counted.history
    if history is None:
        return False
    if counted.unsampled:
        return history.is_due(now)
    forget(counted, now)
    return False


def sample(counted: Counted, values: list[int], now: i64) -> None:
    """Sample an object that has changed."""
    history = counted.history
    if history is not None:
        history.record(now, values)
        counted.unsampled = False


def broker_values(
    counters: ChannelCounters, churn: ChurnCounters, ready: i64, unacknowledged: i64
) -> list[int]:
    """The series of `BROKER`."""
    return [
        *channel_values(counters),
        int(churn.connection_created),
        int(churn.connection_closed),
        int(churn.channel_created),
        int(churn.channel_closed),
        int(churn.queue_declared),
        int(churn.queue_created),
        int(churn.queue_deleted),
        int(ready),
        int(unacknowledged),
    ]


def forget(counted: Counted, now: i64) -> None:
    """Free the memory of a history in which nothing happens any more."""
    history = counted.history
    if history is not None and now - counted.active_at > FORGET_MS and not history.is_forgotten():
        history.forget()
