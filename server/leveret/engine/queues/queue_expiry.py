"""The expiry of an unused queue (RabbitMQ: Queue TTL, the argument `x-expires`).

A queue is used while it has a consumer, and whenever it is declared, passively too, or read with
basic.get. Publishing to it does not count. A start of the broker restarts the time.
"""

from collections.abc import Callable

from mypy_extensions import i64

from leveret.engine.values.clock import Clock
from leveret.engine.values.timers import Timer, Timers


class QueueExpiry(Timer):
    """The timer that deletes one queue when it was not used for `expires_ms` milliseconds."""

    def __init__(
        self,
        clock: Clock,
        timers: Timers,
        expires_ms: i64,
        is_consumed: Callable[[], bool],
        delete: Callable[[], None],
    ) -> None:
        """
        :param is_consumed: whether the queue has a consumer.
        :param delete: deletes the queue.
        """
        super().__init__()
        self._clock = clock
        self._timers = timers
        self._expires_ms = expires_ms
        self._is_consumed = is_consumed
        self._delete = delete
        self._last_used: i64 = 0
        self.renew()

    def renew(self) -> None:
        """Restart the time, because the queue is used now."""
        # A timer that is set already rings too soon, and is set again then.
        self._last_used = self._clock.now
        self._timers.set(self, self._last_used + self._expires_ms)

    def stop(self) -> None:
        """Stop, because the queue is deleted or its settings have changed."""
        self._timers.stop(self)

    def ring(self) -> None:
        if self._is_consumed():
            self.renew()
        elif self._clock.now < self._last_used + self._expires_ms:
            self._timers.set(self, self._last_used + self._expires_ms)
        else:
            self._delete()
