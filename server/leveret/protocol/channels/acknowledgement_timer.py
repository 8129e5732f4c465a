"""The acknowledgement timer: finds the deliveries that a consumer does not settle in time.

(RabbitMQ: Delivery Acknowledgement Timeout.) All deliveries of a consumer have the same time, so
they become overdue in the order in which they were made. The timer is set for one of them at a
time, and for the next one when it rings.
"""

from typing import Final

from mypy_extensions import i64

from leveret.engine.queues.queue_host import QueueHost
from leveret.engine.values.timers import Timer
from leveret.protocol.channels.delivery import Delivery

OVERDUE_AT_ONCE_MAX: Final = 64
"""Overdue deliveries that are requeued each time the timer rings: a fraction of a millisecond."""


class AcknowledgementTimer(Timer):
    """Has the overdue deliveries of one consumer requeued."""

    def __init__(self, host: QueueHost, timeout_ms: i64) -> None:
        super().__init__()
        self._clock = host.clock
        self._timers = host.timers
        self._timeout_ms = timeout_ms
        self._deadlines: dict[Delivery, int] = {}
        """When each delivery becomes overdue, in milliseconds since the epoch, in that order."""
        self._cancelled = False
        """Whether the consumer is cancelled: no further deliveries will start."""

    def start(self, delivery: Delivery) -> None:
        """A delivery was made."""
        deadline = self._clock.now + self._timeout_ms
        self._deadlines[delivery] = int(deadline)
        if self.due == 0:
            self._timers.set(self, deadline)

    def stop(self, delivery: Delivery) -> None:
        """A delivery was settled."""
        self._deadlines.pop(delivery, None)
        self._stop_if_idle()

    def cancel(self) -> None:
        """The consumer is cancelled: run for the deliveries that it has, and then end."""
        self._cancelled = True
        self._stop_if_idle()

    def ring(self) -> None:
        overdue = self._pop_overdue()
        more = False
        for deadline in self._deadlines.values():
            more = deadline <= self._clock.now
            self._timers.set(self, deadline)
            break
        if overdue:
            consumer = overdue[0].consumer
            if consumer is not None:
                consumer.requeue_overdue(overdue, more)

    def _pop_overdue(self) -> list[Delivery]:
        """Remove the deliveries that are overdue: the first of them, if they are many. The timer
        rings again for the others."""
        now = self._clock.now
        overdue: list[Delivery] = []
        for delivery, deadline in self._deadlines.items():
            if deadline > now or len(overdue) == OVERDUE_AT_ONCE_MAX:
                break
            overdue.append(delivery)
        for delivery in overdue:
            del self._deadlines[delivery]
        return overdue

    def _stop_if_idle(self) -> None:
        if self._cancelled and not self._deadlines:
            self._timers.stop(self)
