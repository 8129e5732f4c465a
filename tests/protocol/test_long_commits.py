"""Commits of long transactions that the log has: in several slices, and whole or not at all."""

from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise

import pytest
from pamqp.commands import Basic, Confirm, Tx

from leveret.engine.queues.delivery_counts import DeliveryCounts
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.time_slice import UNITS_PER_READING
from leveret.limits import BACKPRESSURE_RETRY_MS
from leveret.protocol.channels.transaction_commit import COMMITTED_AT_ONCE, SETTLED_AT_ONCE
from leveret_storage.store.limits import TRANSACTION_BATCH_BYTES
from tests.protocol import wire
from tests.protocol.harness import Client
from tests.unit.engine.queues.broker_run import BrokerRun, arguments, leading_to

LONG = COMMITTED_AT_ONCE + 100
"""Messages of a transaction that is committed in several slices."""

PERSISTENT = Basic.Properties(delivery_mode=2)
COMMIT = wire.method_frames(1, Tx.Commit())
NUMBERED = [b"%d" % number for number in range(LONG)]
LARGE = [number + bytes(2 * TRANSACTION_BATCH_BYTES // LONG) for number in NUMBERED]
"""Bodies of a transaction that has to wait for the disk."""


def nothing() -> None:
    """What is checked between two slices, where nothing is."""


class Node:
    """A broker on a simulated disk with the durable queue `q`, and clients with channel 1 open."""

    def __init__(self) -> None:
        self.run = BrokerRun()
        self.run.queue("q")
        self.sync()
        self.clients: list[Client] = []
        self.alice = self.client()
        self.bob = self.client()

    def client(self) -> Client:
        client = Client(self.run.broker)
        client.log_in()
        client.open_channels(1)
        self.clients.append(client)
        return client

    def sync(self) -> None:
        """Have all durable that was done."""
        self.run.broker.commit()
        while self.run.writing.jobs or self.run.writing.results or self.run.reading.jobs:
            self.run.writing.run()
            self.run.reading.run()

    def begin(self, client: Client, *bodies: bytes, queue: str = "q") -> None:
        """Begin a transaction, and publish in it."""
        client.call(1, Tx.Select(), Tx.SelectOk)
        client.publish(1, queue, *bodies, properties=PERSISTENT)

    def commit(self, client: Client, check: Callable[[], None] = nothing) -> int:
        """Commit, and count the slices up to the last; `check` is called between two of them."""
        time_slice = self.run.broker.time_slice
        time_slice.begin(0)
        count = 1
        more = client.connection.feed(COMMIT, 100_000)
        while more:
            self.sync()
            check()
            time_slice.begin(0)
            more = client.connection.work(100_000)
            count += 1
        return count

    def expect_ok(self, client: Client) -> None:
        """Expect the answer of the commit when it is durable, and not before."""
        client.expect_nothing()
        self.sync()
        client.expect(1, Tx.CommitOk())

    def found(self) -> dict[str, list[bytes]]:
        """What the queues would have if the machine lost its power."""
        run = BrokerRun(deepcopy(self.run.medium).crash(), self.run.now)
        return {name: bodies(run, name) for name in run.vhost.queues}


def bodies(run: BrokerRun, name: str) -> list[bytes]:
    """Take all that is ready in a queue."""
    taken = []
    queue = run.vhost.queues[name]
    while (found := queue.take()) is not None:
        taken.append(found[0].body)
    return taken


@pytest.fixture
def node() -> Node:
    return Node()


def test_others_are_served_between_slices_of_a_bounded_number_of_messages(node: Node) -> None:
    node.run.queue("others")
    node.bob.call(1, Confirm.Select(), Confirm.SelectOk)
    queue = node.run.vhost.queues["q"]
    node.begin(node.alice, *NUMBERED)
    counts = [0]
    confirmed = 0

    def check() -> None:
        nonlocal confirmed
        counts.append(int(queue.message_count()))
        node.bob.connection.feed(
            wire.publish(1, "others", b"other", properties=PERSISTENT), 100_000
        )
        node.sync()
        confirmed += 1
        node.bob.expect(1, Basic.Ack(confirmed))
        node.alice.expect_nothing()

    assert node.commit(node.alice, check) > LONG // UNITS_PER_READING
    assert max(after - before for before, after in pairwise(counts)) <= UNITS_PER_READING
    node.expect_ok(node.alice)
    assert node.found() == {"q": NUMBERED, "others": [b"other"] * confirmed}


def test_a_crash_before_its_end_leaves_nothing_of_it_and_all_that_others_did(node: Node) -> None:
    others: list[bytes] = []
    node.begin(node.alice, *NUMBERED)

    def check() -> None:
        others.append(b"other %d" % len(others))
        node.bob.connection.feed(wire.publish(1, "q", others[-1], properties=PERSISTENT), 100_000)
        node.sync()
        if len(others) % 20 == 1:
            assert node.found() == {"q": others}

    node.commit(node.alice, check)
    assert node.found() == {"q": others}
    node.expect_ok(node.alice)
    found = node.found()["q"]
    assert [body for body in found if body in set(others)] == others
    assert [body for body in found if body not in set(others)] == NUMBERED


def test_its_settlements_count_with_its_messages(node: Node) -> None:
    node.alice.publish(1, "q", *NUMBERED, properties=PERSISTENT)
    node.run.queue("answers")
    node.sync()
    node.alice.consume(1, "q", "c")
    assert len(node.alice.receive_all()) == LONG
    node.begin(node.alice, b"answer", queue="answers")
    node.alice.send(1, Basic.Ack(LONG, multiple=True))
    checks = 0

    def check() -> None:
        nonlocal checks
        checks += 1
        if checks % 5 == 1:
            assert node.found() == {"q": NUMBERED, "answers": []}

    assert node.commit(node.alice, check) > LONG // (UNITS_PER_READING * SETTLED_AT_ONCE)
    assert checks > 0
    node.expect_ok(node.alice)
    assert node.found() == {"q": [], "answers": [b"answer"]}


def test_its_rejections_count_with_their_dead_letters(node: Node) -> None:
    node.run.queue("rejecting", arguments=leading_to("dead"))
    node.run.queue("dead")
    node.alice.publish(1, "rejecting", *NUMBERED, properties=PERSISTENT)
    node.sync()
    node.alice.consume(1, "rejecting", "c")
    assert len(node.alice.receive_all()) == LONG
    node.begin(node.alice, b"one")
    node.alice.send(1, Basic.Nack(LONG, multiple=True, requeue=False))
    checks = 0

    def check() -> None:
        nonlocal checks
        checks += 1
        # What is pending is passed on by the transaction alone.
        node.run.broker.time_slice.begin(0)
        work = node.run.broker.work
        if not work.is_empty():
            work.run_next(node.run.broker.time_slice)
        node.sync()
        assert node.found() == {"q": [], "rejecting": NUMBERED, "dead": []}

    node.commit(node.alice, check)
    assert checks > 5
    node.expect_ok(node.alice)
    assert node.found() == {"q": [b"one"], "rejecting": [], "dead": NUMBERED}


def test_how_often_its_messages_were_returned_counts_with_it(node: Node) -> None:
    """Definitions of others are between its own, and count at once."""
    node.run.queue("quorum", arguments=arguments(queue_type="quorum"))
    node.alice.publish(1, "quorum", *NUMBERED, properties=PERSISTENT)
    node.sync()
    node.alice.consume(1, "quorum", "c")
    assert len(node.alice.receive_all()) == LONG
    node.alice.call(1, Basic.Cancel("c"), Basic.CancelOk)
    node.begin(node.alice, b"one")
    node.alice.send(1, Basic.Nack(LONG, multiple=True, requeue=True))
    declared = 0

    def counted() -> tuple[int, set[DeliveryCounts]]:
        """The queues of others after a crash, and the counts of returns."""
        run = BrokerRun(deepcopy(node.run.medium).crash(), node.run.now)
        redeliveries = run.vhost.queues["quorum"].redeliveries
        assert redeliveries is not None
        counts = dict(redeliveries.counts.entries())
        assert len(counts) in (0, LONG)
        return len(run.vhost.queues) - 2, set(counts.values())

    def check() -> None:
        nonlocal declared
        node.run.queue(f"other {declared}")
        declared += 1
        node.sync()
        assert counted() == (declared, set())

    node.commit(node.alice, check)
    assert declared > 0
    node.expect_ok(node.alice)
    assert counted() == (declared, {DeliveryCounts(1, 0, 0)})


def test_what_its_messages_push_out_of_a_full_queue_stays_until_it_counts(node: Node) -> None:
    node.run.queue("full", arguments=leading_to("dead", max_length=3))
    node.run.queue("dead")
    node.alice.publish(1, "full", b"a", b"b", b"c", properties=PERSISTENT)
    node.sync()
    node.begin(node.alice, *NUMBERED, queue="full")
    checks = 0

    def check() -> None:
        nonlocal checks
        checks += 1
        if checks % 200 == 1:
            assert node.found() == {"q": [], "full": [b"a", b"b", b"c"], "dead": []}

    node.commit(node.alice, check)
    assert checks > 10
    node.run.run_all()
    node.alice.expect(1, Tx.CommitOk())
    dead = [b"a", b"b", b"c", *NUMBERED[:-3]]
    assert node.found() == {"q": [], "full": NUMBERED[-3:], "dead": dead}


def test_a_consumer_may_settle_its_messages_before_its_end(node: Node) -> None:
    node.bob.consume(1, "q", "c")
    node.begin(node.alice, *NUMBERED)
    received: list[bytes] = []
    checks = 0

    def receive() -> None:
        for _, content in node.bob.receive_all():
            assert isinstance(content, wire.Content)
            received.append(content.body)

    def check() -> None:
        nonlocal checks
        checks += 1
        receive()
        node.bob.connection.feed(
            wire.method_frames(1, Basic.Ack(len(received), multiple=True)), 100_000
        )
        node.sync()
        if checks % 10 == 1:
            assert node.found() == {"q": []}

    node.commit(node.alice, check)
    node.expect_ok(node.alice)
    receive()
    assert received == NUMBERED
    left = node.found()["q"]
    assert len(left) < LONG // 2
    assert left == NUMBERED[LONG - len(left) :]


def test_it_goes_on_when_its_connection_is_lost(node: Node) -> None:
    node.begin(node.alice, *NUMBERED)
    node.run.broker.time_slice.begin(0)
    assert node.alice.connection.feed(COMMIT, 100_000)
    node.alice.lose_socket()
    node.sync()
    assert node.found() == {"q": NUMBERED}
    assert not node.run.broker.stores[0].store.transaction.is_open()


def test_it_goes_on_while_its_client_does_not_read_what_it_returns(node: Node) -> None:
    node.begin(node.alice, NUMBERED[0])
    node.alice.publish(1, "nowhere", *[bytes(4000)] * LONG, mandatory=True)
    node.alice.publish(1, "q", *NUMBERED[1:], properties=PERSISTENT)
    node.run.broker.time_slice.begin(0)
    node.alice.connection.feed(COMMIT, 100_000)
    node.run.run_work()
    node.sync()
    assert node.found() == {"q": NUMBERED}
    while node.alice.connection.work(100_000):
        continue
    replies = node.alice.receive_all()
    assert len(replies) == LONG + 1


def test_a_short_one_does_not_wait_for_it_and_a_long_one_does(node: Node) -> None:
    carol = node.client()
    node.begin(node.alice, *NUMBERED)
    node.begin(node.bob, b"short")
    node.begin(carol, *NUMBERED)
    node.run.broker.time_slice.begin(0)
    assert node.alice.connection.feed(COMMIT, 100_000)
    node.run.broker.time_slice.begin(0)
    assert carol.connection.feed(COMMIT, 100_000)
    node.sync()
    node.run.broker.time_slice.begin(0)
    assert not node.bob.connection.feed(COMMIT, 100_000)
    node.expect_ok(node.bob)
    assert node.found() == {"q": [b"short"]}
    node.run.run_work()
    while carol.connection.work(100_000) or node.alice.connection.work(100_000):
        node.run.run_work()
        node.sync()
    node.sync()
    node.alice.expect(1, Tx.CommitOk())
    carol.expect(1, Tx.CommitOk())
    found = node.found()["q"]
    assert len(found) == 2 * LONG + 1
    assert found.index(b"short") < UNITS_PER_READING + 1
    found.remove(b"short")
    assert found == NUMBERED + NUMBERED


def test_a_duplicate_of_one_of_its_messages_is_confirmed_when_it_is_durable(node: Node) -> None:
    name = "x-message-deduplication"
    node.run.queue("once", arguments=Arguments({name: True}, {name: "bool"}))
    properties = Basic.Properties(delivery_mode=2, headers={"x-deduplication-header": "key"})
    node.bob.call(1, Confirm.Select(), Confirm.SelectOk)
    node.alice.call(1, Tx.Select(), Tx.SelectOk)
    node.alice.publish(1, "once", b"first", properties=properties)
    node.alice.publish(1, "q", *NUMBERED, properties=PERSISTENT)
    sent = False

    def check() -> None:
        nonlocal sent
        if not sent:
            sent = True
            publish = wire.publish(1, "once", b"second", properties=properties)
            assert node.bob.connection.feed(publish, 100_000)
        node.sync()
        node.bob.expect_nothing()

    node.commit(node.alice, check)
    assert sent
    assert not node.bob.connection.work(100_000)
    node.bob.expect_nothing()
    node.expect_ok(node.alice)
    node.bob.expect(1, Basic.Ack(1))
    assert node.found() == {"q": NUMBERED, "once": [b"first"]}


def test_what_it_delays_does_not_leave_before_it_counts(node: Node) -> None:
    node.run.exchange("later", "x-delayed-message", {"x-delayed-type": "fanout"})
    node.run.queue("late", "later")
    node.alice.call(1, Tx.Select(), Tx.SelectOk)
    delayed = Basic.Properties(delivery_mode=2, headers={"x-delay": 1})
    node.alice.publish(1, "", *NUMBERED, exchange="later", properties=delayed)
    checks = 0

    def check() -> None:
        nonlocal checks
        checks += 1
        clock, timers = node.run.broker.clock, node.run.broker.timers
        clock.advance_to(clock.now + 2)
        timers.run(clock.now)
        node.sync()
        if checks % 10 == 1:
            assert node.found() == {"q": [], "late": []}
            assert node.run.vhost.queues["late"].message_count() == 0

    node.commit(node.alice, check)
    assert checks > 10
    node.expect_ok(node.alice)
    node.run.advance_to(node.run.now + 100)
    assert bodies(node.run, "late") == NUMBERED


def begin_commit(node: Node, client: Client) -> None:
    """Commit until that has to wait for the disk, which takes nothing."""
    time_slice = node.run.broker.time_slice
    time_slice.begin(0)
    client.connection.feed(COMMIT, 100_000)
    work = client.connection.session.work
    assert work is not None
    while not work.waits():
        node.run.broker.commit()
        time_slice.begin(0)
        assert client.connection.work(100_000)


def test_a_commit_that_waits_for_the_disk_is_not_asked_all_the_time(node: Node) -> None:
    run = node.run
    node.begin(node.alice, *LARGE)
    begin_commit(node, node.alice)
    run.broker.time_slice.begin(0)
    run.broker.work.run_next(run.broker.time_slice)
    assert run.broker.work.is_empty(), "nothing is to be done before the timer rings"
    assert run.broker.timers.next_due() == run.now + BACKPRESSURE_RETRY_MS

    node.begin(node.bob, *NUMBERED)
    begin_commit(node, node.bob)

    for client in (node.alice, node.bob):
        more = True
        while more:
            run.advance_to(run.now + BACKPRESSURE_RETRY_MS)
            run.broker.time_slice.begin(0)
            more = client.connection.work(100_000)
        node.sync()
        client.expect(1, Tx.CommitOk())
    assert len(node.found()["q"]) == 2 * LONG


@pytest.mark.parametrize("clients", [1, 2])
def test_a_commit_goes_on_after_its_connection_was_lost_while_it_waited(
    node: Node, clients: int
) -> None:
    run = node.run
    for client in (node.alice, node.bob)[:clients]:
        node.begin(client, *LARGE)
        begin_commit(node, client)
    for client in (node.alice, node.bob)[:clients]:
        client.connection.disconnected()
        run.broker.work.run_all(run.broker.time_slice)
    assert run.broker.work.is_empty()
    while run.broker.timers.next_due() != 0:
        run.advance_to(run.now + BACKPRESSURE_RETRY_MS)
    assert node.found() == {"q": LARGE * clients}
