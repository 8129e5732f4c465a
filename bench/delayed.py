"""The lateness of delayed messages that are due at a steady rate.

One process publishes, and this one consumes. The body of a message is its due time, by the clock of
the machine. Delays differ, so that messages are not due in the order of publishing.
"""

import multiprocessing
import random
import time
from collections.abc import Sequence

from pamqp import commands
from pamqp.common import FieldTable

from bench.contestants import NotMeasured, Running
from tests.crash.clients import read_delivery
from tests.support.wire import ClosedByServerError, Wire, connect, marshal_content

NAME = "delayed"
PERSISTENT = 2
DELAYS_MS = range(500, 1500)
PAUSE_S = 0.001
WARMUP_S = 2.0
"""Seconds of publishing before messages count."""


def lateness_ms(broker: Running, rate: int, seconds: float) -> list[float]:
    """The lateness of each message in milliseconds, sorted; an early message has a negative one.

    :raises NotMeasured: if messages are missing.
    """
    count = int(rate * (WARMUP_S + seconds))
    spawn = multiprocessing.get_context("spawn")
    publisher = spawn.Process(target=_publish, args=(broker.host, broker.port, rate, count))
    arguments: FieldTable = {"x-delayed-type": "fanout"}
    with connect(broker.host, broker.port) as wire:
        wire.call(
            commands.Exchange.Declare(
                exchange=NAME, exchange_type=f"x-{NAME}-message", durable=True, arguments=arguments
            ),
            commands.Exchange.DeclareOk,
        )
        wire.call(commands.Queue.Declare(queue=NAME, durable=True), commands.Queue.DeclareOk)
        wire.call(commands.Queue.Bind(queue=NAME, exchange=NAME), commands.Queue.BindOk)
        wire.call(commands.Basic.Consume(queue=NAME, no_ack=True), commands.Basic.ConsumeOk)
        publisher.start()
        try:
            late = _consume(wire, count)
        finally:
            publisher.terminate()
            publisher.join()
    return sorted(late[int(rate * WARMUP_S) :])


def percentile(values: Sequence[float], share: float) -> float:
    """The value that a share (0 to 1) of the sorted values is below."""
    return values[min(len(values) - 1, int(share * len(values)))]


def _publish(host: str, port: int, rate: int, count: int) -> None:
    chance = random.Random(1)
    publish = commands.Basic.Publish(exchange=NAME, routing_key="")
    with connect(host, port) as wire:
        begun = time.perf_counter()
        sent = 0
        while sent < count:
            if sent > (time.perf_counter() - begun) * rate:
                time.sleep(PAUSE_S)
                continue
            delay = chance.choice(DELAYS_MS)
            properties = commands.Basic.Properties(
                headers={"x-delay": delay}, delivery_mode=PERSISTENT
            )
            body = b"%.6f" % (time.time() + delay / 1000)
            wire.send_bytes(marshal_content(publish, 1, body, properties))
            sent += 1


def _consume(wire: Wire, count: int) -> list[float]:
    late: list[float] = []
    try:
        while len(late) < count:
            body = read_delivery(wire)
            late.append((time.time() - float(body)) * 1000)
    except (ClosedByServerError, TimeoutError):
        missing = count - len(late)
        raise NotMeasured(f"{missing} of {count} delayed messages did not arrive") from None
    return late
