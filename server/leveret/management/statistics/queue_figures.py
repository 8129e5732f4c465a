"""What is said of a queue beside its counters: bytes, the age of its head, its consumers.

(RabbitMQ: HTTP API Reference, /api/queues.)
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, cast

from leveret.engine.queues.peek import RequeuedPart
from leveret.engine.queues.queue import Queue
from leveret.engine.queues.released import body_size
from leveret.engine.values import properties
from leveret.engine.values.counters import NEVER_SEEN
from leveret.engine.values.encoded_table import TIMESTAMP
from leveret.engine.values.message import Message
from leveret.protocol.channels.channel_consumer import ChannelConsumer
from leveret.protocol.channels.deliveries import Deliveries
from leveret.protocol.channels.delivery import Delivery

EXAMINED_MAX: Final = 1000
"""Deliveries of a queue whose sizes are added up; the others count like these on average."""


def ready_bytes(queue: Queue) -> int:
    """Bytes of the bodies of ready messages."""
    return int(queue.contents.backlog.bytes)


def _channels(queue: Queue) -> Iterable[Deliveries]:
    """What the channels of its consumers have delivered."""
    return dict.fromkeys(cast("ChannelConsumer", each).deliveries for each in queue.consumers)


def _deliveries(queue: Queue) -> Iterator[Delivery]:
    """What consumers have of a queue, a channel after the other."""
    for channel in _channels(queue):
        for delivery in channel.unacknowledged.values():
            if delivery.queue is queue:
                yield delivery


def unacknowledged_bytes(queue: Queue) -> int:
    """Bytes of the bodies of unacknowledged messages; about, if there are many."""
    count = int(queue.unacknowledged)
    if count == 0:
        return 0
    sizes = [
        int(body_size(each.message, each.position))
        for each in islice(_deliveries(queue), EXAMINED_MAX)
    ]
    if not sizes:
        return 0
    return sum(sizes) if len(sizes) == count else sum(sizes) * count // len(sizes)


def message_bytes(queue: Queue) -> int:
    """Bytes of the bodies of all messages."""
    return int(queue.contents.total_bytes()) + unacknowledged_bytes(queue)


def head(queue: Queue) -> Message | None:
    """The next message, if it is in memory."""
    views = queue.contents.backlog.views(0, 1, None)
    for view in views or []:
        for part in view.parts:
            if isinstance(part, RequeuedPart):
                for _, message in part.entries:
                    return message if message.route else None
                continue
            found = part.in_memory()
            if found is None:
                return None
            messages, first = found
            at = int(part.first - first)
            return messages[at] if at < len(messages) else None
    return None


def head_timestamp(queue: Queue) -> int | None:
    """The property `timestamp` of the next message, if that is in memory and has one."""
    message = head(queue) if queue.message_count() else None
    if message is None:
        return None
    octets = properties.octets_of(message.header, TIMESTAMP)
    return None if octets is None else int.from_bytes(octets, "big")


def head_arrived(queue: Queue) -> int | None:
    """When the next message arrived in the broker, if that is in memory: milliseconds of the
    engine's clock."""
    message = head(queue) if queue.message_count() else None
    return None if message is None else int(message.arrived)


def capacity(queue: Queue) -> float:
    """How much of the time its consumers could have taken another message, from 0 to 1; 0 without
    consumers (RabbitMQ: Consumer Capacity)."""
    if queue.consumer_count == 0:
        return 0.0
    utilisation = int(queue.counters.utilisation)
    return 1.0 if utilisation == NEVER_SEEN else utilisation / 1000


def single_active_tag(queue: Queue) -> str | None:
    """The tag of the single active consumer."""
    if not queue.single_active:
        return None
    return next((each.tag for each in queue.consumers if each.active), None)


def exclusive_tag(queue: Queue) -> str | None:
    """The tag of the exclusive consumer."""
    return queue.consumers[0].tag if queue.exclusively_consumed else None
