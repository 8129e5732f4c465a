"""Kills in the middle of moves, copies and replays: each message is in one place afterwards, and a
copy is there once at most."""

import secrets
import threading
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from leveret.commands.client import Client, NoBroker, RequestFailed
from tests.support.brokers import Leveret, wait_until
from tests.support.examples import examples

ROUNDS = examples(3)
MESSAGES = 400
WORK_S = (0.1, 0.8)
"""Seconds of work before a kill: at least and at most."""

DRAINED_S = 60.0
PERSISTENT = 2
QUEUES = ("a", "b", "copies", "work", "dead")


class Mover(threading.Thread):
    """Moves messages between a and b, copies a third queue's, and replays dead letters, until the
    broker is gone."""

    def __init__(self, data: Path, random: Random) -> None:
        super().__init__()
        self._api = Client(data)
        self._random = random
        self._copied = 0
        self.moved = 0
        self.wrong: Exception | None = None

    def run(self) -> None:
        try:
            while True:
                self._move("a", "b")
                self._move("b", "a")
                self._copy()
                self.moved += self._post("dead", "replay", count=self._few())["replayed"]
        except NoBroker:
            return
        except Exception as error:
            self.wrong = error

    def has_moved(self) -> bool:
        return self.moved > 0 or not self.is_alive()

    def _few(self) -> int:
        return self._random.choice((1, 7, 50))

    def _move(self, source: str, target: str) -> None:
        if self._random.random() < 0.5:
            self.moved += self._post(source, "move", queue=target, count=self._few())["moved"]
            return
        offset = self._random.randrange(MESSAGES)
        seen = self._post(source, "peek", count=100, offset=offset)["messages"]
        positions = [each["position"] for each in seen]
        self._random.shuffle(positions)
        chosen = positions[: self._few()]
        self.moved += self._post(source, "move", queue=target, positions=chosen)["moved"]

    def _copy(self) -> None:
        if self._copied < MESSAGES:
            # Behind them are dead letters that came back.
            few = min(3, MESSAGES - self._copied)
            answer = self._post("work", "copy", queue="copies", offset=self._copied, count=few)
            self._copied += answer["copied"]

    def _post(self, name: str, what: str, /, **body: Any) -> dict[str, Any]:
        try:
            answer = self._api.post("queues", "/", name, what, body=body)
        except RequestFailed as error:
            raise AssertionError(f"{what}: {error}") from None
        assert isinstance(answer, dict)
        return answer


def fill(channel: BlockingChannel) -> None:
    """Publish messages to a and work, and have as many die in work."""
    channel.tx_select()
    for name in QUEUES:
        table = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
        channel.queue_declare(name, durable=True, arguments=table if name == "work" else {})
    for number in range(MESSAGES):
        for queue, expiration in (("work", "0"), ("a", None)):
            how = pika.BasicProperties(delivery_mode=PERSISTENT, expiration=expiration)
            channel.basic_publish("", queue, b"%s %d" % (queue.encode(), number), how)
    channel.tx_commit()
    wait_until(lambda: count(channel, "dead") == MESSAGES, DRAINED_S, "messages to die")
    for number in range(MESSAGES):
        how = pika.BasicProperties(delivery_mode=PERSISTENT)
        channel.basic_publish("", "work", b"copied %d" % number, how)
    channel.tx_commit()


def count(channel: BlockingChannel, queue: str) -> int:
    found = channel.queue_declare(queue, passive=True).method.message_count
    assert isinstance(found, int)
    return found


def read_all(api: Client, queue: str) -> list[str]:
    """Every message of a queue."""
    body = {"count": 10_000, "ackmode": "ack_requeue_false", "encoding": "auto"}
    return [each["payload"] for each in api.post("queues", "/", queue, "get", body=body)]


@pytest.mark.timeout(600)
def test_a_message_is_in_one_place_when_the_broker_is_killed(tmp_path: Path) -> None:
    seed = secrets.token_hex(4)
    print(f"seed {seed}")
    random = Random(seed)
    moved = 0
    for number in range(ROUNDS):
        data = tmp_path / str(number)
        with Leveret(data_dir=data) as broker:
            with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
                fill(connection.channel())
            mover = Mover(data, random)
            mover.start()
            wait_until(mover.has_moved, DRAINED_S, "the first move")
            time.sleep(random.uniform(*WORK_S))
            broker.kill()
            mover.join()
            assert mover.wrong is None, f"seed {seed}, round {number}"
            moved += mover.moved
        with Leveret(data_dir=data) as broker:
            found = {name: read_all(Client(data), name) for name in QUEUES}
            assert "Traceback" not in broker.log_text()
        expected = Counter(f"a {each}" for each in range(MESSAGES))
        assert Counter(found["a"] + found["b"]) == expected, f"seed {seed}, round {number}"
        copied = [f"copied {each}" for each in range(MESSAGES)]
        died = [f"work {each}" for each in range(MESSAGES)]
        expected = Counter(copied + died)
        assert Counter(found["work"] + found["dead"]) == expected, f"seed {seed}, round {number}"
        # A copy that was not answered may be there, and is not asked for again.
        assert found["copies"] == copied[: len(found["copies"])]
    assert moved > 0
