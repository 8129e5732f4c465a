"""A transaction: what a channel published and settled since its last commit.

Nothing of it is seen by anybody until tx.commit; tx.rollback forgets the messages and makes the
deliveries unacknowledged again (AMQP 0-9-1, section 1.9; RabbitMQ: Broker Semantics).
"""

from leveret.engine.routing.routes import Route
from leveret.engine.values.message import Message
from leveret.protocol.channels.deliveries import Delivery, Outcome


class Transaction:
    """What is to happen at the next commit."""

    def __init__(self) -> None:
        self.published: list[tuple[Message, Route, bool]] = []
        """Messages, where they go, and whether they are mandatory."""
        self.settled: list[tuple[list[Delivery], Outcome]] = []
        """Deliveries, and what becomes of them."""

    def publish(self, message: Message, route: Route, mandatory: bool) -> None:
        """Publish at the commit."""
        self.published.append((message, route, mandatory))

    def settle(self, deliveries: list[Delivery], outcome: Outcome) -> None:
        """Have that become of them at the commit."""
        self.settled.append((deliveries, outcome))
