"""The consumers' rules of a durable queue hold after kill -9: its arguments are persistent."""

from pathlib import Path

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPConnectionError

from tests.support.brokers import Leveret, wait_until

PERSISTENT = pika.BasicProperties(delivery_mode=2)
ARGUMENTS = {"x-single-active-consumer": True, "x-consumer-timeout": 300}


class Worker:
    """A consumer that acknowledges nothing, on a connection of its own, and what it got."""

    def __init__(self, broker: Leveret, queue: str, *, prefetch: int) -> None:
        self.connection = pika.BlockingConnection(pika.URLParameters(broker.url))
        self.channel: BlockingChannel = self.connection.channel()
        self.channel.basic_qos(prefetch_count=prefetch)
        self.got: list[tuple[bytes, bool]] = []
        self.channel.basic_consume(queue, self._deliver)

    def _deliver(self, _channel: object, method: object, _properties: object, body: bytes) -> None:
        assert isinstance(method, pika.spec.Basic.Deliver)
        self.got.append((body, method.redelivered))

    def waits_for(self, count: int) -> None:
        """Serve its connection until it has so many messages."""
        wait_until(lambda: self._served() >= count, 60, f"{count} messages")

    def _served(self) -> int:
        self.connection.process_data_events(0)
        return len(self.got)


def test_one_is_active_and_has_its_time_and_what_it_held_comes_first(tmp_path: Path) -> None:
    with Leveret(data_dir=tmp_path / "data") as first:
        worker = Worker(first, _declared(first), prefetch=2)
        worker.channel.confirm_delivery()
        for body in (b"1", b"2", b"3"):
            worker.channel.basic_publish("", "q", body, PERSISTENT)
        worker.waits_for(2)
        first.kill()
        with pytest.raises(AMQPConnectionError):
            worker.waits_for(3)

    with Leveret(data_dir=tmp_path / "data") as second:
        assert _declared(second) == "q", "it has the arguments it had"
        active = Worker(second, "q", prefetch=1)
        waiting = Worker(second, "q", prefetch=3)
        active.waits_for(1)
        assert active.got[0][0] == b"1"
        # Its time is over: the next one is active, and gets everything.
        waiting.waits_for(3)
        assert "deliveries not acknowledged in time" in second.log_text()
        assert [body for body, _ in waiting.got[:3]] == [b"1", b"2", b"3"]
        assert [body for body, _ in active.got] == [b"1"]
        active.connection.close()
        waiting.connection.close()


def _declared(broker: Leveret) -> str:
    connection = pika.BlockingConnection(pika.URLParameters(broker.url))
    connection.channel().queue_declare("q", durable=True, arguments=ARGUMENTS)
    connection.close()
    return "q"
