"""What faults a test has ordered, and which of them have not happened yet.

An order is carried out by what sees its cause: the transport of a connection, or the router. It is
pending until it has happened as often as was asked for. What is in force until it is taken back, a
delay for example, is not pending.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Refusal: TypeAlias = Literal["reset", "login", "limit"]
"""How a connection is refused: its socket is reset, or its login is refused, or the limit of
connections is reached."""

REFUSALS: Final = ("reset", "login", "limit")

Direction: TypeAlias = Literal["received", "sent"]
"""Which frames count: those that the broker receives from the client, or those it sends to it."""

DIRECTIONS: Final = ("received", "sent")


Resource: TypeAlias = Literal["memory", "disk"]
"""What is short while publishers are blocked."""

RESOURCES: Final[tuple[Resource, ...]] = ("memory", "disk")


@dataclass(frozen=True, slots=True)
class PendingFault:
    """A fault that was ordered and has not happened yet."""

    what: str
    """The order, in words."""
    left: int
    """How often it has not happened yet, from 1."""

    def __str__(self) -> str:
        return self.what if self.left == 1 else f"{self.what} ({self.left} times)"


class Order:
    """A fault that happens a number of times."""

    def __init__(self, what: str, count: int) -> None:
        """:param count: from 1."""
        self.what = what
        self.left = count
        """How often it has not happened yet."""


class RefuseConnections(Order):
    """Refuse the next connections."""

    def __init__(self, how: Refusal, count: int) -> None:
        super().__init__(f"refuse a connection: {how}", count)
        self.how = how


class DropConnection(Order):
    """Close the socket of a connection after some frames."""

    def __init__(
        self,
        what: str,
        after_frames: int,
        direction: Direction,
        count: int = 1,
        *,
        answered: bool = True,
    ) -> None:
        """:param count: how many of the next connections; 1 for one that is there already.
        :param answered: whether what came last is answered before.
        """
        super().__init__(what, count)
        self.after_frames = after_frames
        self.direction = direction
        self.answered = answered
        self.unassigned = 0
        """How many connections are still to get this order as they come."""


class RefusePublishes(Order):
    """Refuse messages, as a queue does that is full: their publishers get basic.nack."""

    def __init__(
        self, count: int, exchange: str | None, routing_key: str | None, queue: str | None
    ) -> None:
        """Each of the others is what the message has to have, or None for any."""
        conditions = {"exchange": exchange, "routing key": routing_key, "queue": queue}
        given = [f"{name} {value!r}" for name, value in conditions.items() if value is not None]
        of = f" of {' and '.join(given)}" if given else ""
        super().__init__(f"nack a publish{of}", count)
        self.exchange = exchange
        self.routing_key = routing_key
        self.queue = queue


class FaultOrders:
    """The orders of one broker."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        """Seconds by which what is sent on every connection is late."""
        self._pending: dict[Order, None] = {}

    def add(self, order: Order) -> None:
        """Have an order carried out, after those of its kind that are pending."""
        self._pending[order] = None

    def cancel(self, order: Order) -> None:
        """Take back an order, if it is pending."""
        self._pending.pop(order, None)

    def happened(self, order: Order) -> None:
        """An order was carried out once."""
        order.left -= 1
        if order.left == 0:
            self.cancel(order)

    def take_refusal(self, *hows: Refusal) -> bool:
        """Whether a connection is to be refused in one of these ways, as the next one that is; if
        so, it counts as done."""
        for order in self._pending:
            if isinstance(order, RefuseConnections):
                if order.how in hows:
                    self.happened(order)
                    return True
                return False
        return False

    def refuses_in_handshake(self) -> bool:
        """Whether a connection is to be refused while it logs in."""
        return any(
            isinstance(order, RefuseConnections) and order.how != "reset" for order in self._pending
        )

    def take_drop(self) -> DropConnection | None:
        """The order by which a connection that was made is dropped later."""
        for order in self._pending:
            if isinstance(order, DropConnection) and order.unassigned:
                order.unassigned -= 1
                return order
        return None

    def refuses_publishes(self) -> bool:
        """Whether a message is to be refused."""
        return any(isinstance(order, RefusePublishes) for order in self._pending)

    def take_publish(self, exchange: str, routing_key: str, queues: tuple[str, ...]) -> bool:
        """Whether a message is refused that would go to these queues; if so, it counts as done."""
        for order in self._pending:
            if (
                isinstance(order, RefusePublishes)
                and order.exchange in (None, exchange)
                and order.routing_key in (None, routing_key)
                and (order.queue is None or order.queue in queues)
            ):
                self.happened(order)
                return True
        return False

    def pending(self) -> tuple[PendingFault, ...]:
        """What has not happened yet, the oldest order first."""
        return tuple(PendingFault(order.what, order.left) for order in self._pending)

    def clear(self) -> None:
        """Take back all orders."""
        self._pending.clear()
        self.delay_s = 0.0
