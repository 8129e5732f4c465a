"""A broker in a thread that is killed while clients publish: what was confirmed is there, as after
the kill of a process, and nothing of the killed one is left."""

import gc
import os
import threading
from contextlib import suppress
from pathlib import Path

import pika
from pika.exceptions import AMQPError

from leveret.testing import Broker
from tests.support.brokers import wait_until

KILLS = 5
CONFIRMED_EACH = 3
"""Messages that are confirmed at least between two kills."""

PERSISTENT = pika.BasicProperties(delivery_mode=2)


class Publisher(threading.Thread):
    """Publishes numbered messages with confirms, and connects again when the broker is gone."""

    def __init__(self, broker: Broker, name: str) -> None:
        super().__init__(name=name)
        self._broker = broker
        self._ends = threading.Event()
        self._number = 0
        self.confirmed: list[bytes] = []

    def run(self) -> None:
        while not self._ends.is_set():
            # pika raises others, too, when the broker goes while it connects.
            with suppress(AMQPError, OSError, ValueError, AssertionError):
                self._publish()

    def _publish(self) -> None:
        with pika.BlockingConnection(pika.URLParameters(self._broker.url)) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.queue_declare("q", durable=True)
            while not self._ends.is_set():
                self._number += 1
                body = f"{self.name} {self._number}".encode()
                channel.basic_publish("", "q", body, PERSISTENT)
                self.confirmed.append(body)

    def wait_for_more(self, count: int) -> None:
        """Wait until so many more are confirmed."""
        enough = len(self.confirmed) + count
        wait_until(lambda: len(self.confirmed) >= enough)

    def end(self) -> None:
        self._ends.set()
        self.join()


def test_nothing_confirmed_is_lost(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker:
        publishers = [Publisher(broker, name) for name in ("one", "two")]
        for publisher in publishers:
            publisher.start()
        for _ in range(KILLS):
            for publisher in publishers:
                publisher.wait_for_more(CONFIRMED_EACH)
            broker.kill()
            confirmed = [body for publisher in publishers for body in publisher.confirmed]
            broker.start()
            there = {message.body for message in broker.queue("q").messages(1_000_000)}
            assert set(confirmed) <= there
        for publisher in publishers:
            publisher.end()


def test_nothing_of_a_killed_broker_is_left(tmp_path: Path) -> None:
    with Broker(tmp_path / "first"):
        # What stays open from the first one on.
        pass
    threads = threading.active_count()
    descriptors = len(os.listdir("/proc/self/fd"))
    broker = Broker(tmp_path / "data")
    broker.start()
    broker.kill()
    with Broker(tmp_path / "data") as other:
        assert other.queues() == []
    broker.close()
    gc.collect()
    assert threading.active_count() <= threads
    assert len(os.listdir("/proc/self/fd")) <= descriptors
