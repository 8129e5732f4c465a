"""Work that a frame begins and that takes several slices: the next frame waits for it."""

from collections.abc import Callable

import pytest
from pamqp import commands
from pamqp.base import Frame
from pamqp.commands import Basic, Queue, Tx

from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import OUTPUT_REPLIES_BYTES_MAX
from leveret.protocol.channels.session import Session
from tests.protocol import wire
from tests.protocol.harness import ENDLESS_NS, Client, Harness, got
from tests.protocol.wire import Content

MANY = 1000
"""Deliveries that take several slices to settle, if a slice has no time."""


class Units(Work):
    """Work of some units, one in each slice."""

    def __init__(self, count: int, error: AmqpError | None = None) -> None:
        self.left = count
        self._error = error

    def run(self, time_slice: TimeSlice) -> bool:
        self.left -= 1
        if self.left == 0 and self._error is not None:
            raise self._error
        return self.left == 0


def test_work_goes_on_in_later_slices_and_ends(alice: Client) -> None:
    session = alice.connection.session
    work = Units(3)
    session.begin(work)
    assert alice.connection.is_working()
    assert alice.connection.work(1000)
    assert not alice.connection.work(1000)
    assert work.left == 0
    assert not alice.connection.is_working()


def test_work_that_is_done_at_once_holds_nothing_up(alice: Client) -> None:
    alice.connection.session.begin(Units(1))
    assert not alice.connection.is_working()


def test_no_frame_is_read_before_the_work_is_done(harness: Harness, alice: Client) -> None:
    alice.connection.session.begin(Units(3))
    declare = wire.method_frames(1, Queue.Declare(queue="q"))
    assert alice.connection.feed(declare[:5], 1000)
    assert alice.connection.feed(declare[5:], 1000)
    assert alice.connection.work(1000)
    assert not harness.has_queue("q")
    while alice.connection.work(1000):
        pass
    assert harness.has_queue("q")
    alice.receive_all()


def test_an_error_of_the_work_is_one_of_the_frame_that_began_it(
    harness: Harness, alice: Client
) -> None:
    alice.declare(1, "q")
    error = AmqpError(ReplyCode.PRECONDITION_FAILED, "not so")
    alice.connection.session.begin(Units(2, error))
    while alice.connection.work(1000):
        pass
    alice.expect_error(1, ReplyCode.PRECONDITION_FAILED, "not so", Queue.Declare)
    alice.reopen_channel(1)


def test_work_may_begin_other_work(alice: Client) -> None:
    session = alice.connection.session
    last = Units(2)
    session.begin(_Then(session, last))
    while alice.connection.work(1000):
        pass
    assert last.left == 0


class _Then(Work):
    """Work that begins other work in its second slice."""

    def __init__(self, session: Session, following: Work) -> None:
        self._session = session
        self._following = following
        self._started = False

    def run(self, time_slice: TimeSlice) -> bool:
        if self._started:
            self._session.begin(self._following)
            return True
        self._started = True
        return False


# --- what takes long -------------------------------------------------------------------------


def holding(client: Client, queue: str = "q", count: int = MANY) -> None:
    """Have a client consume messages from a new queue, and settle none."""
    client.declare(1, queue)
    client.publish(1, queue, *[b"%d" % number for number in range(count)])
    client.consume(1, queue, queue)
    assert len(client.receive_all()) == count


def slices(client: Client, frames: bytes, check: Callable[[], None]) -> int:
    """Send frames, and count the slices up to the last; `check` is called between two of them."""
    time_slice = client.connection.session.time_slice
    time_slice.begin(0)
    count = 1
    more = client.connection.feed(frames, 100_000)
    while more:
        check()
        client.receive()
        time_slice.begin(0)
        more = client.connection.work(100_000)
        count += 1
    client.receive()
    return count


def test_settling_many_is_interrupted_and_the_frames_behind_it_wait(
    harness: Harness, alice: Client
) -> None:
    holding(alice)
    queue = harness.queue("q")
    seen: list[int] = []

    def check() -> None:
        seen.append(int(queue.unacknowledged))
        assert not harness.has_queue("behind") or queue.unacknowledged == 0

    frames = wire.method_frames(1, Basic.Ack(MANY, multiple=True), Queue.Declare(queue="behind"))
    assert slices(alice, frames, check) > 10
    assert seen == sorted(seen, reverse=True)
    alice.expect_method(1, Queue.DeclareOk)
    assert queue.unacknowledged == 0


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        (Basic.Nack(0, multiple=True, requeue=True), None),
        (Basic.Recover(requeue=True), Basic.RecoverOk),
        (commands.Channel.Close(200, "done", 0, 0), commands.Channel.CloseOk),
        (Queue.Bind(queue="q", exchange="nowhere"), commands.Channel.Close),
    ],
)
def test_what_is_requeued_in_several_slices_comes_back_in_order(
    harness: Harness, alice: Client, bob: Client, request_: Frame, reply: type[Frame] | None
) -> None:
    holding(alice)
    alice.call(1, Basic.Cancel("q"), Basic.CancelOk)
    count = slices(alice, wire.method_frames(1, request_), lambda: None)
    assert count > 10
    if reply is not None:
        alice.expect_method(1, reply)
    assert harness.queue("q").message_count() == MANY
    bob.send(1, *[Basic.Get(queue="q", no_ack=True)] * 3)
    bob.expect(1, *[got(1 + n, b"%d" % n, MANY - 1 - n, redelivered=True) for n in range(3)])


def test_a_connection_that_is_lost_leaves_its_work_to_the_broker(
    harness: Harness, alice: Client
) -> None:
    holding(alice)
    time_slice = harness.broker.time_slice
    time_slice.begin(0)
    alice.connection.disconnected()
    queue = harness.queue("q")
    assert queue.consumer_count == 0
    assert 0 < queue.unacknowledged < MANY
    harness.broker.work.run_all(time_slice)
    assert queue.unacknowledged == 0
    assert queue.message_count() == MANY


def test_a_connection_lost_in_the_middle_of_its_work_has_it_finished_first(
    harness: Harness, alice: Client
) -> None:
    holding(alice)
    time_slice = harness.broker.time_slice
    time_slice.begin(0)
    alice.connection.feed(wire.method_frames(1, Basic.Ack(MANY // 2, multiple=True)), 100_000)
    alice.connection.disconnected()
    harness.broker.work.run_all(time_slice)
    assert harness.queue("q").message_count() == MANY - MANY // 2


def test_all_consumers_of_a_connection_end_before_its_deliveries_are_requeued(
    harness: Harness, alice: Client, bob: Client
) -> None:
    alice.open_channels(2)
    holding(alice)
    for number in range(100):
        alice.consume(2, "q", f"other{number}")
    time_slice = harness.broker.time_slice
    time_slice.begin(0)
    alice.connection.feed(
        wire.method_frames(0, commands.Connection.Close(200, "done", 0, 0)), 100_000
    )
    queue = harness.queue("q")
    while alice.connection.is_working():
        assert queue.consumer_count == 0 or queue.unacknowledged == MANY
        time_slice.begin(0)
        alice.connection.work(100_000)
    alice.expect_method(0, commands.Connection.CloseOk)
    alice.expect_socket_closed()
    assert queue.message_count() == MANY


def test_a_forced_close_waits_for_the_work_under_way(harness: Harness, alice: Client) -> None:
    holding(alice)
    harness.broker.time_slice.begin(0)
    alice.connection.feed(wire.method_frames(1, Basic.Ack(MANY // 2, multiple=True)), 100_000)
    alice.connection.force_close("by a test")
    alice.expect_nothing()
    while alice.connection.work(100_000):
        pass
    alice.expect_error(0, ReplyCode.CONNECTION_FORCED, "by a test")
    assert harness.queue("q").message_count() == MANY - MANY // 2


def test_a_rollback_of_many_is_interrupted(harness: Harness, alice: Client) -> None:
    holding(alice)
    alice.call(1, Tx.Select(), Tx.SelectOk)
    alice.publish(1, "q", *[b"new"] * MANY)
    alice.send(1, Basic.Ack(MANY, multiple=True))
    assert slices(alice, wire.method_frames(1, Tx.Rollback()), lambda: None) > 10
    alice.expect(1, Tx.RollbackOk())
    assert harness.queue("q").unacknowledged == MANY
    assert harness.queue("q").message_count() == 0
    alice.send(1, Basic.Ack(MANY, multiple=True))
    alice.call(1, Tx.Commit(), Tx.CommitOk)
    assert harness.queue("q").unacknowledged == 0


def test_a_commit_is_interrupted_and_goes_on_in_order(
    harness: Harness, alice: Client, bob: Client
) -> None:
    holding(alice)
    alice.declare(1, "t")
    alice.call(1, Tx.Select(), Tx.SelectOk)
    alice.publish(1, "t", *[b"%d" % number for number in range(MANY)])
    alice.send(1, Basic.Ack(MANY, multiple=True))
    assert slices(alice, wire.method_frames(1, Tx.Commit()), lambda: None) > 10
    alice.expect(1, Tx.CommitOk())
    assert harness.queue("q").unacknowledged == 0
    bob.send(1, *[Basic.Get(queue="t", no_ack=True)] * MANY)
    arrived = [content for _, content in bob.receive_all() if isinstance(content, Content)]
    assert [content.body for content in arrived] == [b"%d" % number for number in range(MANY)]


def test_a_commit_waits_while_what_it_returns_is_not_read(alice: Client) -> None:
    alice.call(1, Tx.Select(), Tx.SelectOk)
    size = OUTPUT_REPLIES_BYTES_MAX // 4
    alice.publish(1, "nowhere", *[bytes(size)] * 12, mandatory=True)
    session = alice.connection.session
    session.time_slice.begin(ENDLESS_NS)
    assert alice.connection.feed(wire.method_frames(1, Tx.Commit()), 100_000)
    assert session.output_size() < OUTPUT_REPLIES_BYTES_MAX + 2 * size
    while alice.connection.work(100_000):
        alice.receive()
    assert len(alice.receive_all()) == 13


def test_consumers_that_waited_for_the_output_are_resumed_in_several_slices(
    harness: Harness, alice: Client, bob: Client
) -> None:
    for number in range(100):
        alice.declare(1, f"q{number}")
        alice.consume(1, f"q{number}", f"c{number}", no_ack=True)
    session = alice.connection.session
    session.write_paused = True
    for number in range(100):
        bob.publish(1, f"q{number}", b"1")
    assert len(session.suspended) == 100
    session.write_paused = False
    harness.broker.time_slice.begin(0)
    session.resume_consumers()
    assert 0 < len(session.suspended) < 100
    harness.broker.time_slice.begin(0)
    while session.suspended:
        session.resume_consumers()
    assert len(alice.receive_all()) == 100
