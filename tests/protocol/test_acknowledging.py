"""What was delivered, and what becomes of it: ack, nack, reject, recover, and lost channels."""

import pytest
from pamqp.base import Frame
from pamqp.commands import Basic, Exchange, Queue

from leveret.engine.values.time_slice import UNITS_PER_READING, UNLIMITED_NS
from leveret.errors import ReplyCode
from leveret.limits import DEAD_LETTERS_WAITING_MAX
from tests.protocol import wire
from tests.protocol.harness import Client, Harness, got


def bodies(*numbers: int) -> list[bytes]:
    return [str(number).encode() for number in numbers]


@pytest.fixture
def holder(harness: Harness) -> Client:
    """A client that holds messages 1 to 5 of the queue `q`, delivered to `c` as tags 1 to 5."""
    client = harness.open_client(1, 2)
    client.declare(1, "q")
    client.publish(1, "q", *bodies(1, 2, 3, 4, 5))
    client.consume(1, "q", "c")
    for number, body in enumerate(bodies(1, 2, 3, 4, 5), 1):
        client.expect_delivery(1, "c", number, body)
    return client


def left_when_closed(harness: Harness, client: Client) -> list[bytes]:
    """What the queue has once the channel is closed, in order."""
    client.close_channels(1)
    left = []
    while harness.queue("q").message_count():
        client.send(2, Basic.Get(queue="q", no_ack=True))
        content = client.expect_content(2)
        assert isinstance(content.method, Basic.GetOk)
        assert content.method.redelivered
        left.append(content.body)
    return left


@pytest.mark.parametrize(
    ("methods", "left"),
    [
        ([], [1, 2, 3, 4, 5]),
        ([Basic.Ack(1)], [2, 3, 4, 5]),
        ([Basic.Ack(3)], [1, 2, 4, 5]),
        ([Basic.Ack(5), Basic.Ack(2)], [1, 3, 4]),
        ([Basic.Ack(3, True)], [4, 5]),
        ([Basic.Ack(2), Basic.Ack(4, True)], [5]),
        ([Basic.Ack(3, True), Basic.Ack(5, True)], []),
        ([Basic.Ack(0, True)], []),
        ([Basic.Ack(0, True), Basic.Ack(0, True)], []),
        ([Basic.Nack(3, True, False)], [4, 5]),
        ([Basic.Nack(3, False, False)], [1, 2, 4, 5]),
        ([Basic.Nack(0, True, False)], []),
        ([Basic.Reject(2, False)], [1, 3, 4, 5]),
        ([Basic.Reject(1, False), Basic.Nack(3, True, False), Basic.Ack(5)], [4]),
    ],
)
def test_what_is_settled_is_gone_and_the_rest_comes_back_in_order(
    harness: Harness, holder: Client, methods: list[Frame], left: list[int]
) -> None:
    holder.send(1, *methods)
    holder.expect_nothing()
    assert harness.queue("q").unacknowledged == len(left)
    assert left_when_closed(harness, holder) == bodies(*left)


@pytest.mark.parametrize(
    ("method", "tag"),
    [
        (Basic.Ack(6), 6),
        (Basic.Ack(0), 0),
        (Basic.Ack(99, True), 99),
        (Basic.Nack(6), 6),
        (Basic.Nack(0), 0),
        (Basic.Nack(99, True), 99),
        (Basic.Reject(6), 6),
        (Basic.Reject(0), 0),
    ],
)
def test_an_unknown_tag_closes_the_channel(
    harness: Harness, holder: Client, method: Frame, tag: int
) -> None:
    holder.send(1, method)
    holder.expect_error(
        1, ReplyCode.PRECONDITION_FAILED, f"unknown delivery tag {tag}", type(method)
    )
    assert harness.queue("q").message_count() == 5
    assert harness.queue("q").unacknowledged == 0


@pytest.mark.parametrize("tag", [2**63, 2**64 - 1])
@pytest.mark.parametrize("multiple", [False, True])
def test_a_tag_is_unsigned(holder: Client, tag: int, multiple: bool) -> None:
    arguments = tag.to_bytes(8, "big") + bytes((multiple,))
    holder.feed(wire.method_frame(1, Basic.Ack.index, arguments))
    holder.expect_error(1, ReplyCode.PRECONDITION_FAILED, f"unknown delivery tag {tag}", Basic.Ack)


@pytest.mark.parametrize("first", [Basic.Ack(3), Basic.Ack(3, True), Basic.Reject(3, False)])
@pytest.mark.parametrize(
    "second", [Basic.Ack(3), Basic.Ack(3, True), Basic.Nack(3), Basic.Reject(3)]
)
def test_settling_twice_closes_the_channel(holder: Client, first: Frame, second: Frame) -> None:
    holder.send(1, first)
    holder.send(1, second)
    holder.expect_error(1, ReplyCode.PRECONDITION_FAILED, "unknown delivery tag 3", type(second))


def test_a_tag_is_of_its_channel(holder: Client) -> None:
    holder.send(2, Basic.Ack(1))
    holder.expect_error(2, ReplyCode.PRECONDITION_FAILED, "unknown delivery tag 1", Basic.Ack)
    holder.send(1, Basic.Ack(1))
    holder.expect_nothing()


def test_what_needs_no_acknowledgement_has_no_tag_to_settle(alice: Client) -> None:
    alice.declare(1, "q")
    alice.consume(1, "q", "c", no_ack=True)
    alice.publish(1, "q", b"1")
    alice.expect_delivery(1, "c", 1, b"1")
    alice.send(1, Basic.Ack(1))
    alice.expect_error(1, ReplyCode.PRECONDITION_FAILED, "unknown delivery tag 1", Basic.Ack)


def test_acknowledging_all_of_nothing_is_fine(alice: Client) -> None:
    alice.send(1, Basic.Ack(0, True), Basic.Nack(0, True))
    alice.expect_nothing()


# --- back to the queue -----------------------------------------------------------------------


def test_a_rejected_message_is_delivered_again_before_newer_ones(alice: Client) -> None:
    alice.declare(1, "q")
    alice.call(1, Basic.Qos(prefetch_count=1), Basic.QosOk)
    alice.publish(1, "q", b"1", b"2")
    alice.consume(1, "q", "c")
    alice.expect_delivery(1, "c", 1, b"1")
    alice.send(1, Basic.Reject(1, True))
    alice.expect_delivery(1, "c", 2, b"1", redelivered=True)
    alice.send(1, Basic.Ack(2))
    alice.expect_delivery(1, "c", 3, b"2")


def test_messages_go_back_to_their_old_places(harness: Harness) -> None:
    client = harness.open_client(1, 2)
    client.declare(1, "q")
    client.publish(1, "q", *bodies(1, 2, 3, 4, 5, 6))
    for number in range(1, 5):
        client.send(1, Basic.Get(queue="q"))
        client.expect(1, got(number, b"%d" % number, 6 - number))
    client.send(1, Basic.Nack(3, False, True), Basic.Reject(1, True))
    client.send(1, Basic.Nack(4, True, True))
    client.consume(2, "q", "c", no_ack=True)
    for number in range(1, 7):
        client.expect_delivery(2, "c", number, b"%d" % number, redelivered=number < 5)


def test_a_message_keeps_its_place_however_often_it_goes_back(alice: Client) -> None:
    alice.declare(1, "q")
    alice.publish(1, "q", b"1", b"2", b"3")
    for tag in range(1, 10, 2):
        alice.send(1, Basic.Get(queue="q"), Basic.Get(queue="q"))
        alice.expect(
            1,
            got(tag, b"1", 2, redelivered=tag > 1),
            got(tag + 1, b"2", 1, redelivered=tag > 1),
        )
        alice.send(1, Basic.Reject(tag + 1, True), Basic.Reject(tag, True))


def test_what_goes_back_is_handed_to_who_is_ready(harness: Harness, bob: Client) -> None:
    client = harness.open_client(1)
    client.declare(1, "q")
    client.publish(1, "q", b"1", b"2")
    client.send(1, Basic.Get(queue="q"), Basic.Get(queue="q"))
    client.expect(1, got(1, b"1", 1), got(2, b"2"))
    bob.consume(1, "q", "c")
    client.send(1, Basic.Nack(2, True, True))
    bob.expect_delivery(1, "c", 1, b"1", redelivered=True)
    bob.expect_delivery(1, "c", 2, b"2", redelivered=True)


def test_what_goes_back_to_a_deleted_queue_is_dropped(harness: Harness, alice: Client) -> None:
    alice.declare(1, "q")
    alice.publish(1, "q", b"1", b"2")
    alice.send(1, Basic.Get(queue="q"), Basic.Get(queue="q"))
    alice.expect(1, got(1, b"1", 1), got(2, b"2"))
    queue = harness.queue("q")
    alice.send(1, Queue.Delete(queue="q"))
    alice.expect(1, Queue.DeleteOk(0))
    alice.declare(1, "q")
    alice.send(1, Basic.Reject(1, True), Basic.Ack(2))
    alice.send(1, Queue.Declare(queue="q", passive=True))
    alice.expect(1, Queue.DeclareOk("q", 0, 0))
    assert (queue.message_count(), queue.unacknowledged) == (0, 0)


# --- get -------------------------------------------------------------------------------------


def test_get_says_how_many_are_left(alice: Client) -> None:
    alice.declare(1, "q")
    alice.publish(1, "q", b"1", b"2")
    alice.send(1, *[Basic.Get(queue="q")] * 3)
    alice.expect(1, got(1, b"1", 1), got(2, b"2", 0), Basic.GetEmpty())


def test_get_does_not_mind_prefetch(alice: Client) -> None:
    alice.declare(1, "q")
    alice.call(1, Basic.Qos(prefetch_count=1, global_=True), Basic.QosOk)
    alice.publish(1, "q", b"1", b"2")
    alice.send(1, Basic.Get(queue="q"), Basic.Get(queue="q"))
    alice.expect(1, got(1, b"1", 1), got(2, b"2"))
    alice.consume(1, "q", "c")
    alice.publish(1, "q", b"3")
    alice.expect_delivery(1, "c", 3, b"3")


def test_get_without_acknowledgement_holds_nothing(harness: Harness, alice: Client) -> None:
    alice.declare(1, "q")
    alice.publish(1, "q", b"1")
    alice.send(1, Basic.Get(queue="q", no_ack=True))
    alice.expect(1, got(1, b"1"))
    assert harness.queue("q").unacknowledged == 0


# --- recover ---------------------------------------------------------------------------------


def recover_async(*, requeue: bool) -> bytes:
    """basic.recover-async, which pamqp warns of for being deprecated."""
    return wire.method_frame(1, Basic.RecoverAsync.index, bytes((requeue,)))


def test_recover_is_answered_and_then_all_is_delivered_again(holder: Client) -> None:
    holder.send(1, Basic.Ack(2))
    holder.send(1, Basic.Recover(True))
    holder.expect(1, Basic.RecoverOk())
    for number, body in enumerate(bodies(1, 3, 4, 5), 6):
        holder.expect_delivery(1, "c", number, body, redelivered=True)


def test_recover_async_is_not_answered(holder: Client) -> None:
    holder.send(1, Basic.Ack(4, True))
    holder.feed(recover_async(requeue=True))
    holder.expect_delivery(1, "c", 6, b"5", redelivered=True)


def test_recovering_without_requeueing_is_not_implemented(holder: Client) -> None:
    holder.send(1, Basic.Recover(False))
    holder.expect_error(0, ReplyCode.NOT_IMPLEMENTED, "requeue=false", Basic.Recover)


def test_recovering_async_without_requeueing_is_not_implemented(holder: Client) -> None:
    holder.feed(recover_async(requeue=False))
    holder.expect_error(0, ReplyCode.NOT_IMPLEMENTED, "requeue=false", Basic.RecoverAsync)


def test_closing_the_connection_gives_back_what_is_held(harness: Harness, holder: Client) -> None:
    holder.feed(wire.connection_close())
    holder.expect(0, wire.CONNECTION_CLOSE_OK)
    assert harness.queue("q").message_count() == 5


def test_many_rejects_make_no_more_dead_letters_than_may_wait(
    harness: Harness, alice: Client
) -> None:
    """Each is published to two queues that keep nothing, which doubles it."""
    vhost = harness.broker.vhosts["/"]
    alice.call(1, Exchange.Declare(exchange="next", exchange_type="fanout"), Exchange.DeclareOk)
    alice.call(1, Exchange.Declare(exchange="end", exchange_type="fanout"), Exchange.DeclareOk)
    alice.declare(1, "q", arguments={"x-dead-letter-exchange": "next"})
    for queue in ("a", "b"):
        empty = {"x-max-length": 0, "x-dead-letter-exchange": "end"}
        alice.declare(1, queue, arguments=empty)
        alice.call(1, Queue.Bind(queue=queue, exchange="next"), Queue.BindOk)
    alice.declare(1, "last")
    alice.call(1, Queue.Bind(queue="last", exchange="end"), Queue.BindOk)
    count = 2 * DEAD_LETTERS_WAITING_MAX
    alice.consume(1, "q", "c")
    alice.publish(1, "q", *[b"."] * count)
    alice.receive_all()
    time_slice = harness.broker.time_slice
    time_slice.begin(0)
    more = alice.connection.feed(wire.method_frames(1, Basic.Nack(0, True, False)), 1 << 20)
    most = 0
    while more:
        most = max(most, int(vhost.dead_letters.count))
        time_slice.begin(0)
        more = alice.connection.work(1 << 20)
    assert DEAD_LETTERS_WAITING_MAX <= most <= DEAD_LETTERS_WAITING_MAX + 2 * UNITS_PER_READING
    harness.broker.work.run_all(time_slice)
    time_slice.begin(UNLIMITED_NS)
    assert harness.queue("last").message_count() == 2 * count
