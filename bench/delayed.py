"""Delayed messages due at a steady rate: how late they come.

A process publishes, and this one consumes: each message says when it is due, by the clock both
share. Delays differ, so that messages are not due in the order in which they are published.
"""

import multiprocessing
import random
import time
from collections.abc import Sequence

import pika
from pika.adapters.blocking_connection import BlockingChannel

from bench.contestants import NotMeasured, Running

NAME = "delayed"
PERSISTENT = 2
DELAYS_MS = range(500, 1500)
STALL_S = 30.0
WARMUP_S = 2.0
"""Seconds of publishing whose messages do not count."""


def lateness_ms(broker: Running, rate: int, seconds: float) -> list[float]:
    """How late each message was, in milliseconds, the least late first; early ones are negative.

    Raises NotMeasured when messages stop coming.
    """
    count = int(rate * (WARMUP_S + seconds))
    spawn = multiprocessing.get_context("spawn")
    publisher = spawn.Process(target=_publish, args=(broker.host, broker.port, rate, count))
    with pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port)) as connection:
        channel = connection.channel()
        channel.exchange_declare(
            NAME, f"x-{NAME}-message", durable=True, arguments={"x-delayed-type": "fanout"}
        )
        channel.queue_declare(NAME, durable=True)
        channel.queue_bind(NAME, NAME)
        publisher.start()
        try:
            late = _consume(channel, count)
        finally:
            publisher.terminate()
            publisher.join()
    return sorted(late[int(rate * WARMUP_S) :])


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which a share of sorted values lies."""
    return values[min(len(values) - 1, int(share * len(values)))]


def _publish(host: str, port: int, rate: int, count: int) -> None:
    chance = random.Random(1)
    with pika.BlockingConnection(pika.ConnectionParameters(host, port)) as connection:
        channel = connection.channel()
        begun = time.perf_counter()
        for number in range(count):
            wait = begun + number / rate - time.perf_counter()
            if wait > 0:
                connection.sleep(wait)
            delay = chance.choice(DELAYS_MS)
            properties = pika.BasicProperties(headers={"x-delay": delay}, delivery_mode=PERSISTENT)
            channel.basic_publish(NAME, "", b"%.6f" % (time.time() + delay / 1000), properties)


def _consume(channel: BlockingChannel, count: int) -> list[float]:
    late: list[float] = []
    for method, _, body in channel.consume(NAME, auto_ack=True, inactivity_timeout=STALL_S):
        if method is None:
            raise NotMeasured(f"{count - len(late)} of {count} delayed messages did not come")
        late.append((time.time() - float(body)) * 1000)
        if len(late) == count:
            channel.cancel()
            break
    return late
