"""A store that is opened in turns, each of one step here: nobody finds anything before it is whole,
and nothing is left of one that is not opened in the end."""

import pytest
from pamqp.commands import Basic

from leveret.config import Config
from leveret.engine.broker import Broker
from leveret.engine.lifecycle.queues import remove_queue
from leveret.engine.metadata.entities import EntityDeleted, Policy, VirtualHostEntity
from leveret.engine.metadata.metadata import Metadata
from leveret.engine.queues.queue_host import DelayedStoreLimits
from leveret.engine.store_opening import StoreOpening, VirtualHostsApart
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret_storage.errors import StorageError
from leveret_storage.format.entries import StoredMessage
from leveret_storage.recovery.recover import recover
from tests.storage.faulty import FaultyMedium
from tests.storage.owning import take
from tests.support.executors import StepExecutor
from tests.unit.engine.queues.broker_run import BrokerRun, arguments
from tests.unit.engine.test_shared_metadata import ByPin

QUEUES = [f"q{number}" for number in range(5)]
FEW = DelayedStoreLimits(memtable_messages=4, memtables_max=100)


def failed(error: StorageError) -> None:
    raise error


def filled() -> BrokerRun:
    """A broker with some queues, and messages in them."""
    run = BrokerRun(waiting=FEW)
    for name in QUEUES:
        run.queue(name, "amq.topic")
        run.publish("", name, name.encode())
    run.queue("priorities", "", arguments=arguments(max_priority=3))
    run.publish("", "priorities", b"1")
    run.queue("short", "", arguments=arguments(expires=1000, message_ttl=1000))
    run.publish("", "short", b"1")
    remove_queue(run.vhost, run.queue("gone", "amq.topic"))
    run.run_all()
    return run


class Opening:
    """The next owner of a store."""

    def __init__(self, medium: FaultyMedium, now: int, spill_bytes: int = 0) -> None:
        self.medium = medium
        take(medium)
        self.metadata = Metadata()
        self.metadata.restore(VirtualHostEntity("/"))
        self.broker = Broker(Config(), self.metadata)
        self.broker.placement = ByPin(self.metadata)
        self.broker.clock.advance_to(now)
        self.writing, self.reading = StepExecutor(), StepExecutor()
        self.apart = VirtualHostsApart(self.broker)
        self.hosted = self.broker.open_store(
            medium,
            self.writing,
            self.reading,
            failed,
            vhosts=("/",),
            found=recover(medium, spill_bytes=spill_bytes),
            apart=self.apart,
        )
        self.turns = StoreOpening(self.hosted, self.broker.work)
        self.runs_read = 0

    def turn(self) -> bool:
        """Do a step; whether there is another one."""
        messages: list[StoredMessage] | None = None
        if self.turns.wanted is not None:
            messages = self.hosted.store.read_run_blocking(self.turns.wanted)
            self.runs_read += 1
        self.turns.turn(messages, 0)
        return not self.turns.is_done

    def add(self) -> None:
        self.broker.add_store(self.hosted, self.apart)

    def finish(self) -> None:
        while self.turn():
            pass
        self.add()

    def ring(self, milliseconds: int) -> None:
        """Ring what is due after some time, and do what follows."""
        broker = self.broker
        broker.clock.advance_to(broker.clock.now + milliseconds)
        broker.time_slice.begin(10**12)
        broker.timers.run(broker.clock.now)
        broker.work.run_all(broker.time_slice)

    def counts(self) -> dict[str, int]:
        """The messages of all queues."""
        queues = self.broker.vhosts["/"].queues.values()
        return {queue.name: int(queue.message_count()) for queue in queues}


def opening(run: BrokerRun, **options: int) -> Opening:
    return Opening(run.medium.kill(), run.now, **options)


EVERYTHING = {**dict.fromkeys(QUEUES, 1), "priorities": 1, "short": 1}


def test_nothing_is_found_before_it_is_whole() -> None:
    opened = opening(filled())
    turns = 1
    while opened.turn():
        turns += 1
        broker = opened.broker
        assert (broker.vhosts, broker.stores, broker.work.is_empty()) == ({}, [], True)
        # Nothing rings, though it is due.
        opened.ring(10_000)
        broker.commit(urgent=True)
        assert not opened.writing.jobs
    assert turns > len(EVERYTHING) * 2
    opened.add()
    assert opened.counts() == EVERYTHING
    vhost = opened.broker.vhosts["/"]
    assert len(list(vhost.exchanges["amq.topic"].bindings())) == len(QUEUES)
    assert opened.broker.stores == [opened.hosted]
    opened.ring(10_000)
    assert "short" not in opened.counts()


class Others(Work):
    """The work of others, which counts how often it was its turn."""

    def __init__(self) -> None:
        self.runs = 0

    def run(self, time_slice: TimeSlice) -> bool:
        self.runs += 1
        return self.runs == 3


def test_the_work_of_others_goes_on_between_the_turns_and_not_in_them() -> None:
    opened = opening(filled())
    others = Others()
    opened.broker.work.add(others)
    for runs in (1, 2, 3):
        opened.turn()
        assert others.runs == runs - 1
        opened.broker.work.run_next(opened.broker.time_slice)
    assert opened.broker.work.is_empty()


@pytest.mark.parametrize("part", range(10))
def test_nothing_is_left_of_a_store_that_is_not_opened(part: int) -> None:
    run = filled()
    whole = opening(run)
    steps = 1
    while whole.turn():
        steps += 1
    opened = opening(run)
    for _ in range(steps * part // 10):
        opened.turn()
    broker = opened.broker
    gone = broker.churn.queue_deleted, broker.gone.publish
    broker.discard_store(opened.apart)
    broker.work.run_all(broker.time_slice)
    assert (broker.vhosts, broker.stores, broker.work.is_empty()) == ({}, [], True)
    assert (broker.memory.charged, broker.timers.next_due()) == (0, 0)
    assert all(not made.queues and not made.exchanges for made in opened.apart.made)
    assert (broker.churn.queue_deleted, broker.gone.publish) == gone
    assert not opened.writing.jobs
    again = opening(run)
    again.finish()
    assert again.counts() == EVERYTHING


def test_what_the_metadata_say_in_the_end_counts() -> None:
    opened = opening(filled())
    while opened.turn():
        if not opened.metadata.all(Policy) and opened.apart.metadata_version >= 0:
            policy = Policy("/", "lengths", "^q", {"max-length": 0}, "queues")
            opened.metadata.apply(policy)
            opened.metadata.apply(VirtualHostEntity("other", store=0))
    opened.add()
    opened.broker.work.run_all(opened.broker.time_slice)
    assert opened.counts() == {**dict.fromkeys(QUEUES, 0), "priorities": 1, "short": 1}
    assert set(opened.broker.vhosts) == {"/", "other"}


def test_a_virtual_host_that_is_deleted_meanwhile_is_not_served() -> None:
    opened = opening(filled())
    opened.turn()
    opened.metadata.apply(EntityDeleted("virtual_host", ("/",)))
    opened.finish()
    assert opened.broker.vhosts == {}
    opened.broker.work.run_all(opened.broker.time_slice)
    assert opened.broker.memory.charged == 0


def test_runs_of_a_delayed_exchange_are_read_between_the_turns() -> None:
    run = BrokerRun(waiting=FEW)
    run.exchange("later", "x-delayed-message", {"x-delayed-type": "fanout"})
    run.queue("q", "later")
    for number in range(20):
        delay = Basic.Properties(headers={"x-delay": 5000 - number})
        run.publish("later", "", b"%d" % number, delay)
        run.broker.commit(urgent=True)
        run.run_all()
    opened = opening(run, spill_bytes=1)
    opened.finish()
    assert opened.runs_read > 0
    delayed = opened.broker.vhosts["/"].delayed_stores["later"]
    assert delayed.message_count() == 20
    opened.ring(10_000)
    assert opened.counts() == {"q": 20}
