"""Delivery counts and delayed retry: how often messages were requeued, and which are retry-delayed.

RabbitMQ: Quorum Queues, "Poison Message Handling" and "Delayed Retry"; here for every queue that
has a delivery limit or a delayed retry. A message that is requeued because of basic.reject, or
because its channel or connection ended, has failed; basic.nack and basic.recover only return it.
The delivery count, which the delivery limit limits, is that of all returns (RabbitMQ 3.8 to 4.2) or
of the failures (4.3), as the broker is configured; a delayed retry always tells them apart. Every
redelivery carries two counts: `x-delivery-count`, and `x-acquired-count` for returns of any kind.

A retry-delayed message is not in the backlog: it is neither ready nor unacknowledged. Counts and
times survive a restart, as definitions in the store that end with their message.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final

from mypy_extensions import i64

from leveret.engine.queues.delivery_counts import CountsByPosition, DeliveryCounts
from leveret.engine.queues.released import body_size
from leveret.engine.values import properties
from leveret.engine.values.message import Message
from leveret.engine.values.settings import NONE, QueueSettings

DELIVERY_COUNT: Final = b"x-delivery-count"
ACQUIRED_COUNT: Final = b"x-acquired-count"

NEVER_REQUEUED: Final = DeliveryCounts(0, 0, 0)

RETRY_MS_MAX: Final = 2**32 - 1
"""Milliseconds of a retry delay at most, however large the multiplier makes it."""


class Redeliveries:
    """The messages of one queue that were requeued and are not settled, by position."""

    def __init__(self, *, counts_returns: bool) -> None:
        """`counts_returns`: whether the delivery count is that of all returns."""
        self._counts_returns = counts_returns
        self.counts = CountsByPosition()
        self.delayed_bytes: i64 = 0
        """Bytes of the bodies of the retry-delayed messages."""
        self._delayed: list[tuple[int, int, Message]] = []
        """A heap of the retry-delayed messages: end of the delay, position, message."""

    def add_return(
        self, position: int, settings: QueueSettings, failed: bool, now: i64
    ) -> DeliveryCounts:
        """Count that a message was requeued once more.

        :returns: its counts, and whether it is to be delayed.
        """
        before = self.counts.get(position) or NEVER_REQUEUED
        acquired, failures = before.acquired + 1, before.failed + (1 if failed else 0)
        delay = retry_delay(settings, failed, failures if failed else acquired)
        counts = DeliveryCounts(acquired, failures, int(now) + delay if delay else 0)
        self.counts.set(position, counts)
        return counts

    def exceeds_limit(self, counts: DeliveryCounts, settings: QueueSettings) -> bool:
        """Whether a message was delivered more often than its queue allows."""
        limit = settings.delivery_limit
        return limit != NONE and self._delivery_count(counts) > limit

    def with_counts(self, message: Message, counts: DeliveryCounts) -> Message:
        """The message with both counts in its headers."""
        header = properties.with_headers(
            message.header,
            {
                DELIVERY_COUNT: properties.long_integer(self._delivery_count(counts)),
                ACQUIRED_COUNT: properties.long_integer(counts.acquired),
            },
        )
        return Message(
            message.route,
            header,
            message.body,
            message.persistent,
            message.arrived,
            message.expires_at,
        )

    def _delivery_count(self, counts: DeliveryCounts) -> int:
        return counts.acquired if self._counts_returns else counts.failed

    def forget(self, is_settled: Callable[[i64], bool]) -> None:
        """Drop the counts of settled messages, after recovery."""
        self.counts.forget_settled(is_settled)

    def is_delayed(self, position: int, now: i64) -> bool:
        """Whether a message that recovery found at this position has a retry delay still."""
        counts = self.counts.get(position)
        return counts is not None and counts.retry_at > now

    def delay(self, position: int, message: Message) -> None:
        """Add a message that has a retry delay."""
        counts = self.counts.get(position) or NEVER_REQUEUED
        heappush(self._delayed, (counts.retry_at, position, message))
        self.delayed_bytes += body_size(message, position)

    def delayed_count(self) -> int:
        """Number of retry-delayed messages."""
        return len(self._delayed)

    def next_due(self) -> i64:
        """When the next retry delay ends, in milliseconds since the epoch; 0 if there is none."""
        return self._delayed[0][0] if self._delayed else 0

    def pop_due(self, now: i64) -> tuple[int, Message] | None:
        """Remove a message whose retry delay is over; None if there is none.

        :returns: its position and the message.
        """
        if not self._delayed or self._delayed[0][0] > now:
            return None
        _, position, message = heappop(self._delayed)
        self.delayed_bytes -= body_size(message, position)
        return position, message

    def take_delayed(self) -> list[tuple[int, int, Message]]:
        """Remove all retry-delayed messages.

        :returns: for each the end of its delay, its position, and the message.
        """
        delayed = self._delayed
        self._delayed = []
        self.delayed_bytes = 0
        return delayed


def retry_delay(settings: QueueSettings, failed: bool, times: int) -> int:
    """The retry delay, in milliseconds, of a message that was requeued `times` times; 0 for none.

    Without a multiplier it is linear in `times`, constant with 1, exponential with 2 and more.
    """
    kind = settings.retry_type
    if settings.retry_min == NONE or kind not in ("all", "failed" if failed else "returned"):
        return 0
    least, multiplier = int(settings.retry_min), int(settings.retry_multiplier)
    most = RETRY_MS_MAX if settings.retry_max == NONE else int(settings.retry_max)
    if multiplier == NONE:
        return min(least * times, most)
    delay = least
    for _ in range(times - 1):
        if delay >= most or delay == 0 or multiplier == 1:
            break
        delay *= multiplier
    return min(delay, most)
