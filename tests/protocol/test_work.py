"""Work that a frame begins and that takes several slices: the next frame waits for it."""

from pamqp.commands import Queue

from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.errors import AmqpError, ReplyCode
from leveret.protocol.channels.session import Session
from tests.protocol import wire
from tests.protocol.harness import Client, Harness


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
