"""The lease of a queue that goes when nobody has used it for a while (RabbitMQ: Queue TTL).

Used is a queue that has a consumer, or is declared again, or is asked for a message by basic.get.
Being looked at, or published to, is no use. A start of the broker begins the lease anew.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from mypy_extensions import i64

from leveret.engine.values.timers import Timer

if TYPE_CHECKING:
    from leveret.engine.queues.queue import Queue


class QueueExpiry(Timer):
    """Ends one queue, which has the setting `expires`, once it was not used for that long."""

    def __init__(self, queue: "Queue", end: Callable[[], None]) -> None:
        super().__init__()
        self._queue = queue
        self._end = end
        self._used: i64 = 0
        self.renew()

    def renew(self) -> None:
        """It is used now. The timer finds out when it rings."""
        host = self._queue.host
        self._used = host.clock.now
        host.timers.set(self, self._used + self._queue.settings.expires)

    def ring(self) -> None:
        queue = self._queue
        if queue.consumer_count != 0:
            self.renew()
        elif queue.host.clock.now < self._used + queue.settings.expires:
            queue.host.timers.set(self, self._used + queue.settings.expires)
        else:
            self._end()
