"""A delayed exchange whose broker is killed, again and again, while it takes messages, moves them
to disk and passes them on."""

import secrets
import threading
import time
from pathlib import Path
from random import Random

import pytest
from pamqp import commands
from pamqp.common import FieldTable

from tests.conftest import CI
from tests.crash.clients import read_delivery
from tests.support.brokers import Leveret, wait_until
from tests.support.examples import examples
from tests.support.wire import ClosedByServerError, Wire, connect, marshal_content

NAME = "later"
KILLS = examples(3)
WORK_S = (0.5, 2.0)
"""Seconds of work before a kill: at least and at most."""

DELAY_MS_MAX = 4000
WINDOW = 2000
CHUNK = 500


def opened(broker: Leveret) -> Wire:
    """A connection with a channel, an exchange and its queue, with confirms."""
    wire = connect(broker.host, broker.port)
    arguments: FieldTable = {"x-delayed-type": "fanout"}
    wire.call(
        commands.Exchange.Declare(
            exchange=NAME, exchange_type="x-delayed-message", durable=True, arguments=arguments
        ),
        commands.Exchange.DeclareOk,
    )
    wire.call(commands.Queue.Declare(queue=NAME, durable=True), commands.Queue.DeclareOk)
    wire.call(commands.Queue.Bind(queue=NAME, exchange=NAME), commands.Queue.BindOk)
    wire.call(commands.Confirm.Select(), commands.Confirm.SelectOk)
    return wire


def message(number: int, delay: int) -> bytes:
    """The frames of a message."""
    properties = commands.Basic.Properties(headers={"x-delay": delay}, delivery_mode=2)
    publish = commands.Basic.Publish(exchange=NAME, routing_key="")
    return marshal_content(publish, 1, b"%d" % number, properties)


class Publisher:
    """Publishes until its broker has been killed."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.sent = 0
        self.confirmed: set[int] = set()

    def work(self, wire: Wire) -> None:
        """Publish, and note what is confirmed."""
        first, acked = self.sent, 0
        while True:
            delays = [self.chance.randrange(1, DELAY_MS_MAX) for _ in range(CHUNK)]
            frames = [message(self.sent + at, delay) for at, delay in enumerate(delays)]
            self.sent += CHUNK
            wire.send_bytes(b"".join(frames))
            while self.sent - first - acked > WINDOW:
                ack = wire.read_one(commands.Basic.Ack)
                tags = (
                    range(acked + 1, ack.delivery_tag + 1) if ack.multiple else [ack.delivery_tag]
                )
                self.confirmed.update(first + tag - 1 for tag in tags)
                acked = max(acked, ack.delivery_tag)


class Killer(threading.Thread):
    """Kills a broker after some work, of which something was confirmed."""

    def __init__(self, broker: Leveret, publisher: Publisher, after_s: float) -> None:
        super().__init__(daemon=True)
        self._broker = broker
        self._publisher = publisher
        self._confirmed_before = len(publisher.confirmed)
        self._after_s = after_s

    def run(self) -> None:
        time.sleep(self._after_s)
        try:
            wait_until(
                lambda: len(self._publisher.confirmed) > self._confirmed_before,
                what="the first confirms",
            )
        finally:
            self._broker.kill()


def drain(wire: Wire) -> list[int]:
    """All messages, the last of which is one that is due after all others."""
    wire.send_bytes(message(-1, DELAY_MS_MAX))
    wire.read_one(commands.Basic.Ack)
    wire.call(commands.Basic.Consume(queue=NAME, no_ack=True), commands.Basic.ConsumeOk)
    came: list[int] = []
    while (number := int(read_delivery(wire))) != -1:
        came.append(number)
    return came


@pytest.mark.timeout(600)
def test_what_was_confirmed_comes_once_however_often_the_broker_is_killed(tmp_path: Path) -> None:
    seed = "ci" if CI else secrets.token_hex(4)
    print(f"seed {seed}")
    chance = Random(seed)
    publisher = Publisher(chance)
    for _ in range(KILLS):
        with Leveret(data_dir=tmp_path / "data") as broker, opened(broker) as wire:
            killer = Killer(broker, publisher, chance.uniform(*WORK_S))
            killer.start()
            with pytest.raises((ConnectionError, ClosedByServerError)):
                publisher.work(wire)
            killer.join()
    with Leveret(data_dir=tmp_path / "data") as broker, opened(broker) as wire:
        came = drain(wire)
    assert publisher.confirmed
    assert len(came) == len(set(came))
    assert publisher.confirmed <= set(came) <= set(range(publisher.sent))
