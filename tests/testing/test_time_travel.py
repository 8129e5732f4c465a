"""Time travel, where the disk takes its time, and where it does not end."""

import asyncio
from pathlib import Path

import pika
import pytest

from leveret.engine.values.timers import Timer
from leveret.node import Node
from leveret.testing import Broker, BrokerError
from leveret.testing.control import Control
from leveret.testing.options import Options
from leveret.testing.ports import ReservedPort
from leveret.testing.time_travel import travel

HOUR_S = 3600
MESSAGES = 5_000
"""With 4 kB each, more than a queue has in memory."""


def test_what_is_on_disk_expires_before_the_call_returns(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker:
        connection = pika.BlockingConnection(pika.URLParameters(broker.url))
        channel = connection.channel()
        channel.queue_declare("dead", durable=True)
        dead_letters = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
        arguments = {"x-message-ttl": HOUR_S * 1000, **dead_letters}
        channel.queue_declare("q", durable=True, arguments=arguments)
        persistent = pika.BasicProperties(delivery_mode=2)
        for _ in range(MESSAGES - 1):
            channel.basic_publish("", "q", b"x" * 4096, persistent)
        channel.confirm_delivery()
        channel.basic_publish("", "q", b"x" * 4096, persistent)

        broker.advance(HOUR_S + 60)
        counts = [
            channel.queue_declare(queue, passive=True).method.message_count
            for queue in ("q", "dead")
        ]
        connection.close()
    assert counts == [0, MESSAGES]


class Again(Timer):
    """Is due every second."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._broker = node.broker
        self._began = int(self._broker.clock.now)
        self.rung = 0
        self.set()

    def set(self) -> None:
        self._broker.timers.set(self, self._began + (self.rung + 1) * 1000)

    def ring(self) -> None:
        self.rung += 1
        self.set()


def test_what_is_due_again_and_again_ends_at_a_deadline() -> None:
    async def advance(seconds: int, within_s: float) -> int:
        port = ReservedPort("127.0.0.1")
        control = Control(Options(port.host, port.port, None, None, 0, "info"))
        await control.start()
        again = Again(control.node)
        try:
            await travel(control.node, seconds * 1000, within_s)
        finally:
            await control.stop(False)
            port.close()
        return again.rung

    assert asyncio.run(advance(60, 60)) == 60
    with pytest.raises(BrokerError, match="time travel takes too long"):
        asyncio.run(advance(10**9, 0.05))
