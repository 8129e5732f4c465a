"""A broker on a simulated disk, with a clock and executors that the test advances."""

from random import Random

from pamqp.commands import Basic

from leveret.config import Config
from leveret.engine.broker import Broker
from leveret.engine.lifecycle.bindings import bind_queue
from leveret.engine.lifecycle.exchanges import declare_exchange
from leveret.engine.lifecycle.queues import declare_queue
from leveret.engine.queues.queue import Queue
from leveret.engine.queues.queue_host import DelayedStoreLimits
from leveret.engine.routing.exchanges.base import ExchangeDeclaration
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.field_table import Table
from leveret.engine.values.message import Message, short_strings
from leveret.engine.values.time_slice import UNLIMITED_NS
from leveret.engine.vhost import VirtualHost
from leveret.protocol.wire.methods import encode_header
from leveret_storage.errors import StorageError
from tests.storage.faulty import FaultyMedium
from tests.storage.owning import take
from tests.support.executors import StepExecutor

START: int = 1_700_000_000_000
"""When the first run begins, in milliseconds since the epoch."""


def arguments(**values: str | int) -> Arguments:
    """Arguments of a queue, their underscores written as hyphens."""
    table: Table = {f"x-{name.replace('_', '-')}": value for name, value in values.items()}
    types = {
        name: "longstr" if isinstance(value, str) else "signedint" for name, value in table.items()
    }
    return Arguments(table, types)


def leading_to(target: str, **values: str | int) -> Arguments:
    """Arguments of a queue whose dead letters go to another."""
    return arguments(dead_letter_exchange="", dead_letter_routing_key=target, **values)


def _failed(error: StorageError) -> None:
    raise error


class BrokerRun:
    """One run of a broker, from a start to a crash."""

    def __init__(
        self,
        medium: FaultyMedium | None = None,
        now: int = START,
        waiting: DelayedStoreLimits | None = None,
    ) -> None:
        self.medium = medium or FaultyMedium(1)
        take(self.medium)
        self.writing = StepExecutor()
        self.reading = StepExecutor()
        self.broker = Broker(Config())
        self._waiting = waiting or DelayedStoreLimits()
        self.broker.vhosts["/"].delayed_limits = self._waiting
        self.broker.time_slice.begin(UNLIMITED_NS)
        self.broker.open_store(self.medium, self.writing, self.reading, _failed)
        self.vhost: VirtualHost = self.broker.vhosts["/"]
        self.advance_to(now)

    @property
    def now(self) -> int:
        """The time, in milliseconds since the epoch."""
        return int(self.broker.clock.now)

    def advance_to(self, now: int) -> None:
        """Advance the clock, and do all that is due then."""
        self.broker.clock.advance_to(now)
        self.run_all()

    def run_all(self) -> None:
        """Run every job, timer and piece of work until there is none."""
        timers = self.broker.timers
        while True:
            self.run_work()
            self.broker.commit()
            for executor in (self.writing, self.reading):
                while executor.jobs:
                    executor.run_one()
                while executor.results:
                    executor.deliver_one()
            due = timers.next_due()
            if due != 0 and due <= self.now:
                timers.run(self.now)
            elif not (self.writing.jobs or self.reading.jobs) and self.broker.work.is_empty():
                return

    def run_work(self) -> None:
        """Run every piece of work to its end, in many slices."""
        self.broker.work.run_all(self.broker.time_slice)
        self.broker.time_slice.begin(UNLIMITED_NS)

    def run_step(self, chance: Random) -> None:
        """Run one job or timer, chosen at random."""
        timers = self.broker.timers
        executor = chance.choice((self.writing, self.reading))
        due = timers.next_due()
        work = self.broker.work
        what = chance.randrange(5)
        if what == 0:
            self.broker.commit()
        elif what == 1 and executor.jobs:
            executor.run_one()
        elif what == 2 and executor.results:
            executor.deliver_one()
        elif what == 3 and due != 0 and due <= self.now:
            timers.run(self.now)
        elif what == 4 and not work.is_empty():
            work.run_next(self.broker.time_slice)

    def restart(self, *, power: bool = False) -> "BrokerRun":
        """Kill the process, or cut the power of the machine, and start again.

        :returns: the next run.
        """
        medium = self.medium.crash() if power else self.medium.kill()
        return BrokerRun(medium, self.now, self._waiting)

    def run_one_slice(self) -> None:
        """Run the next piece of work for a slice that is over after one unit."""
        self.broker.time_slice.begin(0)
        self.broker.work.run_next(self.broker.time_slice)

    def crash_after(self, slices: int) -> "BrokerRun":
        """Run so many slices of work, if there are, and commit; then cut the power.

        :returns: the next run, whose work is done.
        """
        for _ in range(slices):
            if not self.broker.work.is_empty():
                self.run_one_slice()
        self.broker.commit(urgent=True)
        while self.writing.jobs:
            self.writing.run_one()
        again = self.restart(power=True)
        again.run_all()
        return again

    def exchange(
        self, name: str, type_name: str, arguments: Table, *, durable: bool = True
    ) -> None:
        """Declare an exchange."""
        declare_exchange(
            self.vhost,
            ExchangeDeclaration(
                type_name,
                name,
                durable=durable,
                auto_delete=False,
                internal=False,
                arguments=arguments,
            ),
        )

    def queue(
        self,
        name: str,
        source: str = "",
        key: str = "",
        *,
        durable: bool = True,
        arguments: Arguments | None = None,
    ) -> Queue:
        """Declare a queue, and bind it if a source is named."""
        queue = declare_queue(
            self.vhost,
            name,
            durable=durable,
            auto_delete=False,
            owner=None,
            connection=None,
            arguments=arguments or Arguments({}, {}),
        )
        if source:
            bind_queue(self.vhost, name, source, key, {}, None)
        return queue

    def publish(
        self,
        exchange: str,
        key: str,
        body: bytes,
        properties: Basic.Properties | None = None,
        *,
        persistent: bool = True,
    ) -> bool:
        """Publish a message as a channel does.

        :returns: whether it was routed to a queue.
        """
        properties = properties or Basic.Properties()
        message = Message(
            short_strings(exchange.encode(), key.encode()),
            encode_header(properties, len(body)),
            body,
            persistent,
            self.now,
            self.now + int(properties.expiration) if properties.expiration is not None else 0,
        )
        route = self.vhost.router.route(message.route)
        sinks = route.sinks
        if route.needs_message:
            sinks = self.vhost.router.sinks_for(exchange, [key], message)
        self.vhost.publisher.publish(message, sinks)
        return bool(sinks)

    def take_all(self, name: str) -> list[Message]:
        """Fetch and acknowledge all messages of a queue."""
        queue = self.vhost.queues[name]
        taken: list[Message] = []
        while (got := queue.take()) is not None:
            message, position, _ = got
            queue.settle(position)
            taken.append(message)
        self.broker.commit(urgent=True)
        self.run_all()
        return taken
