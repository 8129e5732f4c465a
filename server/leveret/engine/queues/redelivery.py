"""What a queue knows of messages that came back: how often, and which of them are held back.

RabbitMQ: Quorum Queues, "Poison Message Handling" and "Delayed Retry"; here for every queue that
has a delivery limit or a delayed retry. A message that came back because somebody could not cope
with it (basic.reject, or the end of a channel or connection) has failed; basic.nack and
basic.recover only return it. Failures count towards the delivery limit. Every redelivery carries
both counts: `x-delivery-count` failures and `x-acquired-count` returns of any kind.

A message that is held back has left the others' order and is neither ready nor unacknowledged.
Counts and times outlive a restart, as definitions of the store that end with their message.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final, NamedTuple

from mypy_extensions import i64

from leveret.engine.values import properties
from leveret.engine.values.message import Message
from leveret.engine.values.settings import NONE, QueueSettings

DELIVERY_COUNT: Final = b"x-delivery-count"
ACQUIRED_COUNT: Final = b"x-acquired-count"

RETRY_MS_MAX: Final = 2**32 - 1
"""Milliseconds that a message is held back at most, whatever the multiplier makes of it."""


class DeliveryCounts(NamedTuple):
    """How often one message came back."""

    acquired: int
    """For whatever reason."""
    failed: int
    retry_at: int
    """Until when it is held back, in milliseconds since the epoch; 0 if it is not."""


class Redeliveries:
    """The messages of one queue that came back and are not done with, by position."""

    def __init__(self) -> None:
        self.counts: dict[int, DeliveryCounts] = {}
        self.delayed_bytes: i64 = 0
        """Bytes of the bodies of messages that are held back."""
        self._delayed: list[tuple[int, int, Message]] = []

    def count(
        self, position: int, settings: QueueSettings, failed: bool, now: i64
    ) -> DeliveryCounts:
        """A message came back once more."""
        before = self.counts.get(position, DeliveryCounts(0, 0, 0))
        acquired, failures = before.acquired + 1, before.failed + (1 if failed else 0)
        delay = retry_delay(settings, failed, failures if failed else acquired)
        counted = DeliveryCounts(acquired, failures, int(now) + delay if delay else 0)
        self.counts[position] = counted
        return counted

    def forget(self, is_settled: Callable[[i64], bool]) -> None:
        """Messages are done with, of those that a start found."""
        self.counts = {
            position: each for position, each in self.counts.items() if not is_settled(position)
        }

    def is_delayed(self, position: int, now: i64) -> bool:
        """Whether a message that a start found at this position is not to be delivered yet."""
        returns = self.counts.get(position)
        return returns is not None and returns.retry_at > now

    def delay(self, position: int, message: Message) -> None:
        """Hold a message back until it is due."""
        heappush(self._delayed, (self.counts[position].retry_at, position, message))
        self.delayed_bytes += len(message.body)

    def delayed_count(self) -> int:
        """How many messages are held back."""
        return len(self._delayed)

    def next_due(self) -> i64:
        """When the next one is due, in milliseconds since the epoch; 0 if none is held back."""
        return self._delayed[0][0] if self._delayed else 0

    def pop_due(self, now: i64) -> tuple[int, Message] | None:
        """Position and message of one that is held back no longer; None if there is none."""
        if not self._delayed or self._delayed[0][0] > now:
            return None
        _, position, message = heappop(self._delayed)
        self.delayed_bytes -= len(message.body)
        return position, message

    def clear_delayed(self) -> list[int]:
        """Let go of everything that is held back; the positions are returned."""
        positions = [position for _, position, _ in self._delayed]
        self._delayed.clear()
        self.delayed_bytes = 0
        return positions


def exceeds_limit(returns: DeliveryCounts, settings: QueueSettings) -> bool:
    """Whether a message failed more often than its queue allows."""
    return settings.delivery_limit != NONE and returns.failed > settings.delivery_limit


def retry_delay(settings: QueueSettings, failed: bool, times: int) -> int:
    """For how many milliseconds a message that came back `times` times is held back.

    Linear in `times` without a multiplier, constant with 1, exponential with 2 and more.
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
        if delay >= most or multiplier == 1:
            break
        delay *= multiplier
    return min(delay, most)


def counted(message: Message, returns: DeliveryCounts) -> Message:
    """The same message with headers that say how often it came back."""
    header = properties.with_headers(
        message.header,
        {
            DELIVERY_COUNT: properties.long_integer(returns.failed),
            ACQUIRED_COUNT: properties.long_integer(returns.acquired),
        },
    )
    return Message(
        message.route, header, message.body, message.persistent, message.arrived, message.expires_at
    )
