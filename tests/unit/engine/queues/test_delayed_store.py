"""Messages with long delays go to disk and back, through crashes, and none is lost, duplicated,
early or out of order."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from pamqp.commands import Basic

from leveret.engine.administration.delayed_messages import Delayed, DelayedCancel, DelayedListing
from leveret.engine.queues.delayed_store import DelayedStore
from leveret.engine.queues.queue_host import DelayedStoreLimits
from tests.storage.faulty import FaultyMedium
from tests.support.examples import examples
from tests.unit.engine.queues.broker_run import START, BrokerRun

FEW = DelayedStoreLimits(memtable_messages=4, memtables_max=3, block_messages=3)
"""So little in memory that a dozen of messages makes a sorted run."""

DELAYS = st.one_of(st.integers(1, 30), st.integers(1, 3000), st.just(500))


def delayed_store(run: BrokerRun) -> DelayedStore:
    """The store of the exchange."""
    return run.vhost.delayed_stores["later"]


def begin(medium: FaultyMedium | None = None, *, durable: bool = True) -> BrokerRun:
    """A broker with a delayed exchange that keeps few messages in memory."""
    run = BrokerRun(medium, waiting=FEW)
    run.exchange("later", "x-delayed-message", {"x-delayed-type": "fanout"}, durable=durable)
    run.queue("q", "later")
    return run


def publish(run: BrokerRun, number: int, delay: int, *, persistent: bool = True) -> None:
    properties = Basic.Properties(headers={"x-delay": delay})
    run.publish("later", "", b"%d" % number, properties, persistent=persistent)


def listed(run: BrokerRun) -> list[Delayed]:
    """The messages of the store, as operators see them."""
    listing = DelayedListing(delayed_store(run))
    run_reading(run, listing)
    return listing.found


def cancel(run: BrokerRun, message_id: str) -> bool:
    """Drop a message, as operators do; whether it was there."""
    cancelling = DelayedCancel(delayed_store(run), message_id)
    run_reading(run, cancelling)
    return cancelling.was_there


def run_reading(run: BrokerRun, work: DelayedListing | DelayedCancel) -> None:
    while not work.is_done:
        work.run(run.broker.time_slice)
        if work.reader.has_to_read():
            work.reader.read(lambda: None)
            run.reading.run()


class Waiting(RuleBasedStateMachine):
    """A delayed exchange, and a list of its messages."""

    def __init__(self) -> None:
        super().__init__()
        self.run = begin()
        self.number = 0
        self.persistent: list[tuple[int, int]] = []
        """When a message is due, and its number, of those that survive a crash."""
        self.transient: list[tuple[int, int]] = []
        """The same, of those that do not."""
        self.ids: dict[tuple[int, int], str] = {}
        """The id under which each was listed first."""

    @rule(delays=st.lists(DELAYS, min_size=1, max_size=40), persistent=st.booleans())
    def publish(self, delays: list[int], persistent: bool) -> None:
        for delay in delays:
            self.number += 1
            publish(self.run, self.number, delay, persistent=persistent)
            due = self.run.now + delay + 1
            (self.persistent if persistent else self.transient).append((due, self.number))

    @rule(passed=st.one_of(st.integers(1, 50), st.integers(1, 3000)))
    def let_time_pass(self, passed: int) -> None:
        self.run.advance_to(self.run.now + passed)

    @rule()
    def work(self) -> None:
        self.run.run_all()

    @precondition(lambda self: self.number)
    @rule(power=st.booleans())
    def crash(self, power: bool) -> None:
        self.run.run_all()
        self._compare()
        self.run = self.run.restart(power=power)
        self.transient = []

    @rule()
    def compare(self) -> None:
        self.run.run_all()
        self._compare()

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """All that wait are listed in their order, and one of them is cancelled."""
        now = self.run.now
        found = [each for each in listed(self.run) if each.due > now]
        expected = sorted(each for each in self.persistent + self.transient if each[0] > now)
        assert [each.due for each in found] == [due for due, _ in expected]
        assert sorted((each.due, int(each.message.body)) for each in found) == expected
        for each in found:
            assert self.ids.setdefault((each.due, int(each.message.body)), each.id) == each.id
        if not found:
            return
        chosen = data.draw(st.sampled_from(found))
        assert cancel(self.run, chosen.id)
        assert not cancel(self.run, chosen.id)
        gone = (chosen.due, int(chosen.message.body))
        self.persistent = [each for each in self.persistent if each != gone]
        self.transient = [each for each in self.transient if each != gone]

    def _compare(self) -> None:
        """The queue has the messages that are due, in order, and the store has all others."""
        now = self.run.now
        due = sorted(each for each in self.persistent + self.transient if each[0] <= now)
        found = [int(message.body) for message in self.run.take_all("q")]
        assert sorted(found) == sorted(number for _, number in due)
        when = {number: at for at, number in due}
        assert [when[number] for number in found] == [at for at, _ in due]
        self.persistent = [each for each in self.persistent if each[0] > now]
        self.transient = [each for each in self.transient if each[0] > now]

    @invariant()
    def nothing_is_early(self) -> None:
        in_store = delayed_store(self.run).message_count()
        early = sum(due > self.run.now for due, _ in self.persistent + self.transient)
        assert in_store >= early


TestWaiting = Waiting.TestCase
TestWaiting.settings = settings(max_examples=examples(30), stateful_step_count=20, deadline=None)


def test_messages_on_disk_come_in_the_order_in_which_they_are_due() -> None:
    run = begin()
    delays = [(number * 7919) % 1000 + 1 for number in range(300)]
    for number, delay in enumerate(delays):
        publish(run, number, delay)
    run.run_all()
    assert delayed_store(run).sorted_runs.count > 200
    order: list[int] = []
    for now in range(START, START + 1100, 10):
        run.advance_to(now)
        order += [int(message.body) for message in run.take_all("q")]
    assert order == [number for _, number in sorted(zip(delays, range(300), strict=True))]


def test_equal_delays_make_one_lane_however_many_wait() -> None:
    run = begin()
    for number in range(300):
        publish(run, number, 1000)
        run.advance_to(run.now + 1)
    assert delayed_store(run).sorted_runs.count > 200
    assert len(delayed_store(run).sorted_runs.starts()) == 1


def test_what_waits_long_is_not_in_memory() -> None:
    run = begin()
    for number in range(500):
        publish(run, number, 60_000 + (number * 7919) % 1000)
        run.run_all()
    sorted_runs = delayed_store(run).sorted_runs
    assert sorted_runs.count > 400
    assert sorted_runs.in_memory() == 0
    run.advance_to(START + 59_999)
    assert 0 < sorted_runs.in_memory() <= 2 * FEW.block_messages * len(sorted_runs.starts())


def test_what_waits_in_an_exchange_that_is_not_durable_is_on_disk_too() -> None:
    run = begin(durable=False)
    for number in range(100):
        publish(run, number, 1000)
    run.run_all()
    assert delayed_store(run).sorted_runs.count > 50
    run.advance_to(START + 2000)
    assert [int(message.body) for message in run.take_all("q")] == list(range(100))


def test_disk_is_given_back_when_nothing_waits_any_more() -> None:
    run = begin()
    for number in range(300):
        publish(run, number, (number * 7919) % 1000 + 1)
    run.run_all()
    run.advance_to(START + 2000)
    run.take_all("q")
    again = run.restart()
    assert delayed_store(again).message_count() == 0
    assert delayed_store(again).sorted_runs.starts() == []


@pytest.mark.parametrize("seed", range(16))
def test_nothing_is_lost_or_doubled_if_the_broker_dies_in_the_middle(seed: int) -> None:
    chance = Random(seed)
    run = begin()
    published: dict[int, int] = {}
    confirmed: set[int] = set()
    for _ in range(4):
        run.run_all()
        definition_log = run.vhost.definition_log
        assert definition_log is not None
        kept_in: dict[int, int] = {}
        for number in range(len(published), len(published) + 60):
            delay = chance.randrange(1, 400)
            publish(run, number, delay)
            published[number] = run.now + delay + 1
            kept_in[number] = int(definition_log.store.batch)
            for _ in range(chance.randrange(8)):
                run.run_step(chance)
            run.broker.clock.advance_to(run.now + chance.randrange(5))
        confirmed |= {
            number for number, batch in kept_in.items() if batch <= definition_log.store.synced
        }
        run = run.restart(power=chance.random() < 0.5)
    run.advance_to(run.now + 500)
    came = [int(message.body) for message in run.take_all("q")]
    assert len(came) == len(set(came))
    assert confirmed <= set(came), seed
    assert delayed_store(run).message_count() == 0


def test_messages_that_are_due_at_once_are_released_in_slices_and_in_order() -> None:
    run = begin()
    for number in range(60):
        publish(run, number, 100)
    run.run_all()
    run.broker.clock.advance_to(run.now + 101)
    run.broker.time_slice.begin(0)
    run.broker.timers.run(run.now)
    queue = run.vhost.queues["q"]
    counts = [int(queue.message_count())]
    while queue.message_count() < 60:
        run.broker.commit()
        run.writing.run()
        run.reading.run()
        if run.broker.work.is_empty():
            run.broker.timers.run(run.now)
            continue
        run.broker.time_slice.begin(0)
        run.broker.work.run_next(run.broker.time_slice)
        counts.append(int(queue.message_count()))
    assert max(after - before for before, after in pairwise(counts)) == 1
    assert [int(each.body) for each in run.take_all("q")] == list(range(60))


@pytest.mark.parametrize("crash", [False, True])
def test_an_id_names_a_message_wherever_it_is_moved(crash: bool) -> None:
    run = begin()
    publish(run, 0, 100_000)
    publish(run, 0, 100_000)
    (first, equal) = listed(run)
    assert first.id == equal.id
    for number in range(1, 100):
        publish(run, number, 50_000 + 1_000 * number)
    run.run_all()
    assert delayed_store(run).sorted_runs.count > 90
    if crash:
        run = run.restart(power=True)
    assert cancel(run, first.id)
    assert [each.message.body for each in listed(run)].count(b"0") == 1
    assert cancel(run, first.id)
    assert not cancel(run, first.id)
    assert delayed_store(run).message_count() == 99


def test_few_blocks_are_read_to_find_a_message_on_disk() -> None:
    run = begin()
    for number in range(600):
        publish(run, number, 100_000 + number)
    run.run_all()
    reads = 0
    for each in listed(run)[::50]:
        cancelling = DelayedCancel(delayed_store(run), each.id)
        while not cancelling.is_done:
            cancelling.run(run.broker.time_slice)
            if cancelling.reader.has_to_read():
                reads += 1
                cancelling.reader.read(lambda: None)
                run.reading.run()
        assert cancelling.was_there
    assert 0 < reads < 12 * 12


@pytest.mark.parametrize("message_id", ["", "m1", "s1", "5-", "-x", "9" * 30 + "-0", "\u0665-a"])
def test_what_is_no_id_names_nothing(message_id: str) -> None:
    run = begin()
    publish(run, 1, 100_000)
    assert not cancel(run, message_id)
