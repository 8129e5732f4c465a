"""What statistics cost: memory for a queue of which every series is active, and time for a look.

No broker process is needed: the queues, and the looks at them, are those of a broker in memory.
`python -m bench.statistics` prints the figures and fails if one is above its limit.
"""

import sys
import time
import tracemalloc
from typing import Final

from leveret.config import Config
from leveret.engine.broker import Broker
from leveret.engine.lifecycle.queues import declare_queue
from leveret.engine.queues.queue import Queue
from leveret.engine.values.arguments import Arguments
from leveret.management.statistics.sampler import Sampler
from leveret.management.statistics.sampling import SECOND

QUEUES: Final = 10_000
LOOKS: Final = 20
QUEUE_BYTES_MAX: Final = 4096
"""Bytes that the statistics of one queue may take, with every series active."""

IDLE_SHARE_MAX: Final = 0.01
"""Share of a core that the looks at 10,000 idle queues may take, one a second."""


def _broker() -> tuple[Broker, Sampler, list[Queue]]:
    broker = Broker(Config())
    broker.clock.advance_to(1_000_000 * SECOND)
    vhost = broker.vhosts["/"]
    queues = [
        declare_queue(
            vhost,
            f"q{number}",
            durable=False,
            auto_delete=False,
            owner=None,
            connection=None,
            arguments=Arguments({}, {}),
        )
        for number in range(QUEUES)
    ]
    sampler = Sampler(broker, list)
    sampler.start()
    return broker, sampler, queues


def _look(broker: Broker, seconds: int) -> float:
    """Let seconds pass, with a look in each; the seconds of time that one takes."""
    began = time.process_time()
    for _ in range(seconds):
        broker.clock.advance_to(broker.clock.now + SECOND)
        broker.timers.run(broker.clock.now)
        broker.work.run_all(broker.time_slice)
    return (time.process_time() - began) / seconds


def _be_active(queues: list[Queue]) -> None:
    for queue in queues:
        counters = queue.counters
        counters.publish += 1000
        counters.deliver += 500
        counters.deliver_no_ack += 100
        counters.redeliver += 10
        counters.get += 50
        counters.get_no_ack += 20
        counters.get_empty += 5
        counters.ack += 300


def main() -> int:
    """Measure, print, and return 1 if a limit is exceeded."""
    broker, _, queues = _broker()
    _look(broker, 5)
    idle = _look(broker, LOOKS)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    _be_active(queues)
    _look(broker, 10)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    of_history = (after - before) / QUEUES
    of_counters = queues[0].counters.__sizeof__()
    active = 0.0
    for _ in range(LOOKS):
        _be_active(queues)
        active += _look(broker, 1) / LOOKS
    total = of_history + of_counters
    print(f"a queue, all series active: {total:.0f} B, of which counters {of_counters} B")
    print(f"a look at {QUEUES:,} idle queues: {idle * 1000:.2f} ms")
    print(f"a look at {QUEUES:,} active queues: {active * 1000:.2f} ms")
    return int(total > QUEUE_BYTES_MAX or idle > IDLE_SHARE_MAX)


if __name__ == "__main__":
    sys.exit(main())
