"""Kills in the middle of dead letters: each message is in one place afterwards, and only there.

Queues pass on what expires, is too many, is rejected or fails too often, each to a queue of its
own, while persistent messages are published with confirms and nothing is acknowledged. So every
confirmed message has to be there after a kill, in a queue or among its dead letters, once.
"""

import secrets
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from pamqp import body, commands, common, header

from tests.crash.account import Account, Id, read_body
from tests.crash.clients import Client, Numbers, Publisher
from tests.support.brokers import Leveret, wait_until
from tests.support.examples import examples
from tests.support.wire import Wire, connect

Basic = commands.Basic
Queue = commands.Queue

ROUNDS = examples(4)
WORK_S = (0.2, 1.0)
"""Seconds of work before a kill: at least and at most."""

DRAINED_S = 60.0

SOURCES: dict[str, common.FieldTable] = {
    "expires": {"x-message-ttl": 50},
    "is.full": {"x-max-length": 20},
    "is.rejected": {},
    "fails": {"x-delivery-limit": 2},
    "is.retried": {"x-delivery-limit": 3, "x-delayed-retry-min": 20},
}
"""Queues, and what else their messages die of."""

REASONS = {
    "expires": {"expired"},
    "is.full": {"maxlen"},
    "is.rejected": {"rejected"},
    "fails": {"delivery_limit"},
    "is.retried": {"delivery_limit"},
}


def dead(source: str) -> str:
    """The queue that gets the dead letters of another."""
    return f"{source}.dead"


class Refuser(Client):
    """Consumes a queue, and lets all it gets die or fail."""

    def __init__(
        self, account: Account, numbers: Numbers, who: int, seed: str, *, queue: str, requeue: bool
    ) -> None:
        super().__init__(account, numbers, who, seed)
        self.queue = queue
        self.requeue = requeue

    def prepare(self) -> None:
        self.wire.call(Basic.Qos(prefetch_count=50), Basic.QosOk)
        self.wire.call(Basic.Consume(queue=self.queue), Basic.ConsumeOk)

    def work(self) -> None:
        deliver, properties, message = read_message(self.wire)
        headers = properties.headers or {}
        count = headers.get("x-delivery-count", 0)
        limit = SOURCES[self.queue].get("x-delivery-limit")
        if isinstance(limit, int) and not (isinstance(count, int) and count <= limit):
            raise ValueError(
                f"{self.queue}: {message} is delivered though it failed {count!r} times"
            )
        self.wire.send(Basic.Reject(deliver.delivery_tag or 0, self.requeue), 1)


def read_message(wire: Wire) -> tuple[Basic.Deliver, Basic.Properties, Id]:
    """The next delivery, its properties, and whose body it has."""
    deliver = wire.read_one(Basic.Deliver)
    head = wire.read_one(header.ContentHeader)
    content = b""
    while len(content) < head.body_size:
        content += wire.read_one(body.ContentBody).value
    message = read_body(content)
    if message is None:
        raise ValueError("a body nobody sent")
    return deliver, head.properties, message


def define(wire: Wire) -> None:
    for name, arguments in SOURCES.items():
        wire.call(Queue.Declare(queue=dead(name), durable=True), Queue.DeclareOk)
        table: common.FieldTable = {
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": dead(name),
            **arguments,
        }
        wire.call(Queue.Declare(queue=name, durable=True, arguments=table), Queue.DeclareOk)


def count(wire: Wire, queue: str) -> int:
    """Messages ready in a queue."""
    answer = wire.call(Queue.Declare(queue=queue, passive=True), Queue.DeclareOk)
    return answer.message_count or 0


def read_all(wire: Wire, queue: str) -> list[tuple[Id, common.FieldTable]]:
    """Every ready message of a queue with its headers; they are acknowledged."""
    there = count(wire, queue)
    wire.call(Basic.Consume(queue=queue, consumer_tag=queue, no_ack=True), Basic.ConsumeOk)
    found = [read_message(wire) for _ in range(there)]
    wire.call(Basic.Cancel(queue), Basic.CancelOk)
    return [(message, properties.headers or {}) for _, properties, message in found]


def crew(account: Account, numbers: Numbers, seed: str, random: Random) -> list[Client]:
    clients: list[Client] = []
    for who, name in enumerate(SOURCES, 1):
        window = random.choice((1, 20, 200))
        clients.append(
            Publisher(
                account,
                numbers,
                who,
                seed,
                routes=[("", name, (name,))],
                window=window,
                sizes=(0, 10, 300),
            )
        )
    for who, name in enumerate(("is.rejected", "fails", "is.retried"), 11):
        clients.append(
            Refuser(account, numbers, who, seed, queue=name, requeue=name != "is.rejected")
        )
    return clients


def audit(account: Account, wire: Wire, died: Counter[str]) -> list[str]:
    """What is wrong with what is there: messages in two places or none, or with a wrong history.

    :param died: gets the dead letters of each queue added.
    """
    wrong: list[str] = []
    # What remains at its place must not expire while it is read.
    wait_until(lambda: count(wire, "expires") == 0, DRAINED_S, "all of it expiring")
    for name in SOURCES:
        ledger = account.ledger(name)
        letters = read_all(wire, dead(name))
        died[name] += len(letters)
        remaining = [message for message, _ in read_all(wire, name)]
        places = Counter([*remaining, *(message for message, _ in letters)])
        twice = sorted(message for message, times in places.items() if times > 1)
        lost = sorted(ledger.confirmed - places.keys())
        wrong += [f"{name}: {len(twice)} in two places: {twice[:5]}"] if twice else []
        wrong += [f"{name}: {len(lost)} confirmed and lost: {lost[:5]}"] if lost else []
        strange = sorted(places.keys() - ledger.sent.keys())
        wrong += [f"{name}: {len(strange)} that nobody sent: {strange[:5]}"] if strange else []
        for message, headers in letters:
            told = headers.get("x-first-death-reason"), headers.get("x-first-death-queue")
            if told[0] not in REASONS[name] or told[1] != name:
                wrong.append(f"{name}: {message} died of {told}")
                break
    return wrong


def wait_until_not_held(wire: Wire) -> None:
    """Wait until no retry is delayed: every message is ready then, and none outstanding."""
    deadline = time.monotonic() + DRAINED_S
    while time.monotonic() < deadline:
        before = {name: count(wire, name) for name in SOURCES}
        wire.call(Queue.Declare(queue="later", arguments=LATER), Queue.DeclareOk)
        wire.send_content(Basic.Publish(exchange="", routing_key="later"), 1, b"")
        wait_until(lambda: count(wire, "later") == 0, DRAINED_S, "some time passing")
        if before == {name: count(wire, name) for name in SOURCES}:
            return
    raise TimeoutError("messages went on moving")


def wait_until_confirmed(account: Account) -> None:
    wait_until(lambda: account.confirmed >= 50, DRAINED_S, "the first confirms")


LATER: common.FieldTable = {"x-message-ttl": 300}
"""A queue that shows when more time has passed than any retry is delayed."""


@pytest.mark.timeout(600)
def test_a_dead_letter_is_neither_lost_nor_doubled_when_the_broker_is_killed(
    tmp_path: Path,
) -> None:
    seed = secrets.token_hex(4)
    print(f"seed {seed}")
    random = Random(seed)
    numbers = Numbers()
    died: Counter[str] = Counter()
    rounds = 0
    # On a busy machine a kill may come before a message of each queue died once.
    while rounds < ROUNDS or not all(died[name] for name in SOURCES):
        rounds += 1
        account = Account()
        with Leveret(data_dir=tmp_path / "data") as broker:
            with connect(broker.host, broker.port) as wire:
                define(wire)
            clients = crew(account, numbers, f"{seed}.{rounds}", random)
            for client in clients:
                client.attach(broker.host, broker.port)
            for client in clients:
                client.start()
            wait_until_confirmed(account)
            time.sleep(random.uniform(*WORK_S))
            broker.kill()
            for client in clients:
                client.join()
            assert not account.wrong
        with Leveret(data_dir=tmp_path / "data") as broker:
            with connect(broker.host, broker.port) as wire:
                wait_until_not_held(wire)
                assert not audit(account, wire, died), f"seed {seed}, round {rounds}"
            assert "Traceback" not in broker.log_text()


def publish_confirmed(wire: Wire) -> None:
    """Publish a persistent message to q, and wait until it is confirmed."""
    publish = Basic.Publish(exchange="", routing_key="q")
    wire.send_content(publish, 1, b"", Basic.Properties(delivery_mode=2))
    wire.read_one(Basic.Ack)


def test_how_often_a_message_failed_is_known_after_a_kill(tmp_path: Path) -> None:
    arguments: common.FieldTable = {"x-delivery-limit": 5}
    failures = 3
    with Leveret(data_dir=tmp_path / "data") as broker:
        with connect(broker.host, broker.port) as wire:
            wire.call(Queue.Declare(queue="q", durable=True, arguments=arguments), Queue.DeclareOk)
            wire.call(commands.Confirm.Select(), commands.Confirm.SelectOk)
            publish_confirmed(wire)
            for _ in range(failures):
                wire.send(Basic.Get(queue="q"), 1)
                got = wire.read_one(Basic.GetOk)
                wire.read_one(header.ContentHeader)
                wire.send(Basic.Reject(got.delivery_tag or 0, True), 1)
            # Confirmed behind the rejections: these are in the log, too.
            publish_confirmed(wire)
        broker.kill()
    with (
        Leveret(data_dir=tmp_path / "data") as broker,
        connect(broker.host, broker.port) as wire,
    ):
        wire.send(Basic.Get(queue="q"), 1)
        wire.read_one(Basic.GetOk)
        headers = wire.read_one(header.ContentHeader).properties.headers
        assert headers is not None
        assert headers["x-delivery-count"] == failures
