"""Watching queues for how fast they move.

Every few seconds a piece of work visits the queues that have messages, in slices of the broker's
time, and remembers a few counters of each until it is empty. The message path does nothing for it.

Deliberately elsewhere: since when deliveries are unacknowledged, and the samples of charts
(`statistics/sampling.py`).
"""

import asyncio
from collections.abc import Iterator
from typing import Final, NamedTuple

from leveret.engine.broker import Broker
from leveret.engine.queues.drop_counters import DropCounters
from leveret.engine.queues.queue import Queue
from leveret.engine.values.counters import queue_acknowledged
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work, run_steps

INTERVAL_S: Final = 2.0
"""Seconds between two passes."""

RATE_MS_MIN: Final = 3_000
"""Milliseconds that a rate covers at least."""

SAMPLES: Final = 3
"""Measurements of a queue that are kept, those of the last passes."""

QUEUES_AT_ONCE: Final = 16
"""Queues that are looked at before the slice is asked for."""


class Sample(NamedTuple):
    """What had happened to a queue by some time."""

    time: int
    publish: int
    deliver: int
    redeliver: int
    settled: int
    dropped: int
    rejected: int


def sample(queue: Queue, now: int) -> Sample:
    """What has happened to a queue."""
    counters, drops = queue.counters, queue.contents.drops or NO_DROPS
    dropped = drops.expired + drops.maxlen + drops.rejected + drops.delivery_limit
    return Sample(
        now,
        int(counters.publish),
        int(counters.deliver + counters.deliver_no_ack),
        int(counters.redeliver),
        queue_acknowledged(counters),
        int(dropped),
        int(drops.rejected),
    )


NO_DROPS: Final = DropCounters()


class Watch:
    """What was seen of the queues of a broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._samples: dict[Queue, list[Sample]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Watch from now on, until `stop`."""
        self._loop = asyncio.get_running_loop()
        self._schedule()

    def stop(self) -> None:
        """Watch no more."""
        self._loop = None
        if self._handle is not None:
            self._handle.cancel()

    def before(self, queue: Queue, now: int) -> Sample | None:
        """The last measurement of a queue that is old enough for a rate; None if there is none."""
        old_enough = [
            each for each in self._samples.get(queue, ()) if now - each.time >= RATE_MS_MIN
        ]
        return old_enough[-1] if old_enough else None

    def _schedule(self) -> None:
        if self._loop is not None:
            self._handle = self._loop.call_later(INTERVAL_S, self._begin)

    def _begin(self) -> None:
        self._broker.work.add(_Pass(self))

    def end_pass(self, seen: dict[Queue, list[Sample]] | None) -> None:
        """A pass has ended: use what it has seen, if it did not fail, and begin the next one
        later."""
        if seen is not None:
            self._samples = seen
        self._schedule()

    def look(self, samples: dict[Queue, list[Sample]]) -> Iterator[None]:
        """Look at everything, some queues a step."""
        now = int(self._broker.clock.wall_time())
        number = 0
        for vhost in list(self._broker.vhosts.values()):
            for queue in list(vhost.queues.values()):
                number += 1
                if number % QUEUES_AT_ONCE == 0:
                    yield
                if not queue.deleted and (queue.message_count() or queue.unacknowledged):
                    earlier = self._samples.get(queue, [])
                    samples[queue] = [*earlier[1 - SAMPLES :], sample(queue, now)]


class _Pass(Work):
    """One look at everything."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._samples: dict[Queue, list[Sample]] = {}
        self._steps = watch.look(self._samples)

    def run(self, time_slice: TimeSlice) -> bool:
        if not run_steps(self._steps, time_slice):
            return False
        self._watch.end_pass(self._samples)
        return True

    def give_up(self) -> None:
        self._watch.end_pass(None)
