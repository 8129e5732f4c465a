"""A transaction: what a channel published and settled since its last commit.

Nothing of it takes effect before tx.commit. tx.rollback drops the messages and makes the deliveries
unacknowledged again (AMQP 0-9-1, section 1.9; RabbitMQ: Broker Semantics).
"""

from typing import Final, TypeAlias

from mypy_extensions import i64

from leveret.engine.queues.message_memory import message_cost
from leveret.engine.routing.routes import Route
from leveret.engine.values.message import Message
from leveret.engine.values.time_slice import TimeSlice
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import TRANSACTION_BYTES_MAX
from leveret.protocol.channels.deliveries import Deliveries
from leveret.protocol.channels.delivery import Delivery, Outcome

DROPPED_AT_ONCE: Final = 256
"""Messages that are dropped between two readings of the clock: some 50 us."""

TARGET_BYTES: Final = 16
"""Bytes of each queue of a message in the log, at most."""

Publish: TypeAlias = tuple[Message, Route, bool]
"""A message, where it goes, and whether it is mandatory."""

Settling: TypeAlias = tuple[list[Delivery], Outcome]


class Transaction:
    """The transaction of one channel, which exists before tx.select, but defers nothing then."""

    def __init__(self) -> None:
        self.selected = False
        """Whether tx.select came."""
        self.bytes: i64 = 0
        """Bytes of memory of what was published."""
        self._published: list[Publish] = []
        self._settled: list[Settling] = []

    @property
    def publish_count(self) -> int:
        """Publishes that were not committed yet."""
        return len(self._published)

    @property
    def settle_count(self) -> int:
        """Settlements that were not committed yet, each of some deliveries."""
        return len(self._settled)

    def publish(self, message: Message, route: Route, mandatory: bool) -> None:
        """Publish at the next commit.

        :raises AmqpError: PRECONDITION_FAILED if the transaction has become too large.
        """
        cost = message_cost(len(message.header) + len(message.body), 1)
        self.bytes += cost + TARGET_BYTES * len(route.sinks)
        if self.bytes > TRANSACTION_BYTES_MAX:
            raise AmqpError(
                ReplyCode.PRECONDITION_FAILED,
                f"a transaction of more than {TRANSACTION_BYTES_MAX} bytes; commit more often",
            )
        self._published.append((message, route, mandatory))

    def settle(self, deliveries: list[Delivery], outcome: Outcome) -> None:
        """Settle at the next commit."""
        self._settled.append((deliveries, outcome))

    def take(self) -> tuple[list[Publish], list[Settling]]:
        """Take all that is to be committed. The next transaction begins empty."""
        published, settled = self._published, self._settled
        self._published = []
        self._settled = []
        self.bytes = 0
        return published, settled

    def roll_back(self, deliveries: Deliveries, time_slice: TimeSlice) -> bool:
        """Drop what was published, and make what was settled unacknowledged again, until the time
        slice is over.

        :returns: whether that is done. If not, call it again before anything else.
        """
        while self._published:
            del self._published[-DROPPED_AT_ONCE:]
            if time_slice.is_over_now():
                return False
        while self._settled:
            popped = self._settled[-1][0]
            while popped:
                deliveries.restore(popped.pop())
                if time_slice.is_over():
                    return False
            self._settled.pop()
        self.bytes = 0
        return True
