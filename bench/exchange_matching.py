"""Measures the matching of exchanges in this process, and prints the figures as JSON.

`exchanges.py` starts it once for each build:

    python bench/exchange_matching.py NUMBER_OF_BINDINGS...
"""

import gc
import json
import os
import random
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pamqp import encode

from leveret.engine.routing.exchanges import Destination, Exchange, ExchangeDeclaration, create
from leveret.engine.values.message import Message

ROUNDS = 5
HIT_KEYS = 100
MISS_KEYS = 20_000
SAME_BINDINGS = 1_000
HASH_BINDINGS_MAX = 10_000
"""Bindings of the consistent hash exchange: a search takes time with their number."""


def topic_pattern(index: int) -> str:
    """The pattern of a binding: half have a wildcard, and three of twenty start with `#`."""
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
    """Different routing keys that match patterns of the first `bindings` bindings."""
    sites = max(bindings // 20, 1)
    choose = random.Random(count)
    return [f"eu.s{choose.randrange(sites)}.d{choose.randrange(10)}.v{n}" for n in range(count)]


HOSTILE_BINDINGS_MAX = 5_000
HOSTILE_KEYS = 10


def measure_hostile(bindings: int) -> float:
    """Nanoseconds of the match of a key of 125 words with random patterns of `a`, `*` and `#`."""
    exchange = create(ExchangeDeclaration("topic", "topic", True, False, False, {}))
    choose = random.Random(3)
    for number in range(min(bindings, HOSTILE_BINDINGS_MAX)):
        words = [choose.choice("a*#") for _ in range(choose.randint(20, 100))]
        exchange.bind(Destination("q"), ".".join([*words, f"z{number}"]), {})
    keys = [".".join(["a"] * 124 + [f"b{number}"]) for number in range(ROUNDS * HOSTILE_KEYS)]
    best = float("inf")
    for start in range(0, len(keys), HOSTILE_KEYS):
        begun = time.perf_counter_ns()
        for key in keys[start : start + HOSTILE_KEYS]:
            exchange.match(key, None, [])
        best = min(best, (time.perf_counter_ns() - begun) / HOSTILE_KEYS)
    return best


def bind_by_headers(exchange: Exchange, queue: Destination, index: int) -> None:
    """Bind a queue by all headers, or by any of them, in turn."""
    kind = ("all", "any")[index % 2]
    exchange.bind(queue, "", {"x-match": kind, "format": "pdf", "id": index})
    exchange.unbind(queue, "", {"x-match": "any", "format": "pdf", "id": index})
    if kind == "any":
        exchange.bind(queue, "", {"x-match": kind, "type": index, "id": index})


def message(headers: bytes = b"") -> Message:
    """A message with these headers, an encoded field table."""
    flags = 0x2000 if headers else 0
    return Message(b"", struct.pack(">HHQH", 60, 0, 0, flags) + headers, b"", False)


def per_bind(
    exchange: Exchange, queues: Sequence[Destination], keys: Sequence[str]
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


def per_match(exchange: Exchange, keys: Sequence[str], messages: Sequence[Message | None]) -> float:
    """Nanoseconds of a match, in the fastest of several rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter_ns()
        for key, each in zip(keys, messages, strict=True):
            exchange.match(key, each, [])
        best = min(best, (time.perf_counter_ns() - start) / len(keys))
    return best


def measure_hash(
    queues: Sequence[Destination], keys: Sequence[str], numbered: Sequence[Message]
) -> dict[str, float]:
    """The figures of the consistent hash exchange."""
    by_key = create(ExchangeDeclaration("x-consistent-hash", "k", True, False, False, {}))
    by_header = create(
        ExchangeDeclaration("x-consistent-hash", "h", True, False, False, {"hash-header": "id"})
    )
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
    """Nanoseconds of each operation with so many bindings, in the fastest of several rounds."""

    def made(kind: str) -> Exchange:
        return create(ExchangeDeclaration(kind, kind, True, False, False, {}))

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
        "hostile": measure_hostile(bindings),
        "direct": per_match(direct, [f"key{index}" for index in sample], plain),
        "headers": per_match(by_headers, misses, numbered),
        **measure_hash(queues, misses, numbered),
    }
    dropped = queues[:: max(bindings // 1000, 1)]
    start = time.perf_counter_ns()
    for queue in dropped:
        while queue.drop_newest_incoming() is not None:
            pass
    figures["drop"] = (time.perf_counter_ns() - start) / len(dropped)
    return figures


def resident_bytes() -> int:
    """Resident memory of this process; 0 without procfs."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGESIZE") if statm.exists() else 0


if __name__ == "__main__":
    print(json.dumps({size: measure(int(size)) for size in sys.argv[1:]}))
