"""The limits of a queue: when messages are dropped from its head, and when a publish is refused.

RabbitMQ: Time-To-Live and Expiration, Queue Length Limit. A message is dropped when it is at the
head and has expired, or when the queue has more messages or bytes than it may. It is then a dead
letter. So a queue with limits checks its head whenever a message is added or removed, and sets a
timer for the time at which the head expires or a retry delay ends.

Queues without limits never call this (`Queue.publish`).
"""

from typing import Final

from mypy_extensions import i64

from leveret.engine.queues.contents import QueueContents
from leveret.engine.queues.dead_letter import EXPIRED, MAX_LENGTH
from leveret.engine.queues.queue_host import QueueHost
from leveret.engine.values.settings import NONE, QueueSettings
from leveret.engine.values.timers import Timer


class LimitEnforcer:
    """Enforces the limits of one queue, which owns it."""

    def __init__(self, contents: QueueContents, host: QueueHost, timer: Timer) -> None:
        """`timer` is set for the time at which `enforce` has to be called again."""
        self._contents: Final = contents
        self._host: Final = host
        self._timer: Final = timer
        self._rejects = False
        self._max_length: i64 = NONE
        self._max_length_bytes: i64 = NONE
        self.apply(contents.settings)

    def apply(self, settings: QueueSettings) -> None:
        """Use the limits of other settings."""
        self._rejects = settings.rejects
        self._max_length = settings.max_length
        self._max_length_bytes = settings.max_length_bytes

    def enforce(self) -> bool:
        """Drop messages that have expired or exceed a limit, and requeue those whose delay is over.

        :returns: False if there may be more, because the time slice is over or too many dead
            letters wait. One is dropped at least, so that a publish does not make it more.
        """
        contents, host = self._contents, self._host
        redeliveries = contents.redeliveries
        if redeliveries is None:
            while self._drop_head():
                if self._has_to_wait():
                    return False
        else:
            while contents.requeue_due() or self.drop_head():
                if self._has_to_wait():
                    return False
            if redeliveries.delayed_count() != 0:
                host.timers.set(self._timer, redeliveries.next_due())
        again_at = contents.backlog.next_expiry(host.clock.now)
        if again_at != 0:
            host.timers.set(self._timer, again_at)
        return True

    def _has_to_wait(self) -> bool:
        host = self._host
        return host.time_slice.is_over() or (
            self._contents.dead_letters and host.has_too_many_dead_letters()
        )

    def drop_head(self) -> bool:
        """Remove the next message if it has expired, exceeds a limit, or is retry-delayed.

        :returns: False if it is not removed, or there is none in memory.
        """
        return self._contents.delay_head() or self._drop_head()

    def refuses(self, size: i64) -> bool:
        """Whether the queue is too full for a body of `size` bytes and refuses it for that."""
        if not self._rejects:
            return False
        contents = self._contents
        if self._max_length != NONE and contents.total_count() >= self._max_length:
            return True
        most = self._max_length_bytes
        return most != NONE and contents.total_bytes() + size > most

    def _drop_head(self) -> bool:
        """Drop the next message if it has expired or exceeds a limit."""
        contents = self._contents
        backlog = contents.backlog
        now = self._host.clock.now
        expiry = backlog.next_expiry(now)
        if expiry != 0 and expiry <= now:
            message, position, _ = contents.pop_expired()
            contents.drop(message, position, EXPIRED)
            return True
        if self._exceeds_length() and backlog.available():
            message, position, _ = contents.pop()
            contents.drop(message, position, MAX_LENGTH)
            return True
        return False

    def _exceeds_length(self) -> bool:
        if self._rejects:
            # A requeued message is accepted, however full the queue is.
            return False
        if self._max_length != NONE and self._contents.total_count() > self._max_length:
            return True
        most = self._max_length_bytes
        return most != NONE and self._contents.total_bytes() > most
