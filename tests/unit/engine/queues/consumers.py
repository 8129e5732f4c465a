"""A consumer for tests of queues: the protocol's, as compiled classes have no subclasses here."""

import structlog

from leveret.engine.queues.queue import Queue
from leveret.engine.values.counters import ChannelCounters
from leveret.engine.values.message import Message
from leveret.protocol.channels.channel_consumer import ChannelConsumer
from leveret.protocol.channels.deliveries import Deliveries
from leveret.protocol.channels.session import Session


def message(body: bytes = b"") -> Message:
    """A message that differs from others by its body only."""
    header = b"\0\x3c\0\0" + len(body).to_bytes(8, "big") + b"\0\0"
    return Message(b"\x00\x01q", header, body, False)


class Recorder:
    """A consumer that accepts as many messages as a test allows, on a channel without a client."""

    def __init__(
        self,
        queue: Queue,
        tag: str = "c",
        *,
        capacity: int = 1_000_000,
        exclusive: bool = False,
        priority: int = 0,
        timeout: int = 0,
    ) -> None:
        self._session = Session(lambda: None, structlog.get_logger())
        self._deliveries = Deliveries(self._session, 1, ChannelCounters())
        self.consumer = ChannelConsumer(
            tag,
            queue,
            self._deliveries,
            no_ack=False,
            exclusive=exclusive,
            prefetch=0,
            arguments={"x-priority": priority},
            timeout_ms=timeout,
        )
        self._deliveries.consumers[tag] = self.consumer
        self.set_capacity(capacity)

    def set_capacity(self, capacity: int) -> None:
        """Let it accept so many more messages, and do not resume it."""
        self._deliveries.prefetch = self._deliveries.outstanding + capacity
        self._session.write_paused = self._deliveries.prefetch == 0

    @property
    def bodies(self) -> list[bytes]:
        """The bodies of its unacknowledged messages."""
        return [each.message.body for each in self._deliveries.unacknowledged.values()]

    @property
    def positions(self) -> list[int]:
        """The positions of its unacknowledged messages."""
        return [int(each.position) for each in self._deliveries.unacknowledged.values()]

    @property
    def tags(self) -> dict[bytes, int]:
        """The delivery tags of its unacknowledged messages, by the body."""
        taken = self._deliveries.unacknowledged
        return {each.message.body: tag for tag, each in taken.items()}

    def settle(self, tag: int) -> bool:
        """Acknowledge a delivery.

        :returns: whether it was unacknowledged still.
        """
        delivery = self._deliveries.pop(tag)
        if delivery is not None:
            delivery.acknowledge()
        return delivery is not None

    @property
    def suspended(self) -> bool:
        """Whether the queue does not ask it until it is resumed."""
        return self.consumer.suspended

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled because its queue was deleted."""
        return not self._deliveries.consumers
