"""What channels leave when they end: work that takes several time slices if it is much.

All consumers end before anything is requeued: what is outstanding on one channel must not be
delivered to a consumer of another one that ends with it. Then each channel drops its transaction
and returns what is unacknowledged, and the queues deliver that to others.
"""

from collections.abc import Callable

from leveret.engine.lifecycle.queues import remove_queue
from leveret.engine.queues.queue import Queue
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.engine.vhost import VirtualHost
from leveret.errors import AmqpError
from leveret.protocol.channels.channel import Channel


class ChannelsEnd(Work):
    """Ends channels of one connection, and deletes queues that end with it.

    The channels are closed already: nothing of them is read any more.
    """

    def __init__(
        self,
        channels: list[Channel],
        exclusive_queues: list[Queue],
        vhost: VirtualHost,
        ended: Callable[[], None] | None = None,
    ) -> None:
        """:param ended: called at the end."""
        self._consuming = channels.copy()
        self._channels = channels
        self._queues: dict[Queue, None] = {}
        """The queues of the consumers, where another one may be active instead."""
        self._exclusive_queues = exclusive_queues
        self._vhost = vhost
        self._ended = ended

    def run(self, time_slice: TimeSlice) -> bool:
        while self._consuming:
            if not self._consuming[-1].end_consumer(self._queues):
                self._consuming.pop()
            if time_slice.is_over():
                return False
        while self._channels:
            channel = self._channels[-1]
            if not channel.discard(time_slice):
                return False
            self._channels.pop()
        while self._queues:
            queue, _ = self._queues.popitem()
            queue.deliver_ready()
            if time_slice.is_over_now():
                return False
        while self._exclusive_queues:
            queue = self._exclusive_queues.pop()
            remove_queue(self._vhost, queue)
            if time_slice.is_over_now():
                return False
        if self._ended is not None:
            self._ended()
        return True


class Consecutively(Work):
    """Does one piece of work after the other, for a connection that ends.

    No error of the first is answered: the connection is closed anyway.
    """

    def __init__(self, first: Work, second: Work) -> None:
        self._first: Work | None = first
        self._second = second

    def waits(self) -> bool:
        return self._first is not None and self._first.waits()

    def run(self, time_slice: TimeSlice) -> bool:
        if self._first is not None:
            try:
                if not self._first.run(time_slice):
                    return False
            except AmqpError:
                pass
            self._first = None
        return self._second.run(time_slice)
