"""Collecting the facts of a queue: from the engine, from its consumers' connections, and from what
the watch has seen."""

from itertools import islice
from typing import Final

from leveret.engine.administration.reader import Reader
from leveret.engine.queues.dead_letter import DEATHS
from leveret.engine.queues.queue import Queue
from leveret.engine.values import properties
from leveret.engine.values.settings import NONE
from leveret.engine.values.text import text_of
from leveret.engine.vhost import VirtualHost
from leveret.management.diagnosis.facts import (
    ConsumerFacts,
    DeadLetterFacts,
    DelayedFacts,
    DropFacts,
    HeadFacts,
    PublisherFacts,
    QueueFacts,
    RateFacts,
)
from leveret.management.diagnosis.watch import Sample, Watch, sample
from leveret.protocol.channels.channel_consumer import ChannelConsumer
from leveret.protocol.channels.session import Session
from leveret.protocol.connections.connection import Connection

CONSUMERS_MAX: Final = 200
"""Consumers of a queue that are looked at: enough to name those that hang."""

DELIVERIES_MAX: Final = 256
"""Unacknowledged deliveries of a channel among which the oldest of one consumer is searched."""

BINDINGS_MAX: Final = 1_000
"""Bindings of a delayed exchange among which one to the queue is searched."""

HEAD_STEPS: Final = 4
"""Steps of a reader that lead to the first message."""

MS: Final = 1000


class Surroundings:
    """What concerns all queues, as it was when a diagnosis began."""

    def __init__(self, watch: Watch, started_at: int, connections: list[Connection]) -> None:
        """
        :param started_at: when the broker was started, in milliseconds since the epoch.
        :param connections: those that are open.
        """
        self.watch = watch
        self.started_at = started_at
        self.blocked = sum(each.blocked for each in connections)
        self.slowed: dict[Queue, list[PublisherFacts]] = {}
        """The connections that are slowed down, by each queue that they publish to."""
        for connection in connections:
            session = connection.session
            for sink in session.throttled_by or ():
                if isinstance(sink, Queue):
                    self.slowed.setdefault(sink, []).append(_publisher(session))


def collect(
    vhost: VirtualHost, queue: Queue, surroundings: Surroundings, alarm: tuple[str, int]
) -> QueueFacts:
    """The facts of a queue at this moment.

    :param alarm: why publishers are blocked, and since when; "" if they are not.
    """
    now = int(vhost.clock.wall_time())
    settings, redeliveries = queue.settings, queue.redeliveries
    found = queue.contents.drops
    policies = [each.name for each in queue.policies if each is not None]
    consumers = islice(queue.consumers, CONSUMERS_MAX)
    return QueueFacts(
        vhost=vhost.name,
        name=queue.name,
        now=now,
        watched_since=max(int(queue.declared_at), surroundings.started_at),
        ready=int(queue.message_count()),
        unacknowledged=int(queue.unacknowledged),
        retry_delayed=int(queue.retry_delayed_count()),
        retry_at=_retry_at(vhost, queue) if redeliveries is not None else None,
        consumers=tuple(
            _consumer(each, int(vhost.clock.behind))
            for each in consumers
            if type(each) is ChannelConsumer
        ),
        consumer_count=queue.consumer_count,
        consumer_left_at=int(queue.consumer_left_at) or None,
        paused_at=(int(queue.paused_at) or surroundings.started_at) if queue.paused else None,
        single_active=queue.single_active,
        max_length=_number(int(settings.max_length)),
        max_length_bytes=_number(int(settings.max_length_bytes)),
        bytes=int(queue.contents.total_bytes()),
        rejects=settings.rejects,
        origins=settings.origins,
        policies=tuple(policies),
        delivery_limit=_number(int(settings.delivery_limit)),
        dead_letters=_dead_letters(vhost, queue),
        head=_head(queue, int(vhost.clock.behind)) if queue.message_count() else None,
        drops=DropFacts()
        if found is None
        else DropFacts(
            int(found.expired), int(found.maxlen), int(found.rejected), int(found.delivery_limit)
        ),
        rates=_rates(surroundings.watch.before(queue, now), sample(queue, now)),
        alarm=alarm[0],
        alarm_since=alarm[1] or None,
        blocked_publishers=surroundings.blocked,
        slowed_publishers=tuple(surroundings.slowed.get(queue, ())),
        delayed=tuple(_delayed(vhost, queue)),
        memory_short=vhost.memory.short,
    )


def connection_of(session: Session) -> str:
    """The name of a connection."""
    return f"{session.peer.address} -> {session.peer.local}"


def _publisher(session: Session) -> PublisherFacts:
    peer = session.peer
    return PublisherFacts(connection_of(session), peer.name or peer.address, session.user)


def _consumer(consumer: ChannelConsumer, behind: int) -> ConsumerFacts:
    deliveries = consumer.deliveries
    session = deliveries.session
    peer = session.peer
    prefetch, held = int(consumer.prefetch), int(consumer.outstanding)
    shared = int(deliveries.prefetch)
    is_shared = 0 < shared <= int(deliveries.outstanding) and not 0 < prefetch <= held
    return ConsumerFacts(
        tag=consumer.tag,
        connection=connection_of(session),
        client=peer.name or peer.address,
        address=peer.address,
        user=session.user,
        channel=deliveries.channel,
        prefetch=shared if is_shared else prefetch,
        shared_prefetch=is_shared,
        held=int(deliveries.outstanding) if is_shared else held,
        held_since=_held_since(consumer, behind),
        no_ack=consumer.no_ack,
        active=consumer.active,
        timed_out=consumer.timed_out,
        socket_full=session.write_paused,
        exclusive=consumer.exclusive,
    )


def _held_since(consumer: ChannelConsumer, behind: int) -> int | None:
    """Since when a consumer has its oldest delivery, to a second; None if it has none, or that is
    not known yet.

    :param behind: milliseconds that the clock is behind the time of day.
    """
    times = consumer.deliveries.times
    if times is None or not consumer.outstanding:
        return None
    unacknowledged = consumer.deliveries.unacknowledged
    for tag, delivery in islice(unacknowledged.items(), DELIVERIES_MAX):
        if delivery.consumer is consumer:
            time = times.time_of(tag)
            return time + behind if time else None
    return None


def _dead_letters(vhost: VirtualHost, queue: Queue) -> DeadLetterFacts | None:
    settings = queue.settings
    name, key = settings.dead_letter_exchange, settings.dead_letter_routing_key
    if name is None:
        return None
    if not name:
        # By the default exchange to the queue of that name; else by the key of each message.
        return DeadLetterFacts("", True, key is not None and key not in vhost.queues, key)
    exchange = vhost.exchanges.get(name)
    if exchange is None:
        return DeadLetterFacts(name, False, True, key)
    has_bindings = next(iter(exchange.bindings()), None) is not None
    leads_nowhere = not has_bindings and not exchange.alternate
    if not leads_nowhere and key is not None and not exchange.needs_message:
        walk = vhost.router.walk(name, [key], None)
        is_complete = walk.run(vhost.time_slice)
        leads_nowhere = is_complete and not walk.needs_message and not walk.reached
    return DeadLetterFacts(name, True, leads_nowhere, key if has_bindings else None)


def _head(queue: Queue, behind: int) -> HeadFacts | None:
    """The next message, if it need not be read from disk."""
    reader, found = Reader(queue.backlog, 0, 1), None
    for _ in range(HEAD_STEPS):
        found = reader.next()
        if found is not None or reader.ended or reader.has_to_read():
            break
    if found is None:
        return None
    deaths, died_in = 0, []
    for each in properties.array_values(
        properties.header_value(found.message.header, DEATHS) or b""
    ):
        fields = dict(properties.table_entries(each))
        deaths += properties.integer_of(fields.get(b"count", b""))
        died_in.append(text_of(properties.string_octets(fields.get(b"queue", b""))))
    arrived = int(found.message.arrived) + behind
    return HeadFacts(arrived, deaths, tuple(dict.fromkeys(died_in)))


def _retry_at(vhost: VirtualHost, queue: Queue) -> int | None:
    redeliveries = queue.redeliveries
    due = 0 if redeliveries is None else int(redeliveries.next_due())
    return due + int(vhost.clock.behind) if due else None


def _delayed(vhost: VirtualHost, queue: Queue) -> list[DelayedFacts]:
    found: list[DelayedFacts] = []
    for name, store in vhost.delayed_stores.items():
        exchange = vhost.exchanges.get(name)
        if exchange is None or not store.message_count():
            continue
        bindings = islice(exchange.bindings(), BINDINGS_MAX)
        if any(each.destination.name == queue.name for each in bindings):
            found.append(DelayedFacts(name, int(store.message_count())))
    return found


def _rates(before: Sample | None, after: Sample) -> RateFacts | None:
    if before is None:
        return None
    seconds = (after.time - before.time) / MS
    return RateFacts(
        seconds,
        *(
            (later - earlier) / seconds
            for earlier, later in zip(before[1:], after[1:], strict=True)
        ),
    )


def _number(value: int) -> int | None:
    return None if value == NONE else value
