"""What a match costs, by exchange type and number of bindings, compiled and as plain Python.

    python bench/exchanges.py [--bindings 1000,10000,100000]

Every binding leads to a destination of its own, and whatever their number, a message matches about
as many of them: what is measured is finding them, not handing them over. The topic exchange has
patterns of all kinds mixed. "hit" are routing keys its cache remembers. "miss" are keys that come
back only after the cache has started anew: the same messages whatever the number of bindings.
"cold" are such keys spread over all bindings, so the more there are, the more of them the
processor has to fetch from memory; so it is for direct and headers. Each build runs in a process
of its own, from a copy of the sources, compiled there by mypyc.
"""

import argparse
import gc
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pamqp import encode

if TYPE_CHECKING:
    from leveret.engine.routing.exchanges import Destination, Exchange
    from leveret.engine.values.message import Message

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 5
HIT_KEYS = 100
MISS_KEYS = 20_000
SAME_BINDINGS = 1_000
COLUMNS = (
    "topic hit",
    "topic miss",
    "topic cold",
    "direct",
    "headers",
    "hash key",
    "hash header",
    "hash bind",
    "hash bytes",
    "bind",
    "drop",
    "matched",
    "bytes",
)
HASH_BINDINGS_MAX = 10_000
"""A consistent hash exchange is for fewer queues than the others, and each takes many points."""

EXPLANATION = (
    "topic hit to hash header: ns a match; hash bind, hash bytes: ns and memory of a binding to a\n"
    "consistent hash exchange, of which there are at most 10,000; bind, drop: ns a topic binding\n"
    "made, a queue deleted; matched: destinations a topic match found; bytes: memory of a topic\n"
    "binding"
)


def topic_pattern(index: int) -> str:
    """The pattern of a binding: of every twenty, half have a wildcard, and a `#` leads three."""
    site = f"s{index // 20}"
    kind = index % 20
    if kind < 10:
        return f"eu.{site}.d{kind}.temp"
    if kind < 13:
        return f"*.{site}.d{kind - 10}.*"
    if kind < 15:
        return f"eu.{site}.d{kind - 10}.#"
    if kind < 17:
        return f"eu.*.d{kind - 15}.{site}"
    return f"#.{site}.d{kind - 17}.#"


def topic_keys(bindings: int, count: int) -> list[str]:
    """Routing keys, none twice, that the first so many bindings have patterns for."""
    sites = max(bindings // 20, 1)
    choose = random.Random(count)
    return [f"eu.s{choose.randrange(sites)}.d{choose.randrange(10)}.v{n}" for n in range(count)]


def bind_by_headers(exchange: "Exchange", queue: "Destination", index: int) -> None:
    """Bind a queue by all headers, or by any of them, turn by turn."""
    kind = ("all", "any")[index % 2]
    exchange.bind(queue, "", {"x-match": kind, "format": "pdf", "id": index})
    exchange.unbind(queue, "", {"x-match": "any", "format": "pdf", "id": index})
    if kind == "any":
        exchange.bind(queue, "", {"x-match": kind, "type": index, "id": index})


def message(headers: bytes = b"") -> "Message":
    """A message with these headers, which are a field table as it is sent."""
    from leveret.engine.values.message import Message

    flags = 0x2000 if headers else 0
    return Message(b"", struct.pack(">HHQH", 60, 0, 0, flags) + headers, b"", False)


def per_bind(
    exchange: "Exchange", queues: "Sequence[Destination]", keys: Sequence[str]
) -> tuple[float, float]:
    """Nanoseconds and bytes of a binding."""
    gc.collect()
    gc.disable()
    before = resident_bytes()
    start = time.perf_counter_ns()
    for queue, key in zip(queues, keys, strict=True):
        exchange.bind(queue, key, {})
    nanoseconds = (time.perf_counter_ns() - start) / len(keys)
    size = (resident_bytes() - before) / len(keys)
    gc.enable()
    return nanoseconds, size


def per_match(
    exchange: "Exchange", keys: Sequence[str], messages: "Sequence[Message | None]"
) -> float:
    """Nanoseconds of a match; best of several rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter_ns()
        for key, each in zip(keys, messages, strict=True):
            exchange.match(key, each, [])
        best = min(best, (time.perf_counter_ns() - start) / len(keys))
    return best


def measure_hash(
    queues: "Sequence[Destination]", keys: Sequence[str], numbered: "Sequence[Message]"
) -> dict[str, float]:
    """The figures of the consistent hash exchange."""
    from leveret.engine.routing.exchanges import create

    by_key = create("x-consistent-hash", "k", True, False, False, {})
    by_header = create("x-consistent-hash", "h", True, False, False, {"hash-header": "id"})
    bound = queues[:HASH_BINDINGS_MAX]
    bind, size = per_bind(by_key, bound, ["1"] * len(bound))
    per_bind(by_header, bound, ["1"] * len(bound))
    return {
        "hash key": per_match(by_key, keys, [None] * len(keys)),
        "hash header": per_match(by_header, keys, numbered),
        "hash bind": bind,
        "hash bytes": size,
    }


def measure(bindings: int) -> dict[str, float]:
    """Nanoseconds of each operation with so many bindings; best of several rounds."""
    from leveret.engine.routing.exchanges import Destination, Exchange, create

    def made(kind: str) -> Exchange:
        return create(kind, kind, True, False, False, {})

    queues = [Destination(f"q{index}") for index in range(bindings)]
    topic, direct, by_headers = made("topic"), made("direct"), made("headers")
    bind, size = per_bind(topic, queues, [topic_pattern(index) for index in range(bindings)])
    for index, queue in enumerate(queues):
        direct.bind(queue, f"key{index}", {})
        bind_by_headers(by_headers, queue, index)

    choose = random.Random(bindings)
    sample = [choose.randrange(bindings) for _ in range(MISS_KEYS)]
    plain = [None] * MISS_KEYS
    numbered = [
        message(encode.field_table({"format": "pdf", "id": index, "n": 1.5})) for index in sample
    ]
    misses = topic_keys(min(bindings, SAME_BINDINGS), MISS_KEYS)
    found: list[Destination] = []
    for key in misses:
        topic.match(key, None, found)
    figures = {
        "matched": len(found) / len(misses),
        "bytes": size,
        "bind": bind,
        "topic miss": per_match(topic, misses, plain),
        "topic cold": per_match(topic, topic_keys(bindings, MISS_KEYS), plain),
        "topic hit": per_match(topic, misses[:HIT_KEYS] * 200, plain),
        "direct": per_match(direct, [f"key{index}" for index in sample], plain),
        "headers": per_match(by_headers, misses, numbered),
        **measure_hash(queues, misses, numbered),
    }
    dropped = queues[:: max(bindings // 1000, 1)]
    start = time.perf_counter_ns()
    for queue in dropped:
        topic.drop(queue)
    figures["drop"] = (time.perf_counter_ns() - start) / len(dropped)
    return figures


def resident_bytes() -> int:
    """The memory of this process that is in RAM; 0 where there is no procfs."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGESIZE") if statm.exists() else 0


def run_build(compiled: bool, sizes: list[int]) -> dict[str, dict[str, float]]:
    """Measure one build in a process of its own; raise CalledProcessError if it cannot be made."""
    with tempfile.TemporaryDirectory() as scratch:
        ignored = shutil.ignore_patterns("*.so", "*.c", "__pycache__")
        for package in ("server/leveret", "storage/leveret_storage"):
            shutil.copytree(ROOT / package, Path(scratch, Path(package).name), ignore=ignored)
        if compiled:
            modules = ["leveret/tables.py", "leveret/engine/table.py"]
            modules += ["leveret_storage/entries.py", "leveret/engine/message.py"]
            modules += ["leveret/engine/properties.py"]
            modules += [
                f"leveret/engine/routing/exchanges/{name}.py"
                for name in (
                    "base",
                    "consistent_hash",
                    "direct",
                    "fanout",
                    "hashing",
                    "headers",
                    "ring",
                    "topic",
                )
            ]
            subprocess.run(
                [sys.executable, "-m", "mypyc", *modules],
                cwd=scratch,
                check=True,
                capture_output=True,
                text=True,
            )
        answer = subprocess.run(
            [sys.executable, __file__, "--child", "--bindings", ",".join(map(str, sizes))],
            env={**os.environ, "PYTHONPATH": scratch},
            check=True,
            capture_output=True,
            text=True,
        )
    figures: dict[str, dict[str, float]] = json.loads(answer.stdout)
    return figures


def print_table(build: str, figures: dict[str, dict[str, float]]) -> None:
    print(f"\n{build}\n{'bindings':>10}" + "".join(f"{column:>12}" for column in COLUMNS))
    for bindings, row in figures.items():
        cells = [f"{row[column]:>12,.1f}" for column in COLUMNS]
        print(f"{int(bindings):>10,}" + "".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--bindings", default="1000,10000,100000", help="numbers, with commas")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = [int(size) for size in options.bindings.split(",")]
    if options.child:
        print(json.dumps({str(size): measure(size) for size in sizes}))
        return
    print(EXPLANATION)
    for build, compiled in (("compiled", True), ("plain Python", False)):
        try:
            print_table(build, run_build(compiled, sizes))
        except subprocess.CalledProcessError as failure:
            print(f"\n{build}: not measured\n{failure.stdout}{failure.stderr}")


if __name__ == "__main__":
    main()
