"""The rows of the table."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable

from bench.access import ACCESS_ROWS
from bench.cluster.rows import CLUSTER_ROWS
from bench.contestants import (
    LEVERET,
    RABBITMQ,
    RELAY,
    Contestant,
    NotMeasured,
    Running,
    running,
)
from bench.deep import Rounds
from bench.definitions import DEFINITION_ROWS
from bench.delayed import lateness_ms, percentile
from bench.fairness.rows import FAIRNESS_ROWS
from bench.footprint import (
    idle_cpu_percent,
    idle_megabytes,
    kilobytes_per_connection,
    start_seconds,
)
from bench.idle_connections import IDLE_CONNECTIONS, load_beside_idle_connections
from bench.load import LoadResult, run_load
from bench.monitoring import MONITORING_ROWS
from bench.objects import OBJECT_ROWS
from bench.row import Measure, Row, Sample, Tool
from bench.sizes import SIZE_ROWS
from bench.testing import TESTING_ROWS
from bench.tls import TLS_ROWS

LEVERET_STARTS = 10
KIBIBYTE = 1024
DD_MEGABYTES = 256
DUE_PER_S = 1000
LATENCY_RATE = 5000
CONFIRMED = ("--confirm", "1000", "--ack", "100", "--prefetch", "1000")
DURABLE = ("--durable", "1", *CONFIRMED)


def _load(tool: Tool, contestant: Contestant, arguments: tuple[str, ...]) -> LoadResult:
    with running(contestant) as broker:
        shape = ("--shape", "relay") if contestant == RELAY else ()
        return run_load(tool.load_program, [*arguments, *shape], tool.timing, broker)


def _throughput(*arguments: str) -> Measure:
    def measure(tool: Tool, contestant: Contestant) -> Sample:
        result = _load(tool, contestant, arguments)
        return Sample(result.received_per_s, vars(result), tuple(result.remarks()))

    return measure


def _published(*arguments: str) -> Measure:
    def measure(tool: Tool, contestant: Contestant) -> Sample:
        result = _load(tool, contestant, arguments)
        return Sample(result.published_per_s, vars(result), tuple(result.remarks()))

    return measure


def _latency(*arguments: str) -> Measure:
    def measure(tool: Tool, contestant: Contestant) -> Sample:
        result = _load(tool, contestant, arguments)
        return Sample(result.p99_us / 1000, vars(result), tuple(result.remarks()))

    return measure


def _latency_beside_idle(tool: Tool, contestant: Contestant) -> Sample:
    with running(contestant) as broker:
        result = load_beside_idle_connections(
            tool.load_program, ["--rate", str(LATENCY_RATE)], tool.timing, broker
        )
    return Sample(result.p99_us / 1000, vars(result), tuple(result.remarks()))


def _share_of_dd(tool: Tool, contestant: Contestant) -> Sample:
    """Persisted bytes of bodies a second, over the rate of dd with a sync each MiB."""
    with tempfile.TemporaryDirectory(prefix="bench-dd-") as directory:
        dd = shutil.which("dd")
        if dd is None:
            raise NotMeasured("there is no dd")
        command = [dd, "if=/dev/zero", f"of={directory}/written", "oflag=dsync", "bs=1M"]
        begun = time.perf_counter()
        subprocess.run([*command, f"count={DD_MEGABYTES}"], capture_output=True, check=True)
        written = DD_MEGABYTES * KIBIBYTE**2 / (time.perf_counter() - begun)
    result = _load(tool, contestant, (*DURABLE, "--size", str(KIBIBYTE)))
    share = result.received_per_s * KIBIBYTE / written
    remark = f"dd wrote {written / 1e6:,.0f} MB/s"
    return Sample(share, vars(result), (*result.remarks(), remark))


def _deep(rounds: Rounds, key: str) -> Measure:
    def measure(tool: Tool, contestant: Contestant) -> Sample:
        value, remarks = rounds.next(tool.load_program, contestant, key)
        return Sample(value, remarks=remarks)

    return measure


def _lateness(tool: Tool, contestant: Contestant) -> Sample:
    with running(contestant) as broker:
        late = lateness_ms(broker, DUE_PER_S, tool.timing.measured_s)
    p50, p99 = percentile(late, 0.5), percentile(late, 0.99)
    remarks = (f"p50 {p50:.1f} ms", f"earliest {late[0]:.1f} ms", f"latest {late[-1]:.1f} ms")
    return Sample(p99, remarks=remarks)


def _start(_tool: Tool, contestant: Contestant) -> Sample:
    return Sample(start_seconds(contestant))


def _footprint(measured: Callable[[Running], float]) -> Measure:
    def measure(_tool: Tool, contestant: Contestant) -> Sample:
        with running(contestant) as broker:
            return Sample(measured(broker))

    return measure


def _rate_row(key: str, title: str, least: float, aim: float | None, *arguments: str) -> Row:
    return Row(key, title, "msg/s", _throughput(*arguments), RABBITMQ, least, aim)


_ROUNDS = Rounds()
_ALONE = (LEVERET,)

DURABLE_ROWS = (
    _rate_row("durable", "durable, persistent, confirms, window 1,000", 12, 15, *DURABLE),
    _rate_row("durable-1k", "the same with 1 KiB bodies", 7, 9, *DURABLE, "--size", "1024"),
    Row(
        "durable-dd",
        "the same, bytes of bodies over those of dd with a sync each MiB",
        "of dd",
        _share_of_dd,
        None,
        0.8,
        None,
        contestants=_ALONE,
    ),
    _rate_row(
        "durable-one",
        "durable, one message at a time",
        1,
        1,
        *("--durable", "1", "--confirm", "1", "--ack", "1", "--prefetch", "1000"),
    ),
    _rate_row(
        "durable-100",
        "100 durable queues, a publisher and a consumer each",
        10,
        15,
        *(*DURABLE, "--shape", "pairs", "--connections", "100"),
    ),
    Row(
        "deep-publish",
        "publishing to a queue of ten million, over publishing to an empty queue",
        "of empty",
        _deep(_ROUNDS, "deep-publish"),
        None,
        0.8,
        1.0,
        contestants=_ALONE,
    ),
    Row(
        "deep-drain",
        "draining ten million from disk (RabbitMQ: one million)",
        "msg/s",
        _deep(_ROUNDS, "deep-drain"),
        RABBITMQ,
        5,
        10,
    ),
    Row(
        "deep-memory",
        "memory with ten million queued (RabbitMQ: one million)",
        "MB",
        _deep(_ROUNDS, "deep-memory"),
        None,
        150,
        80,
        lower_is_better=True,
    ),
    Row(
        "deep-restart",
        "ready after kill -9 with eleven million queued",
        "s",
        _deep(_ROUNDS, "deep-restart"),
        None,
        2,
        0.5,
        lower_is_better=True,
        contestants=_ALONE,
    ),
)

FEATURE_ROWS = (
    _rate_row("ttl", "a time to live on every message", 8, None, "--expiration", "60000"),
    _rate_row("priorities", "ten priorities in turn", 8, None, "--priorities", "10"),
    Row(
        "max-length",
        "a queue at its limit of 1,000 messages, dropping the oldest",
        "msg/s",
        _published("--shape", "limit", "--confirm", "1000"),
        RABBITMQ,
        8,
        None,
    ),
    _rate_row("dead-letters", "every message a dead letter", 8, None, "--shape", "dead"),
    Row(
        "delayed",
        "p99 lateness of delayed messages, 1,000 due a second",
        "ms",
        _lateness,
        None,
        50,
        10,
        lower_is_better=True,
        contestants=_ALONE,
    ),
)

STANDARD_ROWS = (
    _rate_row("auto-ack", "auto-ack, one queue, one publisher, one consumer", 15, 20),
    _rate_row("ack-each", "ack each, prefetch 100", 5, 8, "--ack", "1", "--prefetch", "100"),
    _rate_row(
        "confirms",
        "publisher confirms, window 1,000, acks in multiples of 100",
        12,
        20,
        *("--confirm", "1000", "--ack", "100", "--prefetch", "1000"),
    ),
    _rate_row("1k", "1 KiB bodies, auto-ack", 6, 9, "--size", "1024"),
    _rate_row("consumers", "5,000 consumers on one queue, auto-ack", 15, 20, "--consumers", "5000"),
    _rate_row("fanout", "fanout to 10 queues", 8, 15, "--shape", "fanout", "--queues", "10"),
    _rate_row("topic", "topic, 1,000 bindings", 8, 15, "--shape", "topic", "--bindings", "1000"),
    _rate_row(
        "channels",
        "100 connections of 10 channels",
        8,
        15,
        *("--shape", "channels", "--connections", "100", "--channels", "10"),
        *("--backlog", "200000"),  # the socket buffers of 100 connections take long to drain
    ),
    Row(
        "relay",
        "1 KiB, against a bare uvloop relay",
        "msg/s",
        _throughput("--size", "1024"),
        RELAY,
        None,
        0.5,
        contestants=(LEVERET, RELAY),
    ),
    Row(
        "latency",
        f"p99 latency at {LATENCY_RATE:,} messages a second",
        "ms",
        _latency("--rate", str(LATENCY_RATE)),
        RABBITMQ,
        1.0,
        0.5,
        lower_is_better=True,
    ),
    Row(
        "latency-idle",
        f"the same beside {IDLE_CONNECTIONS:,} idle connections",
        "ms",
        _latency_beside_idle,
        RABBITMQ,
        1.0,
        0.5,
        lower_is_better=True,
    ),
    Row(
        "start",
        "listening after start",
        "s",
        _start,
        None,
        0.5,
        0.3,
        lower_is_better=True,
        leveret_repeat=LEVERET_STARTS,
    ),
    Row(
        "memory",
        "memory idle",
        "MB",
        _footprint(idle_megabytes),
        None,
        60,
        40,
        lower_is_better=True,
    ),
    Row(
        "connection",
        "memory of a connection with one channel and consumer",
        "kB",
        _footprint(kilobytes_per_connection),
        None,
        40,
        15,
        lower_is_better=True,
    ),
    Row(
        "idle",
        "CPU idle with 1,000 quiet connections",
        "% of a core",
        _footprint(idle_cpu_percent),
        None,
        1.0,
        None,
        lower_is_better=True,
    ),
    *DURABLE_ROWS,
    *FEATURE_ROWS,
)

GROUPS: dict[str, tuple[Row, ...]] = {
    "standard": STANDARD_ROWS,
    "sizes": SIZE_ROWS,
    "objects": OBJECT_ROWS,
    "fairness": FAIRNESS_ROWS,
    "definitions": DEFINITION_ROWS,
    "tls": TLS_ROWS,
    "access": ACCESS_ROWS,
    "monitoring": MONITORING_ROWS,
    "testing": TESTING_ROWS,
    "cluster": CLUSTER_ROWS,
}
"""The rows by the name that selects them all. The first are measured if none are selected."""

ROWS = tuple(row for rows in GROUPS.values() for row in rows)
