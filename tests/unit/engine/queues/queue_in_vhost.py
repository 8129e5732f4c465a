"""A queue in a virtual host without a store, with a clock that the test advances."""

from pamqp.common import FieldValue

from leveret.engine.queues.queue import Queue
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.message import Message
from leveret.engine.values.time_slice import UNLIMITED_NS
from leveret.engine.vhost import VirtualHost
from tests.unit.engine.queues.consumers import Recorder

START = 1_000_000
"""The time at the begin of a test, in milliseconds since the epoch."""


class QueueInVhost:
    """A virtual host with a queue q, and a queue that gets its dead letters."""

    def __init__(self, counts_returns: bool = True, /, **values: int | str) -> None:
        """`values` are arguments of the queue, with underscores for hyphens."""
        self.vhost = VirtualHost("v")
        self.vhost.counts_returns = counts_returns
        self.vhost.clock.advance_to(START)
        self.vhost.time_slice.begin(UNLIMITED_NS)
        self.dead = Queue("dead", host=self.vhost)
        self.vhost.queues["dead"] = self.dead
        table: dict[str, FieldValue] = {
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": "dead",
            **{f"x-{name.replace('_', '-')}": value for name, value in values.items()},
        }
        self.queue = Queue("q", arguments=Arguments(table, {}), host=self.vhost)

    @property
    def now(self) -> int:
        """The time, in milliseconds since the epoch."""
        return int(self.vhost.clock.now)

    def advance(self, milliseconds: int) -> None:
        """Advance the clock, and run the timers that are due then, and all work."""
        self.vhost.clock.advance_to(self.now + milliseconds)
        self.vhost.timers.run(self.now)
        self.vhost.work.run_all(self.vhost.time_slice)
        self.vhost.time_slice.begin(UNLIMITED_NS)

    def publish(self, *messages: Message) -> int:
        """Publish messages to q.

        :returns: the outcome of the last one.
        """
        outcome = 0
        for message in messages:
            outcome = int(self.queue.publish(message))
            self.vhost.pass_on_dead_letters()
        return outcome

    def add_consumer(self, tag: str, *, capacity: int = 1_000_000, timeout: int = 0) -> Recorder:
        """Add a consumer to q, and deliver to it what is ready."""
        recorder = Recorder(self.queue, tag, capacity=capacity, timeout=timeout)
        self.queue.add_consumer(recorder.consumer)
        self.queue.deliver_ready()
        return recorder

    def take(self) -> tuple[Message, int, bool]:
        """Take the next message of q, which is there."""
        taken = self.queue.take()
        assert taken is not None
        return taken

    def requeue_next(self, *, failed: bool) -> None:
        """Take the next message of q, and requeue it."""
        taken, position, _ = self.take()
        self.queue.requeue(taken, position, failed)
        self.queue.deliver_ready()

    def take_all(self) -> list[bytes]:
        """Take all messages of q: their bodies."""
        return take_all(self.queue)

    def take_dead_letters(self) -> list[bytes]:
        """Take all dead letters: their bodies, in the order in which they were dropped."""
        return take_all(self.dead)


def take_all(queue: Queue) -> list[bytes]:
    """Take all messages of a queue: their bodies."""
    found = []
    while (taken := queue.take()) is not None:
        found.append(taken[0].body)
    return found
