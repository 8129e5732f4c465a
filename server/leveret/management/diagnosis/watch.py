"""Watching queues and consumers, for what only time shows: since when, and how fast.

Every few seconds a piece of work visits the queues that have messages, and the consumers that hold
some, in slices of the broker's time. Of each it remembers a few numbers until it is empty; the
message path does nothing for it.
"""

import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from leveret.engine.broker import Broker
from leveret.engine.queues.consumer import Consumer
from leveret.engine.queues.drop_counters import DropCounters
from leveret.engine.queues.queue import Queue
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work, run_steps
from leveret.protocol.channels.channel_consumer import ChannelConsumer
from leveret.protocol.channels.deliveries import Deliveries

INTERVAL_S: Final = 2.0
"""Seconds between two passes: how exactly it is known since when a delivery is held."""

RATE_MS_MIN: Final = 3_000
"""Milliseconds that a rate covers at least."""

SAMPLES: Final = 3
"""Measurements of a queue that are kept, those of the last passes."""

DELIVERIES_LOOKED_AT: Final = 256
"""Unacknowledged deliveries of a channel among which the oldest of each consumer is searched, if it
has several."""


class Sample(NamedTuple):
    """What had happened to a queue by some time."""

    time: int
    publish: int
    deliver: int
    redeliver: int
    settled: int
    dropped: int
    rejected: int


class Held(NamedTuple):
    """The oldest delivery of a consumer."""

    tag: int
    since: int
    """When it was seen first, in milliseconds since the epoch."""


def sample(queue: Queue, now: int) -> Sample:
    """What has happened to a queue."""
    counters, drops = queue.counters, queue.contents.drops or NO_DROPS
    settled = counters.ack + counters.deliver_no_ack + counters.get_no_ack
    dropped = drops.expired + drops.maxlen + drops.rejected + drops.delivery_limit
    return Sample(
        now,
        int(counters.publish),
        int(counters.deliver + counters.deliver_no_ack),
        int(counters.redeliver),
        int(settled),
        int(dropped),
        int(drops.rejected),
    )


NO_DROPS: Final = DropCounters()


class Watch:
    """What was seen of the queues and consumers of a broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._samples: dict[Queue, list[Sample]] = {}
        self._held: dict[Consumer, Held] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Watch from now on, as long as the event loop runs."""
        self._loop = asyncio.get_running_loop()
        self._schedule()

    def held_since(self, consumer: Consumer) -> int | None:
        """Since when a consumer has its oldest delivery at least; None if it has none, or was not
        seen with it yet."""
        held = self._held.get(consumer)
        return None if held is None else held.since

    def before(self, queue: Queue, now: int) -> Sample | None:
        """The last measurement of a queue that is old enough for a rate; None if there is none."""
        old_enough = [
            each for each in self._samples.get(queue, ()) if now - each.time >= RATE_MS_MIN
        ]
        return old_enough[-1] if old_enough else None

    def _schedule(self) -> None:
        if self._loop is not None:
            self._loop.call_later(INTERVAL_S, self._begin)

    def _begin(self) -> None:
        self._broker.work.add(_Pass(self))

    def end_pass(
        self, seen: "tuple[dict[Queue, list[Sample]], dict[Consumer, Held]] | None"
    ) -> None:
        """A pass has ended: use what it has seen, if it did not fail, and begin the next one
        later."""
        if seen is not None:
            self._samples, self._held = seen
        self._schedule()

    def look(
        self, samples: dict[Queue, list[Sample]], held: dict[Consumer, Held]
    ) -> Iterator[None]:
        """Look at everything, a queue a step."""
        now = int(self._broker.clock.wall_time())
        channels: dict[Deliveries, None] = {}
        for vhost in list(self._broker.vhosts.values()):
            for queue in list(vhost.queues.values()):
                if queue.deleted or not (queue.message_count() or queue.unacknowledged):
                    continue
                earlier = self._samples.get(queue, [])
                samples[queue] = [*earlier[1 - SAMPLES :], sample(queue, now)]
                if queue.unacknowledged:
                    for consumer in queue.consumers:
                        if type(consumer) is ChannelConsumer and consumer.outstanding:
                            channels[consumer.deliveries] = None
                            yield
                yield
        for deliveries in channels:
            self._look_at_channel(deliveries, held, now)
            yield

    def _look_at_channel(
        self, deliveries: Deliveries, held: dict[Consumer, Held], now: int
    ) -> None:
        """Note the oldest delivery of each consumer of a channel."""
        missing = len(deliveries.consumers)
        for tag, delivery in islice(deliveries.unacknowledged.items(), DELIVERIES_LOOKED_AT):
            consumer = delivery.consumer
            if consumer is None or consumer in held:
                continue
            before = self._held.get(consumer)
            held[consumer] = before if before is not None and before.tag == tag else Held(tag, now)
            missing -= 1
            if missing <= 0:
                return


class _Pass(Work):
    """One look at everything."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._samples: dict[Queue, list[Sample]] = {}
        self._held: dict[Consumer, Held] = {}
        self._steps = watch.look(self._samples, self._held)

    def run(self, time_slice: TimeSlice) -> bool:
        if not run_steps(self._steps, time_slice):
            return False
        self._watch.end_pass((self._samples, self._held))
        return True

    def give_up(self) -> None:
        self._watch.end_pass(None)
