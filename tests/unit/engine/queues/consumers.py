"""A consumer for tests of queues: a real one, since compiled classes have no subclasses here."""

import structlog

from leveret.engine.queues.queue import Queue
from leveret.engine.values.message import Message
from leveret.protocol.channels.deliveries import ChannelConsumer, Deliveries
from leveret.protocol.channels.session import Session


def message(body: bytes = b"") -> Message:
    """A message with a body, which is all that tells it from others."""
    header = b"\0\x3c\0\0" + len(body).to_bytes(8, "big") + b"\0\0"
    return Message(b"\x00\x01q", header, body, False)


class Recorder:
    """A consumer with as much room as a test gives it, by itself on a channel without a peer."""

    def __init__(
        self,
        queue: Queue,
        tag: str = "c",
        *,
        room: int = 1_000_000,
        exclusive: bool = False,
        priority: int = 0,
        timeout: int = 0,
    ) -> None:
        self._session = Session(lambda: None, structlog.get_logger())
        self._deliveries = Deliveries(self._session, 1)
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
        self.has_room(room)

    def has_room(self, room: int) -> None:
        """Give it room for so many more, without telling the queue."""
        self._deliveries.prefetch = self._deliveries.outstanding + room
        self._session.write_paused = self._deliveries.prefetch == 0

    @property
    def bodies(self) -> list[bytes]:
        """The bodies of what it took."""
        return [each.message.body for each in self._deliveries.unacknowledged.values()]

    @property
    def positions(self) -> list[int]:
        """The positions of what it took."""
        return [int(each.position) for each in self._deliveries.unacknowledged.values()]

    @property
    def tags(self) -> dict[bytes, int]:
        """The delivery tags of what it took, by the body."""
        taken = self._deliveries.unacknowledged
        return {each.message.body: tag for tag, each in taken.items()}

    def settles(self, tag: int) -> bool:
        """Settle a delivery; whether its message was still this consumer's to settle."""
        delivery = self._deliveries.pop(tag)
        if delivery is not None:
            delivery.acknowledge()
        return delivery is not None

    @property
    def suspended(self) -> bool:
        """Whether the queue asks it no more."""
        return self.consumer.suspended

    @property
    def cancelled(self) -> bool:
        """Whether it was told that its queue is gone."""
        return not self._deliveries.consumers
