"""The rows of one size of body each: rate against the peers and the relay, and latency."""

from bench.contestants import LEVERET, RABBITMQ, RELAY, Contestant, running
from bench.load import run_load
from bench.row import Measure, Row, Sample, Tool

PERSISTENT = ("--durable", "1", "--confirm", "100", "--ack", "100", "--prefetch", "1000")
SIZES = {
    "16": 16,
    "128": 128,
    "1k": 1024,
    "4k": 4096,
    "16k": 16_384,
    "64k": 65_536,
    "256k": 262_144,
    "1m": 1_048_576,
}
"""Bytes of a body by the name of its row."""
RELAYED_FROM = 16_384
"""Bytes of a body from which on the rate is measured against the relay."""
LATENCY_UP_TO = 65_536
"""Bytes of a body up to which the latency at half the saturated rate has a bound."""
P99_MS_MAX = 5.0
MEGABYTE = 1_000_000


def _bodies(size: int, *arguments: str) -> Measure:
    """Megabytes of bodies a second that arrived."""

    def measure(tool: Tool, contestant: Contestant) -> Sample:
        shape = ("--shape", "relay") if contestant == RELAY else ()
        with running(contestant) as broker:
            result = run_load(
                tool.load_program, ["--size", str(size), *arguments, *shape], tool.timing, broker
            )
        arrived = result.received_per_s * size / MEGABYTE
        return Sample(arrived, vars(result), tuple(result.remarks()))

    return measure


def _latency(size: int) -> Measure:
    """p99, in milliseconds, at half of the rate that the same broker sustained just before."""

    def measure(tool: Tool, contestant: Contestant) -> Sample:
        with running(contestant) as broker:
            arguments = ["--size", str(size)]
            saturated = run_load(tool.load_program, arguments, tool.timing, broker)
            rate = max(1, int(saturated.received_per_s / 2))
            result = run_load(
                tool.load_program, [*arguments, "--rate", str(rate)], tool.timing, broker
            )
        remarks = (*result.remarks(), f"at {rate:,} messages a second")
        return Sample(result.p99_us / 1000, vars(result), remarks)

    return measure


SIZE_ROWS = (
    *(
        Row(f"size-{name}", f"{name} bodies, auto-ack", "MB/s", _bodies(size), RABBITMQ, 1, 1)
        for name, size in SIZES.items()
    ),
    *(
        Row(
            f"size-{name}-durable",
            f"{name} bodies, persistent, 100 unconfirmed",
            "MB/s",
            _bodies(size, *PERSISTENT),
            RABBITMQ,
            1,
            1,
        )
        for name, size in SIZES.items()
    ),
    *(
        Row(
            f"size-{name}-relay",
            f"{name} bodies, auto-ack, against a bare uvloop relay",
            "MB/s",
            _bodies(size),
            RELAY,
            0.75,
            0.75,
            contestants=(LEVERET, RELAY),
        )
        for name, size in SIZES.items()
        if size >= RELAYED_FROM
    ),
    *(
        Row(
            f"size-{name}-latency",
            f"{name} bodies, p99 at half the saturated rate",
            "ms",
            _latency(size),
            None,
            P99_MS_MAX,
            P99_MS_MAX,
            lower_is_better=True,
        )
        for name, size in SIZES.items()
        if size <= LATENCY_UP_TO
    ),
)
