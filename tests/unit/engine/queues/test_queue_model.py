"""One durable queue with any settings against plain lists, over time and restarts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pamqp.commands import Basic

from leveret.engine.administration.reader import Reader
from leveret.engine.values.message import Message
from leveret.engine.values.properties import (
    array_values,
    header_value,
    integer_of,
    string_octets,
    table_entries,
)
from tests.support.examples import examples
from tests.unit.engine.queues.broker_run import BrokerRun, leading_to
from tests.unit.engine.queues.reading import read

MAX_PRIORITY = 2


@dataclass
class Entry:
    """A message as the model sees it."""

    place: tuple[int, int]
    """Priority, the highest first, and number of arrival."""
    expires: int | None
    acquired: int = 0
    failed: int = 0
    retry_at: int = 0
    message: Message | None = field(default=None, repr=False)
    position: int = 0

    @property
    def body(self) -> bytes:
        return b"%d" % self.place[1]


def place_of(entry: Entry) -> tuple[int, int]:
    return entry.place


class Reference:
    """What a queue is, in plain lists."""

    def __init__(self, values: Mapping[str, str | int], now: int) -> None:
        self.values = values
        self.now = now
        self.ready: list[Entry] = []
        self.retry_delayed: list[Entry] = []
        self.dead: list[tuple[bytes, str]] = []

    def number(self, name: str) -> int | None:
        value = self.values.get(name)
        return value if isinstance(value, int) else None

    def count(self) -> int:
        return len(self.ready) + len(self.retry_delayed)

    def publish(self, entry: Entry) -> None:
        limit, overflow = self.number("max_length"), self.values.get("overflow", "drop-head")
        if overflow != "drop-head" and limit is not None and self.count() >= limit:
            if overflow == "reject-publish-dlx":
                self.dead.append((entry.body, "maxlen"))
            return
        self.put(entry)
        self.enforce_limits()

    def put(self, entry: Entry) -> None:
        self.ready = sorted([*self.ready, entry], key=place_of)

    def take(self) -> Entry | None:
        while self.drop():
            pass
        taken = self.ready.pop(0) if self.ready else None
        self.enforce_limits()
        return taken

    def requeue(self, entry: Entry, *, failed: bool) -> None:
        limit, delay = self.number("delivery_limit"), self.number("delayed_retry_min")
        if limit is not None or delay is not None:
            entry.acquired += 1
            entry.failed += failed
            times = entry.failed if failed else entry.acquired
            entry.retry_at = 0 if delay is None else self.now + delay * times
        if limit is not None and entry.acquired > limit:
            self.dead.append((entry.body, "delivery_limit"))
        elif entry.retry_at:
            self.retry_delayed.append(entry)
        else:
            self.put(entry)
        self.enforce_limits()

    def enforce_limits(self) -> None:
        while self.requeue_due() or self.drop():
            pass

    def requeue_due(self) -> bool:
        """Requeue a message whose retry delay is over."""
        due = [entry for entry in self.retry_delayed if entry.retry_at <= self.now]
        for entry in sorted(due, key=lambda each: (each.retry_at, each.place))[:1]:
            self.retry_delayed.remove(entry)
            self.put(entry)
        return bool(due)

    def drop(self) -> bool:
        """Drop one that has expired at the head of its priority, or is too much."""
        if self.ready and self.ready[0].retry_at > self.now:
            self.retry_delayed.append(self.ready.pop(0))
            return True
        heads = [self.head(priority) for priority in range(MAX_PRIORITY, -1, -1)]
        expired = [head for head in heads if head and (head.expires or self.now + 1) <= self.now]
        limit = self.number("max_length")
        if expired:
            first = min(expired, key=lambda entry: entry.expires or 0)
            self.ready.remove(first)
            self.dead.append((first.body, "expired"))
        elif limit is not None and "overflow" not in self.values and self.count() > limit:
            if not self.ready:
                return False
            self.dead.append((self.ready.pop(0).body, "maxlen"))
        else:
            return False
        return True

    def head(self, priority: int) -> Entry | None:
        return next((entry for entry in self.ready if entry.place[0] == -priority), None)


Values: TypeAlias = dict[str, str | int]

LENGTHS: list[Values] = [
    {},
    {"max_length": 2},
    {"max_length": 3},
    {"max_length": 2, "overflow": "reject-publish"},
    {"max_length": 1, "overflow": "reject-publish-dlx"},
    {"max_length": 0},
]
TIMES: list[Values] = [{}, {"message_ttl": 100}, {"message_ttl": 40}, {"message_ttl": 0}]
COUNTS: list[Values] = [
    {},
    {"delayed_retry_min": 30},
    {"delivery_limit": 1},
    {"delivery_limit": 2, "delayed_retry_min": 70},
]
LEVELS: list[Values] = [{}, {"max_priority": MAX_PRIORITY}]

choices = st.tuples(*(st.sampled_from(each) for each in (LENGTHS, TIMES, COUNTS, LEVELS)))
values = st.one_of(st.just(()), choices)
messages = st.tuples(st.integers(0, 3), st.sampled_from([None, None, None, 0, 20, 60, 200]))
SELDOM = 5


class QueueModel(RuleBasedStateMachine):
    """What a test does to the queue is done to the reference, too."""

    @initialize(drawn=values)
    def begin(self, drawn: tuple[Values, ...]) -> None:
        chosen = {name: value for each in drawn for name, value in each.items()}
        self.run = BrokerRun()
        self.run.queue("q", arguments=leading_to("dead", **chosen))
        self.run.queue("dead")
        self.reference = Reference(chosen, self.run.now)
        self.taken: list[Entry] = []
        self.published = 0

    @rule(several=st.lists(messages, min_size=1, max_size=4))
    def publish_several(self, several: list[tuple[int, int | None]]) -> None:
        for priority, ttl in several:
            self.publish(priority, ttl)

    def publish(self, priority: int, ttl: int | None) -> None:
        expiration = None if ttl is None else str(ttl)
        self.published += 1
        level = 0
        if "max_priority" in self.reference.values:
            level = min(priority, MAX_PRIORITY)
        ttls = [each for each in (ttl, self.reference.number("message_ttl")) if each is not None]
        expires = self.run.now + min(ttls) if ttls else None
        entry = Entry((-level, self.published), expires)
        properties = Basic.Properties(priority=priority, expiration=expiration)
        self.run.publish("", "q", entry.body, properties)
        self.reference.publish(entry)

    @rule(count=st.integers(1, 3))
    def take_several(self, count: int) -> None:
        for _ in range(count):
            self.take()

    def take(self) -> None:
        queue = self.run.vhost.queues["q"]
        got, expected = queue.take(), self.reference.take()
        assert (got and got[0].body) == (expected and expected.body)
        if got is None or expected is None:
            return
        expected.message, expected.position = got[0], got[1]
        count = header_value(got[0].header, b"x-delivery-count")
        counted = None if count is None else integer_of(count)
        assert counted == (expected.acquired or None)
        self.taken.append(expected)

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), how=st.sampled_from(["fail", "return", "reject", "ack"]))
    def settle(self, data: st.DataObject, how: str) -> None:
        queue = self.run.vhost.queues["q"]
        entry = data.draw(st.sampled_from(self.taken))
        self.taken.remove(entry)
        assert entry.message is not None
        if how == "ack":
            queue.settle(entry.position)
        elif how == "reject":
            queue.reject(entry.message, entry.position)
            self.reference.dead.append((entry.body, "rejected"))
        else:
            queue.requeue(entry.message, entry.position, how == "fail")
            queue.deliver_ready()
            self.reference.requeue(entry, failed=how == "fail")

    @precondition(lambda self: self.reference.ready)
    @rule(data=st.data())
    def extract(self, data: st.DataObject) -> None:
        """Remove a message from anywhere, as a move does."""
        queue = self.run.vhost.queues["q"]
        entry = data.draw(st.sampled_from(self.reference.ready))
        backlog = queue.backlog
        at = self.reference.ready.index(entry)
        position, message, _ = read(Reader(backlog, at, 1), self.run.reading)[0]
        assert message.body == entry.body
        (found,) = read(Reader(backlog, 0, 0, [position]), self.run.reading)
        assert (found.position, found.message.body) == (position, entry.body)
        assert backlog.extract(position, len(message.body))
        assert not backlog.extract(position, len(message.body))
        queue.settle(position)
        queue.deliver_ready()
        self.reference.ready.remove(entry)
        self.reference.enforce_limits()

    @rule(milliseconds=st.sampled_from([1, 10, 30, 50, 100]))
    def time_passes(self, milliseconds: int) -> None:
        self.reference.now += milliseconds
        self.run.advance_to(self.reference.now)
        self.reference.enforce_limits()

    @rule(chance=st.integers(1, SELDOM))
    def purge(self, chance: int) -> None:
        if chance != SELDOM:
            return
        assert self.run.vhost.queues["q"].purge().count == self.reference.count()
        self.reference.ready.clear()
        self.reference.retry_delayed.clear()

    @rule(power=st.booleans(), milliseconds=st.sampled_from([0, 0, 40]), chance=st.integers(1, 2))
    def restart(self, power: bool, milliseconds: int, chance: int) -> None:
        if chance == 1:
            return
        self.run.broker.commit(urgent=True)
        self.run.run_all()
        self.run = self.run.restart(power=power)
        for entry in [*self.taken, *self.reference.retry_delayed]:
            self.reference.put(entry)
        self.taken.clear()
        self.reference.retry_delayed.clear()
        self.reference.enforce_limits()
        self.time_passes(milliseconds)

    @invariant()
    def counts_agree(self) -> None:
        queue, dead = self.run.vhost.queues["q"], self.run.vhost.queues["dead"]
        assert queue.message_count() == len(self.reference.ready)
        assert queue.retry_delayed_count() == len(self.reference.retry_delayed)
        assert dead.message_count() == len(self.reference.dead)
        found = read(Reader(queue.backlog, 0, 1000), self.run.reading)
        assert [each.message.body for each in found] == [each.body for each in self.reference.ready]
        assert queue.backlog.bytes == sum(len(each.body) for each in self.reference.ready)

    def teardown(self) -> None:
        if not hasattr(self, "run"):
            return
        while self.reference.ready:
            self.take()
        assert self.run.vhost.queues["q"].take() is None
        died = []
        for message in self.run.take_all("dead"):
            deaths = array_values(header_value(message.header, b"x-death") or b"")
            newest = dict(table_entries(deaths[0]))
            died.append((message.body, string_octets(newest[b"reason"]).decode()))
        assert died == self.reference.dead


TestQueueModel = QueueModel.TestCase
TestQueueModel.settings = settings(
    max_examples=examples(100), stateful_step_count=30, deadline=None
)
