"""The broker ends while a long transaction is committed: all of it is there afterwards, or nothing.

The transaction moves messages from one queue to another. The kill, or the signal to stop, comes at
any moment after tx.commit was sent, so each round ends before, in or after the slices of the
commit.
"""

import secrets
import time
from pathlib import Path
from random import Random

from pamqp import commands

from tests.crash.clients import publish_bytes
from tests.support.brokers import Leveret
from tests.support.examples import examples
from tests.support.wire import ClosedByServerError, Wire, connect

Basic = commands.Basic
Queue = commands.Queue
Tx = commands.Tx

ROUNDS = examples(6)
STOP_ROUNDS = examples(3)

MOVED = 4000
"""Messages that each transaction moves: some milliseconds of slices."""

END_AFTER_S = 0.08
"""Seconds from tx.commit to the end, at most."""


def declared(wire: Wire, name: str) -> int:
    """Declare a queue; how many messages are ready in it."""
    ok = wire.call(Queue.Declare(queue=name, durable=True), Queue.DeclareOk)
    return ok.message_count or 0


def prepare(wire: Wire) -> None:
    """Publish what is missing, so that `from` has MOVED messages, and `to` none."""
    for name in ("from", "to"):
        declared(wire, name)
        wire.call(Queue.Purge(queue=name), Queue.PurgeOk)
    wire.call(Tx.Select(), Tx.SelectOk)
    wire.send_bytes(b"".join(publish_bytes("", "from", b"%d" % n) for n in range(MOVED)))
    wire.call(Tx.Commit(), Tx.CommitOk)


def move(wire: Wire) -> None:
    """Acknowledge all of `from`, and publish as many to `to`, up to the commit, which is sent."""
    wire.call(Basic.Consume(queue="from"), Basic.ConsumeOk)
    received = 0
    while received < MOVED:
        received += isinstance(wire.read().frame, Basic.Deliver)
    wire.send_bytes(b"".join(publish_bytes("", "to", b"%d" % n) for n in range(MOVED)))
    wire.send(Basic.Ack(0, multiple=True), 1)
    wire.send(Tx.Commit(), 1)


def test_all_or_nothing_of_a_long_transaction_is_left_by_a_kill(tmp_path: Path) -> None:
    seed = secrets.token_hex(4)
    random = Random(seed)
    print(f"seed {seed}")
    for _ in range(ROUNDS):
        with Leveret(data_dir=tmp_path) as broker, connect(broker.host, broker.port) as wire:
            prepare(wire)
            move(wire)
            time.sleep(random.uniform(0, END_AFTER_S))
            broker.kill()
        with Leveret(data_dir=tmp_path) as broker, connect(broker.host, broker.port) as wire:
            left = declared(wire, "from"), declared(wire, "to")
            assert left in ((MOVED, 0), (0, MOVED)), f"seed {seed}"


def is_committed(wire: Wire) -> bool:
    """Read to the end; whether the transaction was confirmed before."""
    committed = False
    while True:
        try:
            frame = wire.read().frame
        except ClosedByServerError:
            return committed
        committed = committed or isinstance(frame, Tx.CommitOk)


def test_all_or_nothing_of_a_long_transaction_is_left_by_a_stop(tmp_path: Path) -> None:
    seed = secrets.token_hex(4)
    random = Random(seed)
    print(f"seed {seed}")
    for _ in range(STOP_ROUNDS):
        with Leveret(data_dir=tmp_path) as broker, connect(broker.host, broker.port) as wire:
            prepare(wire)
            move(wire)
            time.sleep(random.uniform(0, END_AFTER_S))
            assert broker.stop() == 0
            committed = is_committed(wire)
        with Leveret(data_dir=tmp_path) as broker, connect(broker.host, broker.port) as wire:
            left = declared(wire, "from"), declared(wire, "to")
            possible = [(0, MOVED)] if committed else [(MOVED, 0), (0, MOVED)]
            assert left in possible, f"seed {seed}"
