"""An observer of publishes: it is told of every message that goes through an exchange.

It is for tests of applications (`leveret.testing`). While a router has one, each of its routes has
to be asked for every message, as a route over a headers exchange has; without one, the way of a
message is as if there were no observers.

It is told of a message when that is published: what a transaction has deferred at tx.commit, and
what it has rolled back never. The history that a new binding gets, and messages that an operator
moves, are not told: no exchange gets them.
"""

from abc import ABC, abstractmethod
from enum import StrEnum

from leveret.engine.routing.sink import Sink
from leveret.engine.values.message import Message


class Origin(StrEnum):
    """Who has published a message."""

    CLIENT = "client"
    DEAD_LETTER = "dead letter"
    """The broker, because a queue has dropped it (RabbitMQ: Dead Letter Exchanges)."""
    DELAY = "delay"
    """The broker, because the delay is over for which an exchange has held it."""


class PublishObserver(ABC):
    """Is told of the publishes of the virtual hosts whose routers have it (`Router.observe_with`).

    Its methods run in the middle of a publish: they must be quick, and publish and settle nothing.
    """

    @abstractmethod
    def published(
        self,
        vhost: str,
        exchange: str,
        routing_keys: list[str],
        message: Message,
        sinks: list[Sink],
        origin: Origin,
    ) -> None:
        """A message is published; the dead letters that this makes come after it.

        :param exchange: the name of the exchange it is published to; "" is the default exchange.
        :param routing_keys: the one it is published with, and those in CC and BCC.
        :param sinks: what it reaches, which may refuse it yet; none if it is unroutable.
        """

    @abstractmethod
    def refused(self, message: Message) -> None:
        """A sink has refused a message that was told."""

    def refuses(
        self,
        vhost: str,
        exchange: str,
        routing_keys: list[str],
        message: Message,
        sinks: list[Sink],
    ) -> bool:
        """Whether the broker is to answer a message with basic.nack, and give it to no sink.

        Asked only for the messages of channels that have publisher confirms. Of a message that it
        has refused, the observer is not told by `published`.
        """
        return False
