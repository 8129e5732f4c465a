"""A deep durable queue: it is filled, published to, recovered after a kill, and drained from disk.

One run gives the figures of several rows, because filling takes longer than everything else.
"""

import os
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.contestants import (
    LEVERET,
    Contestant,
    NotMeasured,
    Running,
    running,
    start_leveret,
)
from bench.footprint import resident_bytes
from bench.load import LoadResult, Timing, run_load
from tests.support.brokers import Leveret

MESSAGES = 10_000_000
MESSAGES_OF_RABBITMQ = 1_000_000
"""RabbitMQ 3.10 takes minutes for ten million messages."""

MORE_MESSAGES = 1_000_000
"""Messages published to the empty queue and to the deep one, to compare the rates."""

QUEUE = "deep"
UNLIMITED = Timing(0.0, 900.0, 0.0)
PUBLISHING = ("--durable", "1", "--queue", QUEUE, "--shape", "fill", "--confirm", "1000")
CONSUMING = ("--durable", "1", "--queue", QUEUE, "--shape", "drain", "--prefetch", "1000")

Load = Callable[..., LoadResult]
Figures = Mapping[str, float]
"""The figure of each row."""


def measure_deep(load_program: Path, contestant: Contestant) -> tuple[Figures, tuple[str, ...]]:
    """Measure one contestant.

    :returns: the figures, and remarks on them.
    :raises NotMeasured: if the load fails.
    :raises BrokerError: if the broker does not start.
    """
    if contestant.kind == LEVERET.kind:
        with tempfile.TemporaryDirectory(prefix="bench-data-") as directory:
            return _leveret(load_program, contestant, Path(directory))
    count = MESSAGES_OF_RABBITMQ
    with running(contestant) as broker:
        load = _loader(load_program, broker)
        _publish(load, count, 0)
        memory = resident_bytes(broker.pid) / 1e6
        rate, remarks = _drain(load, count, 0)
        figures = {"deep-drain": rate, "deep-memory": memory}
        return figures, (f"with {count:,} messages", *remarks)


def _leveret(
    load_program: Path, contestant: Contestant, directory: Path
) -> tuple[Figures, tuple[str, ...]]:
    figures: dict[str, float] = {}
    data_dir = directory / "data"
    count = MESSAGES
    with start_leveret(contestant, data_dir) as broker:
        load = _loader(load_program, _address(broker))
        empty = _publish(load, MORE_MESSAGES, 0)
        _publish(load, count - MORE_MESSAGES, MORE_MESSAGES)
        figures["deep-memory"] = resident_bytes(broker.pid) / 1e6
        figures["deep-publish"] = _publish(load, MORE_MESSAGES, count) / empty
        os.kill(broker.pid, signal.SIGKILL)
    begun = time.perf_counter()
    with start_leveret(contestant, data_dir) as broker:
        figures["deep-restart"] = time.perf_counter() - begun
        load = _loader(load_program, _address(broker))
        one = load(*CONSUMING, "--ack", "1", "--count", "1")
        first_s = time.perf_counter() - begun
        rate, remarks = _drain(load, count + MORE_MESSAGES - one.received, one.received)
        figures["deep-drain"] = rate
    left = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
    first = f"after kill -9 the first message was consumed within {first_s:.2f} s"
    return figures, (*remarks, first, f"{left / 1e6:.0f} MB on disk once drained and stopped")


def _address(broker: Leveret) -> Running:
    return Running(LEVERET.kind, broker.host, broker.port, broker.pid)


def _loader(load_program: Path, broker: Running) -> Load:
    def load(*arguments: str) -> LoadResult:
        return run_load(load_program, arguments, UNLIMITED, broker)

    return load


def _publish(load: Load, count: int, first: int) -> float:
    """Publish with confirms.

    :returns: the rate, in messages a second.
    """
    result = load(*PUBLISHING, "--count", str(count), "--first", str(first))
    if result.confirmed != count:
        raise NotMeasured(f"{result.confirmed} of {count} messages were confirmed")
    return result.published_per_s


def _drain(load: Load, count: int, first: int) -> tuple[float, list[str]]:
    result = load(*CONSUMING, "--ack", "100", "--count", str(count), "--first", str(first))
    wrong = result.gaps or result.duplicated or result.received != count
    remark = f"{result.received:,} of {count:,} messages received, or not in order"
    return result.received_per_s, [remark] if wrong else []


class Rounds:
    """The rounds of each contestant, which several rows read: the first row to ask measures."""

    def __init__(self) -> None:
        self._measured: dict[Contestant, list[tuple[Figures, tuple[str, ...]]]] = {}
        self._read: dict[tuple[Contestant, str], int] = {}

    def next(
        self, load_program: Path, contestant: Contestant, key: str
    ) -> tuple[float, tuple[str, ...]]:
        """The figure of a row in its next round, and the remarks on the round."""
        rounds = self._measured.setdefault(contestant, [])
        index = self._read.get((contestant, key), 0)
        self._read[contestant, key] = index + 1
        if index == len(rounds):
            rounds.append(measure_deep(load_program, contestant))
        figures, remarks = rounds[index]
        return figures[key], remarks
