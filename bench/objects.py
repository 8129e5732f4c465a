"""What an object costs: the growth of the broker's resident set for each queue, exchange, binding.

One client makes the objects without waiting for replies, so nothing else grows with them. A first
thousand is made before the measurement: it loads modules and fills pools, once.
"""

import time
from collections.abc import Callable

from pamqp import base, commands, frame

from bench.contestants import Running
from bench.footprint import SETTLE_S, resident_bytes
from bench.quiet import Link

Exchange = commands.Exchange
Queue = commands.Queue

WARM_OBJECTS = 1000
OBJECTS = 20_000
BATCH = 500
TIMEOUT_S = 300.0
HEARTBEATS_OFF = 0

EXCHANGE = "bench.objects"
KINDS = ("queue", "exchange", "binding")


def bytes_an_object(kind: str, *, durable: bool) -> Callable[[Running], float]:
    """The measurement for one of KINDS: bytes of resident memory for each of 20,000 objects."""

    def measured(broker: Running) -> float:
        link = Link(broker, HEARTBEATS_OFF)
        link.socket.settimeout(TIMEOUT_S)
        link.call(1, commands.Channel.Open(), commands.Channel.OpenOk)
        link.call(1, Exchange.Declare(0, EXCHANGE, "direct", durable=durable), Exchange.DeclareOk)
        link.call(1, Queue.Declare(0, EXCHANGE, durable=durable), Queue.DeclareOk)
        _make(link, kind, durable, 0, WARM_OBJECTS)
        time.sleep(SETTLE_S)
        before = resident_bytes(broker.pid)
        _make(link, kind, durable, WARM_OBJECTS, WARM_OBJECTS + OBJECTS)
        time.sleep(SETTLE_S)
        grown = resident_bytes(broker.pid) - before
        link.socket.close()
        return grown / OBJECTS

    return measured


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
    return Queue.Bind(0, EXCHANGE, EXCHANGE, name, nowait=True)
