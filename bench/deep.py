"""A deep durable queue: filled, published to on, killed and started again, and drained from disk.

One run of it gives the figures of several rows, as filling takes longer than all the rest.
"""

import os
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from bench.contestants import LEVERET, NotMeasured, Running
from bench.footprint import resident_bytes
from bench.load import LoadResult, Timing, run_load
from tests.support.brokers import Leveret, RabbitMQ

MESSAGES: Mapping[str, int] = {LEVERET: 10_000_000}
MESSAGES_OF_OTHERS = 1_000_000
"""RabbitMQ 3.10 takes minutes for ten million messages, so it is measured with fewer."""

MORE_MESSAGES = 1_000_000
"""Published to the empty queue, and to the deep one, to compare the rates."""

QUEUE = "deep"
UNTIL_DONE = Timing(0.0, 900.0, 0.0)
PUBLISHING = ("--durable", "1", "--queue", QUEUE, "--shape", "fill", "--confirm", "1000")
CONSUMING = ("--durable", "1", "--queue", QUEUE, "--shape", "drain", "--prefetch", "1000")

Load = Callable[..., LoadResult]
Figures = Mapping[str, float]
"""By row: what was measured."""


def measure_deep(load_program: Path, name: str) -> tuple[Figures, tuple[str, ...]]:
    """Measure one contestant; the figures, and what stands against them.

    Raises NotMeasured and BrokerError, as starting and loading do.
    """
    count = MESSAGES.get(name, MESSAGES_OF_OTHERS)
    with tempfile.TemporaryDirectory(prefix="bench-data-") as directory:
        if name == LEVERET:
            return _leveret(load_program, count, Path(directory))
        with RabbitMQ() as broker:
            load = _loader(load_program, Running(name, broker.host, broker.port, broker.pid))
            _publish(load, count, 0)
            memory = resident_bytes(broker.pid) / 1e6
            rate, remarks = _drain(load, count, 0)
            figures = {"deep-drain": rate, "deep-memory": memory}
            return figures, (f"with {count:,} messages", *remarks)


def _leveret(load_program: Path, count: int, directory: Path) -> tuple[Figures, tuple[str, ...]]:
    figures: dict[str, float] = {}
    with _start(directory) as broker:
        load = _loader(load_program, Running(LEVERET, broker.host, broker.port, broker.pid))
        empty = _publish(load, MORE_MESSAGES, 0)
        _publish(load, count - MORE_MESSAGES, MORE_MESSAGES)
        figures["deep-memory"] = resident_bytes(broker.pid) / 1e6
        figures["deep-publish"] = _publish(load, MORE_MESSAGES, count) / empty
        os.kill(broker.pid, signal.SIGKILL)
    begun = time.perf_counter()
    with _start(directory) as broker:
        figures["deep-restart"] = time.perf_counter() - begun
        load = _loader(load_program, Running(LEVERET, broker.host, broker.port, broker.pid))
        one = load(*CONSUMING, "--ack", "1", "--count", "1")
        first_s = time.perf_counter() - begun
        rate, remarks = _drain(load, count + MORE_MESSAGES - one.received, one.received)
        figures["deep-drain"] = rate
    left = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
    said = f"after kill -9 the first message was consumed within {first_s:.2f} s"
    return figures, (*remarks, said, f"{left / 1e6:.0f} MB on disk once drained and stopped")


def _start(directory: Path) -> AbstractContextManager[Leveret]:
    return Leveret("--data-dir", str(directory / "data"))


def _loader(load_program: Path, contestant: Running) -> Load:
    def load(*arguments: str) -> LoadResult:
        return run_load(load_program, arguments, UNTIL_DONE, contestant)

    return load


def _publish(load: Load, count: int, first: int) -> float:
    """Publish with confirms; the rate."""
    result = load(*PUBLISHING, "--count", str(count), "--first", str(first))
    if result.confirmed != count:
        raise NotMeasured(f"{result.confirmed} of {count} messages were confirmed")
    return result.published_per_s


def _drain(load: Load, count: int, first: int) -> tuple[float, list[str]]:
    result = load(*CONSUMING, "--ack", "100", "--count", str(count), "--first", str(first))
    wrong = result.gaps or result.duplicated or result.received != count
    lost = [f"{result.received:,} of {count:,} messages came, or not in order"] if wrong else []
    return result.received_per_s, lost


class Rounds:
    """Remembers what was measured, so that the first time a row asks costs, and the others not."""

    def __init__(self) -> None:
        self._measured: dict[str, list[tuple[Figures, tuple[str, ...]]]] = {}
        self._asked: dict[tuple[str, str], int] = {}

    def ask(self, load_program: Path, name: str, key: str) -> tuple[float, tuple[str, ...]]:
        """The figure of a row in its next round."""
        known = self._measured.setdefault(name, [])
        at = self._asked.get((name, key), 0)
        self._asked[name, key] = at + 1
        if at == len(known):
            known.append(measure_deep(load_program, name))
        figures, remarks = known[at]
        return figures[key], remarks
