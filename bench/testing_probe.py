"""What a process measures of `leveret.testing`: `python testing_probe.py WHAT` prints seconds.

A program of its own, as some figures exist once in a process: what imports take, and the first
broker. It imports nothing of this repository but `leveret.testing`, and pika as the client, which
is imported before anything is measured.
"""

import sys
import time
from collections.abc import Callable
from statistics import median

import pika

STARTS = 10
RESETS = 30
QUEUES = 100
CONNECTIONS = 10


def connect(host: str, port: int, vhost: str = "/") -> pika.BlockingConnection:
    """A connection of pika."""
    return pika.BlockingConnection(pika.ConnectionParameters(host, port, vhost))


def deliver(host: str, port: int) -> None:
    """Publish a message, and return when it is delivered to a consumer."""
    connection = connect(host, port)
    channel = connection.channel()
    name = channel.queue_declare("", exclusive=True).method.queue
    channel.basic_publish("", name, b"first")
    for _ in channel.consume(name, auto_ack=True):
        break
    # The broker is stopped or reset by who measures: a handshake of closing is not part of it.
    del connection


def once(process: bool) -> float:
    """From the start of a broker to a delivered message, imports of Leveret included."""
    began = time.perf_counter()
    from leveret.testing import Broker

    with Broker(process=process) as broker:
        deliver(broker.host, broker.port)
        return time.perf_counter() - began


def later(process: bool) -> float:
    """The same for a process that had a broker before; the median of ten."""
    once(process)
    return median(once(process) for _ in range(STARTS))


def reset(queues: int, connections: int) -> float:
    """The reset of a broker that has queues and connections; the median of thirty."""
    from leveret.testing import Broker

    taken = []
    with Broker() as broker:
        for _ in range(RESETS):
            # The reset closes them; nobody closes them here, as pika would say that they are lost.
            opened = [connect(broker.host, broker.port) for _ in range(connections)]
            if opened:
                channel = opened[0].channel()
                for number in range(queues):
                    channel.queue_declare(f"queue-{number}")
            began = time.perf_counter()
            broker.reset()
            taken.append(time.perf_counter() - began)
    return median(taken)


def imported(module: str, *before: str) -> float:
    """The import of a module, by a process that has imported `before`."""
    for name in before:
        __import__(name)
    began = time.perf_counter()
    __import__(module)
    return time.perf_counter() - began


MEASURED: dict[str, Callable[[], float]] = {
    "thread-first": lambda: once(process=False),
    "thread": lambda: later(process=False),
    "process-first": lambda: once(process=True),
    "process": lambda: later(process=True),
    "reset": lambda: reset(0, 0),
    "reset-full": lambda: reset(QUEUES, CONNECTIONS),
    "import": lambda: imported("leveret.testing"),
    "plugin": lambda: imported("leveret.testing.plugin", "pytest"),
}


if __name__ == "__main__":
    print(MEASURED[sys.argv[1]]())
