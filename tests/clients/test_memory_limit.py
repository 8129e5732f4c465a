"""Random abuses under a memory limit: the process stays near it, and all are served afterwards.

Each abuse would take far more memory than the limit leaves. A client that gets blocked, or is not
read, goes on with the next abuse on another connection. Nothing here depends on speed: however much
a slow broker takes of an abuse, the bound is the same.
"""

from collections.abc import Iterator
from contextlib import suppress
from random import Random

import pytest
from pamqp import commands

from tests.clients.peers import MEGABYTE, Peers, Watch, log_lines, resident_bytes
from tests.support.brokers import Leveret, wait_until
from tests.support.wire import BODY, ClosedByServerError, marshal_content, raw_frame, raw_header

HEADROOM = 64 * MEGABYTE
"""Memory that the broker may take beyond what it takes idle."""

OVERSHOOT_MAX = 40 * MEGABYTE
"""Memory above the limit that a burst may take before it is measured."""

ABUSE_BYTES = 48 * MEGABYTE
QUEUES = 12
DELAYED_EXCHANGES = 80
SIZES = (500, 5_000, 50_000, 300_000)
PERSISTENT = commands.Basic.Properties(delivery_mode=2)


@pytest.fixture(scope="module")
def limit() -> int:
    """A limit above what an idle broker takes."""
    with Leveret() as idle, Peers(idle) as peers:
        peers.log_in()
        return resident_bytes(idle) + HEADROOM


@pytest.fixture
def broker(limit: int) -> Iterator[Leveret]:
    """A broker with that limit."""
    with Leveret(env={"LEVERET_MEMORY_LIMIT": str(limit)}) as leveret:
        yield leveret


class Abuses:
    """Clients that take as much memory as they can, each in its own way."""

    def __init__(self, peers: Peers, chance: Random) -> None:
        self._peers = peers
        self._chance = chance
        self.queues: list[str] = []

    def _fill(self, queue: str, most: int, *, mandatory: bool = False) -> None:
        publish = commands.Basic.Publish(routing_key=queue, mandatory=mandatory)
        size = self._chance.choice(SIZES)
        properties = self._chance.choice((PERSISTENT, None))
        self._peers.log_in().fill(marshal_content(publish, 1, b"." * size, properties), most)

    def _new_queue(self) -> str:
        queue = f"abused-{len(self.queues)}"
        durable = self._chance.random() < 0.5
        declare = commands.Queue.Declare(queue=queue, durable=durable)
        self._peers.log_in().call(declare, commands.Queue.DeclareOk)
        self.queues.append(queue)
        return queue

    def many_queues(self) -> None:
        """Fill many queues a little, which nobody consumes."""
        for _ in range(QUEUES):
            self._fill(self._new_queue(), ABUSE_BYTES // QUEUES)

    def many_delayed_exchanges(self) -> None:
        """Fill many delayed exchanges a little, whose messages are due in an hour."""
        for number in range(DELAYED_EXCHANGES):
            exchange = f"delayed-{number}"
            peer = self._peers.log_in()
            declare = commands.Exchange.Declare(
                exchange=exchange,
                exchange_type="x-delayed-message",
                durable=self._chance.random() < 0.5,
                arguments={"x-delayed-type": "fanout"},
            )
            peer.call(declare, commands.Exchange.DeclareOk)
            publish = commands.Basic.Publish(exchange=exchange)
            properties = commands.Basic.Properties(
                headers={"x-delay": 3_600_000}, delivery_mode=self._chance.choice((1, 2))
            )
            body = b"." * self._chance.choice(SIZES)
            most = 2 * ABUSE_BYTES // DELAYED_EXCHANGES
            peer.fill(marshal_content(publish, 1, body, properties), most)

    def unacknowledged(self) -> None:
        """Consume a full queue without a prefetch, and acknowledge nothing."""
        queue = self._new_queue()
        self._fill(queue, ABUSE_BYTES)
        consumer = self._peers.log_in()
        consumer.consume(queue, no_ack=False)
        consumer.swallow()
        if self._chance.random() < 0.5:
            consumer.reset()

    def half_a_message(self) -> None:
        """Send a message but for its end."""
        peer = self._peers.log_in()
        peer.send(commands.Basic.Publish(routing_key=self._new_queue()), 1)
        peer.send_bytes(raw_header(1, 60, ABUSE_BYTES + MEGABYTE))
        frame = raw_frame(BODY, 1, b"." * self._chance.choice((200, 2_000, 100_000)))
        peer.fill(frame * (100_000 // len(frame) + 1), ABUSE_BYTES)

    def transaction(self) -> None:
        """Publish in a transaction that is never committed."""
        publish = commands.Basic.Publish(routing_key=self._new_queue())
        peer = self._peers.log_in()
        peer.call(commands.Tx.Select(), commands.Tx.SelectOk)
        peer.fill(marshal_content(publish, 1, b"." * self._chance.choice(SIZES)), ABUSE_BYTES)

    def unread_returns(self) -> None:
        """Have messages returned, and read nothing."""
        self._fill("no-such-queue", ABUSE_BYTES, mandatory=True)


@pytest.mark.parametrize("seed", [1, 2])
def test_memory_stays_near_its_limit_and_everybody_is_served_afterwards(
    broker: Leveret, limit: int, seed: int
) -> None:
    chance = Random(seed)
    with Watch(lambda: resident_bytes(broker)) as memory, Peers(broker) as peers:
        abuses = Abuses(peers, chance)
        kinds = [
            abuses.many_queues,
            abuses.many_delayed_exchanges,
            abuses.unacknowledged,
            abuses.half_a_message,
            abuses.transaction,
            abuses.unread_returns,
        ]
        chance.shuffle(kinds)
        for abuse in kinds:
            # Whoever holds more than its share is closed.
            with suppress(ClosedByServerError, ConnectionError):
                abuse()
    with Peers(broker) as peers:
        drain = peers.log_in()
        for queue in abuses.queues:
            drain.delete(queue)
        publisher = peers.log_in()
        publisher.call(commands.Confirm.Select(), commands.Confirm.SelectOk)
        for _ in range(2):
            # An alarm blocks whoever publishes, so the second confirm comes after its end.
            publisher.publish("nowhere", b"one")
            publisher.read_one(commands.Basic.Ack)
        wait_until(lambda: resident_bytes(broker) < limit, what="memory below the limit")

    assert memory.most < limit + OVERSHOOT_MAX, log_lines(broker, "alarm")
