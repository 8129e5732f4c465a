"""What an object costs: the growth of the broker's resident set for each queue, exchange, binding.

One client makes the objects without waiting for replies, so nothing else grows with them. A first
thousand is made before the measurement: it loads modules and fills pools, once.
"""

import time

from pamqp import base, commands, frame

from bench.contestants import Contestant, Running, running
from bench.footprint import SETTLE_S, resident_bytes
from bench.quiet import Link
from bench.row import Measure, Row, Sample, Tool

Exchange = commands.Exchange
Queue = commands.Queue

WARM_OBJECTS = 1000
OBJECTS = 20_000
BATCH = 500
TIMEOUT_S = 300.0
HEARTBEATS_OFF = 0

EXCHANGE = "bench.objects"
BYTES_MAX = {
    ("queue", False): 1536,
    ("queue", True): 3072,
    ("exchange", False): 1024,
    ("exchange", True): 1024,
    ("binding", False): 614,
    ("binding", True): 614,
    ("headers-binding", False): 614,
    ("headers-binding", True): 614,
}
"""Bytes that an object may take, by its kind and whether it is durable."""


def bytes_an_object(broker: Running, kind: str, *, durable: bool) -> float:
    """Bytes of resident memory for each of 20,000 queues, exchanges or bindings."""
    link = Link(broker, HEARTBEATS_OFF)
    link.socket.settimeout(TIMEOUT_S)
    link.call(1, commands.Channel.Open(), commands.Channel.OpenOk)
    source = "headers" if kind == "headers-binding" else "direct"
    link.call(1, Exchange.Declare(0, EXCHANGE, source, durable=durable), Exchange.DeclareOk)
    link.call(1, Queue.Declare(0, EXCHANGE, durable=durable), Queue.DeclareOk)
    _make(link, kind, durable, 0, WARM_OBJECTS)
    time.sleep(SETTLE_S)
    before = resident_bytes(broker.pid)
    _make(link, kind, durable, WARM_OBJECTS, WARM_OBJECTS + OBJECTS)
    time.sleep(SETTLE_S)
    grown = resident_bytes(broker.pid) - before
    link.socket.close()
    return grown / OBJECTS


def _make(link: Link, kind: str, durable: bool, first: int, stop: int) -> None:
    """Make the objects with these numbers, and wait until all are there."""
    for start in range(first, stop, BATCH):
        numbers = range(start, min(start + BATCH, stop))
        methods = [_method(kind, durable, f"object-{number:06}") for number in numbers]
        link.socket.sendall(b"".join(frame.marshal(method, 1) for method in methods))
        link.call(1, Queue.Declare(0, EXCHANGE, passive=True), Queue.DeclareOk)


def _method(kind: str, durable: bool, name: str) -> base.Frame:
    if kind == "queue":
        return Queue.Declare(0, name, durable=durable, nowait=True)
    if kind == "exchange":
        return Exchange.Declare(0, name, "topic", durable=durable, nowait=True)
    if kind == "headers-binding":
        return Queue.Bind(0, EXCHANGE, EXCHANGE, "", nowait=True, arguments={"object": name})
    return Queue.Bind(0, EXCHANGE, EXCHANGE, name, nowait=True)


def _row(kind: str, durable: bool) -> Row:
    def measure(_tool: Tool, contestant: Contestant) -> Sample:
        with running(contestant) as broker:
            return Sample(bytes_an_object(broker, kind, durable=durable))

    measured: Measure = measure
    life = "durable" if durable else "transient"
    title = f"memory of a {life} {kind.replace('-', ' ')}, one of {OBJECTS:,}"
    least = BYTES_MAX[kind, durable]
    return Row(f"{kind}-{life}", title, "B", measured, None, least, None, lower_is_better=True)


OBJECT_ROWS = tuple(_row(kind, durable) for kind, durable in BYTES_MAX)
