"""The probe: a well-behaved client that measures how long its persistent confirms take.

It publishes at fixed times, one message at a time, and measures from the time at which a publish
was due. So a stall of a second counts for all the publishes that were due in it, not for one.
"""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

from pamqp import commands

from bench.contestants import NotMeasured, Running
from tests.support.wire import ClosedByServerError, connect, marshal_content

QUEUE = "probe"
INTERVAL_S = 0.005
"""Seconds between two publishes: 200 a second."""
TIMEOUT_S = 120.0
"""Seconds after which a confirm counts as never sent."""
LINGER_S = 0.5
"""Seconds that the probe goes on after the abuse, which may have left work behind."""


@dataclass(frozen=True)
class Latencies:
    """What the probe saw, in milliseconds, sorted."""

    values: list[float]

    def percentile(self, share: float) -> float:
        """The value below which this share of the publishes is confirmed."""
        return self.values[min(int(len(self.values) * share), len(self.values) - 1)]


class Probe:
    """A probe in a process of its own, so that what the abuser computes does not delay it."""

    def __init__(self, broker: Running) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(theirs, broker.host, broker.port))
        self._process.start()
        theirs.close()
        self._receive()

    def begin(self) -> None:
        """Begin to publish."""
        self._pipe.send("begin")

    def end(self) -> Latencies:
        """Publish for LINGER_S more, and return all latencies since `begin`.

        :raises NotMeasured: if the broker did not confirm, or closed the connection.
        """
        time.sleep(LINGER_S)
        with suppress(BrokenPipeError):  # what the probe said before it ended is received
            self._pipe.send("end")
        return Latencies(sorted(self._receive()))

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(TIMEOUT_S)
        if self._process.is_alive():
            self._process.kill()

    def _receive(self) -> list[float]:
        try:
            received: list[float] | str = self._pipe.recv()
        except EOFError:
            raise NotMeasured("the probe ended") from None
        if isinstance(received, str):
            raise NotMeasured(f"the probe: {received}")
        return received


@contextmanager
def probing(broker: Running) -> Iterator[Probe]:
    """A probe that is connected, and has seen its first confirm."""
    probe = Probe(broker)
    try:
        yield probe
    finally:
        probe.close()


def _run(pipe: Connection, host: str, port: int) -> None:
    try:
        _probe(pipe, host, port)
    except (ClosedByServerError, TimeoutError, ValueError) as error:
        pipe.send(f"{type(error).__name__} {error}")
    except EOFError:
        # The measurement was given up.
        return


def _probe(pipe: Connection, host: str, port: int) -> None:
    properties = commands.Basic.Properties(delivery_mode=2)
    message = marshal_content(commands.Basic.Publish(routing_key=QUEUE), 1, b"x" * 16, properties)
    with connect(host, port, TIMEOUT_S) as wire:
        declare = commands.Queue.Declare(
            queue=QUEUE, durable=True, arguments={"x-max-length": 1000}
        )
        wire.call(declare, commands.Queue.DeclareOk)
        wire.call(commands.Confirm.Select(), commands.Confirm.SelectOk)
        wire.send_bytes(message)
        wire.read_one(commands.Basic.Ack)
        pipe.send([])
        pipe.recv()
        values: list[float] = []
        due = time.perf_counter()
        while not pipe.poll():
            time.sleep(max(0.0, due - time.perf_counter()))
            wire.send_bytes(message)
            wire.read_one(commands.Basic.Ack)
            answered = time.perf_counter()
            while due < answered:
                values.append((answered - due) * 1000)
                due += INTERVAL_S
        pipe.send(values)
