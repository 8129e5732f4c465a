"""Rounds: work, a kill at a random instant, a restart on the same directory, and an audit.

Everything random comes from the round's seed; what a seed does not decide is how the threads and
the broker take turns, so a failing round is repeated a few times to be seen again.
"""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

from pamqp import commands

from leveret_storage.medium import LARGE_BODY_BYTES
from tests.crash.account import Account, Id, read_body
from tests.crash.clients import (
    DEFINED_EXCHANGE,
    TOPIC,
    TOPIC_QUEUES,
    TOPIC_ROUTES,
    Client,
    Consumer,
    Definer,
    Mover,
    Numbers,
    Publisher,
    Route,
    read_content,
    read_delivery,
)
from tests.support.brokers import Leveret
from tests.support.wire import Wire, connect

DIRECT_QUEUES = ("direct.0", "direct.1")
MOVE_FROM, MOVE_TO = "move.from", ("move.to", "move.copy")
DEEP = "deep"
QUEUES = (*DIRECT_QUEUES, *TOPIC_QUEUES, MOVE_FROM, *MOVE_TO, DEEP)

WORK_S = (0.1, 1.2)
"""Seconds of work before the kill: at least and at most."""

BACKLOG_MESSAGES_MAX = 6000
"""Messages in a queue beyond which an audit takes them all out."""


@dataclass
class Result:
    """What a round came to."""

    seed: str
    wrong: list[str]
    found: int = 0
    came_back: int = 0
    came_back_age_s: float = 0.0
    restart_s: float = 0.0


class KilledAtStart(Leveret):
    """A broker that is killed while it starts, or just after."""

    def __init__(self, data_dir: Path, after_s: float) -> None:
        self._after_s = after_s
        super().__init__(data_dir=data_dir)

    def _await(self, ready: Callable[[], bool], deadline_s: float, output: Path) -> None:
        time.sleep(self._after_s)
        self.kill()


class Rounds:
    """One data directory, and the rounds on it."""

    def __init__(self, directory: Path, seed: str) -> None:
        self.directory = directory
        self.seed = seed
        self.account = Account()
        self.numbers = Numbers()
        self._number = 0
        self._broker = self._start()
        with connect(self._broker.host, self._broker.port) as wire:
            _define(wire)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._broker.stop()

    def run(self) -> Result:
        """Do one round."""
        self._number += 1
        seed = f"{self.seed}.{self._number}"
        random = Random(seed)
        killed_at = self._work(self._broker, random, seed)
        self._restart()
        for _ in range(random.choice((0, 0, 0, 1, 2))):
            # What a start does to the directory has to stand a kill, too.
            time.sleep(random.choice((0.0, random.uniform(0, 0.2))))
            self._broker.kill()
            if random.random() < 0.5:
                KilledAtStart(self.directory, random.uniform(0.1, 0.6)).stop()
            self._restart()
        result = Result(seed, self.account.wrong, restart_s=self._restarted_in_s)
        self.account.wrong = []
        self._audit(self._broker, random, result, killed_at)
        if random.random() < 0.5:
            if random.random() < 0.7:
                self._broker.kill()
            self._restart()
        return result

    def _restart(self) -> None:
        """Stop the broker if it runs, and start it on the data of the last run."""
        self._broker.stop()
        begun = time.monotonic()
        self._broker = self._start()
        self._restarted_in_s = time.monotonic() - begun

    def _start(self) -> Leveret:
        return Leveret(data_dir=self.directory)

    def _work(self, broker: Leveret, random: Random, seed: str) -> float:
        """Have all clients work until the broker is killed.

        :returns: when that was, in seconds of work.
        """
        crew = _crew(self.account, self.numbers, seed, random)
        for client in crew:
            client.attach(broker.host, broker.port)
        for client in crew:
            client.start()
        time.sleep(random.uniform(*WORK_S))
        killed_at = self.account.worked_s
        code = broker.kill()
        for client in crew:
            client.join()
        if code != -signal.SIGKILL:
            self.account.wrong.append(f"the broker ended by itself: {code}\n{broker.log_text()}")
        if any(sign in broker.log_text() for sign in ("Traceback", "internal error", " failed")):
            self.account.wrong.append(broker.log_text()[-3000:])
        return killed_at

    def _audit(self, broker: Leveret, random: Random, result: Result, killed_at: float) -> None:
        found: dict[str, list[Id | None]] = {}
        with connect(broker.host, broker.port) as wire:
            for queue in QUEUES:
                found[queue] = _read_all(wire, queue)
        result.wrong += self.account.audit_moves(
            {queue: set(messages) for queue, messages in found.items()}
        )
        for queue, messages in found.items():
            wrong, back, age = self.account.ledger(queue).audit(messages, killed_at)
            result.wrong += wrong
            result.found += len(messages)
            result.came_back += back
            result.came_back_age_s = max(result.came_back_age_s, age)
        self._audit_definitions(broker, result)
        for queue in QUEUES:
            ledger = self.account.ledger(queue)
            ledger.go_on(found[queue])
            if len(found[queue]) > BACKLOG_MESSAGES_MAX or random.random() < 0.4:
                self._drain(broker, queue, random)

    def _drain(self, broker: Leveret, queue: str, random: Random) -> None:
        """Take everything out of a queue, so that none of it may ever come back."""
        with connect(broker.host, broker.port) as wire:
            if random.random() < 0.5:
                wire.call(commands.Queue.Purge(queue=queue), commands.Queue.PurgeOk)
            else:
                wire.call(commands.Tx.Select(), commands.Tx.SelectOk)
                _read_all(wire, queue)
                wire.send(commands.Basic.Ack(0, True), 1)
                wire.call(commands.Tx.Commit(), commands.Tx.CommitOk)
        self.account.ledger(queue).go_on([])

    def _audit_definitions(self, broker: Leveret, result: Result) -> None:
        definitions = self.account.definitions
        with connect(broker.host, broker.port) as wire:
            wire.call(commands.Confirm.Select(), commands.Confirm.SelectOk)
            for what, expected in definitions.items():
                exchange, _, name = what.rpartition(" ")
                there = _is_bound(wire, exchange, name) if exchange else _exists(broker, name)
                if expected is not None and there != expected:
                    result.wrong.append(f"{what} is {'' if there else 'not '}there")
                definitions[what] = there


def _define(wire: Wire) -> None:
    declare_exchange, exchange_ok = commands.Exchange.Declare, commands.Exchange.DeclareOk
    wire.call(declare_exchange(exchange=TOPIC, exchange_type="topic", durable=True), exchange_ok)
    wire.call(declare_exchange(exchange=DEFINED_EXCHANGE, durable=True), exchange_ok)
    for queue in QUEUES:
        declare = commands.Queue.Declare(queue=queue, durable=True)
        wire.call(declare, commands.Queue.DeclareOk)
    for queue, key in TOPIC_QUEUES.items():
        bind = commands.Queue.Bind(queue=queue, exchange=TOPIC, routing_key=key)
        wire.call(bind, commands.Queue.BindOk)


def _crew(account: Account, numbers: Numbers, seed: str, random: Random) -> list[Client]:
    direct: list[Route] = [("", queue, (queue,)) for queue in DIRECT_QUEUES]
    topic: list[Route] = [(TOPIC, key, queues) for key, queues in TOPIC_ROUTES.items()]
    small = (0, 10, 100, 300, 3000)
    large = random.choice(((4000,), (20_000, 60_000), (100,)))

    def publisher(who: int, routes: list[Route], sizes: tuple[int, ...]) -> Client:
        window = random.choice((1, 300, 1000))
        return Publisher(account, numbers, who, seed, routes=routes, window=window, sizes=sizes)

    def consumer(who: int, queue: str) -> Client:
        prefetch = random.choice((1, 20, 300))
        return Consumer(account, numbers, who, seed, queue=queue, prefetch=prefetch)

    return [
        publisher(1, direct, small),
        publisher(2, direct + topic, small),
        publisher(3, topic, small),
        publisher(4, [("", DEEP, (DEEP,))], large),
        publisher(5, [("", MOVE_FROM, (MOVE_FROM,))], (10,)),
        Publisher(
            account,
            numbers,
            6,
            seed,
            routes=direct,
            window=random.choice((1, 20)),
            sizes=(300, LARGE_BODY_BYTES),
        ),
        consumer(11, DIRECT_QUEUES[0]),
        consumer(12, DIRECT_QUEUES[0]),
        consumer(13, DIRECT_QUEUES[1]),
        consumer(14, "topic.0"),
        *([consumer(15, DEEP)] if random.random() < 0.5 else []),
        Mover(account, numbers, 21, seed, queue=MOVE_FROM, targets=MOVE_TO),
        Definer(account, numbers, 31, seed),
    ]


def _read_all(wire: Wire, queue: str) -> list[Id | None]:
    """Every message of a queue, in order; they stay unacknowledged on the connection."""
    declare = commands.Queue.Declare(queue=queue, passive=True)
    count = wire.call(declare, commands.Queue.DeclareOk).message_count or 0
    wire.call(commands.Basic.Consume(queue=queue, consumer_tag=queue), commands.Basic.ConsumeOk)
    found = [read_body(read_delivery(wire)) for _ in range(count)]
    # The count is the broker's word; the reply to this would come behind one more delivery.
    wire.call(commands.Basic.Cancel(queue), commands.Basic.CancelOk)
    return found


def _is_bound(wire: Wire, exchange: str, key: str) -> bool:
    """Whether a message with this routing key goes anywhere."""
    publish = commands.Basic.Publish(exchange=exchange, routing_key=key, mandatory=True)
    wire.send_content(publish, 1, b"transient")
    arrived = wire.read().frame
    if isinstance(arrived, commands.Basic.Return):
        read_content(wire)
        wire.read_one(commands.Basic.Ack)
        return False
    return True


def _exists(broker: Leveret, queue: str) -> bool:
    """Whether a queue is declared."""
    with connect(broker.host, broker.port) as wire:
        wire.send(commands.Queue.Declare(queue=queue, passive=True), 1)
        return isinstance(wire.read().frame, commands.Queue.DeclareOk)
