"""Transactions: all at the commit, nothing before, and nothing lost if it never comes."""

import pytest
from pamqp.base import Frame
from pamqp.commands import Basic, Channel, Confirm, Exchange, Queue, Tx

from leveret.errors import ReplyCode
from leveret.limits import TRANSACTION_BYTES_MAX
from tests.protocol import wire
from tests.protocol.harness import Client, Harness, got, returned


@pytest.fixture
def trader(harness: Harness) -> Client:
    """A client with a transaction on channel 1, an open channel 2, and the queue `q`."""
    client = harness.open_client(1, 2)
    client.declare(2, "q")
    client.call(1, Tx.Select(), Tx.SelectOk)
    return client


@pytest.fixture
def holder(trader: Client) -> Client:
    """The same, holding messages 1, 2 and 3 of `q` as tags 1, 2 and 3."""
    trader.publish(2, "q", b"1", b"2", b"3")
    for number in (1, 2, 3):
        trader.send(1, Basic.Get(queue="q"))
        trader.expect(1, got(number, b"%d" % number, 3 - number))
    return trader


def commit(client: Client) -> None:
    client.call(1, Tx.Commit(), Tx.CommitOk)


def rollback(client: Client) -> None:
    client.call(1, Tx.Rollback(), Tx.RollbackOk)


def ready(client: Client) -> list[bytes]:
    """Take all that is ready in `q`."""
    taken: list[bytes] = []
    while True:
        client.send(2, Basic.Get(queue="q", no_ack=True))
        ((_, received),) = client.receive_all()
        if isinstance(received, Basic.GetEmpty):
            return taken
        assert isinstance(received, wire.Content)
        taken.append(received.body)


def ready_count(client: Client, queue: str) -> int:
    """How many messages are ready in a queue."""
    declared = client.call(2, Queue.Declare(queue=queue, passive=True), Queue.DeclareOk)
    return declared.message_count or 0


# --- publishing ------------------------------------------------------------------------------


def test_published_messages_appear_at_the_commit_in_order(trader: Client) -> None:
    trader.publish(1, "q", b"1", b"2")
    assert ready(trader) == []
    commit(trader)
    assert ready(trader) == [b"1", b"2"]


def test_a_consumer_gets_them_before_the_commit_is_answered(trader: Client) -> None:
    trader.consume(2, "q", "c", no_ack=True)
    trader.publish(1, "q", b"1")
    trader.expect_nothing()
    trader.send(1, Tx.Commit())
    trader.expect_delivery(2, "c", 1, b"1")
    trader.expect(1, Tx.CommitOk())


def test_a_rollback_forgets_what_was_published(trader: Client) -> None:
    trader.publish(1, "q", b"1", mandatory=True)
    trader.publish(1, "missing", b"2", mandatory=True)
    rollback(trader)
    commit(trader)
    assert ready(trader) == []


def test_each_commit_is_of_what_came_since_the_last(trader: Client) -> None:
    for body in (b"1", b"2", b"3"):
        trader.publish(1, "q", body)
        commit(trader)
        assert ready(trader) == [body]


def test_what_has_no_queue_comes_back_at_the_commit(trader: Client) -> None:
    trader.publish(1, "missing", b"1", mandatory=True)
    trader.publish(1, "missing", b"2")
    trader.expect_nothing()
    trader.send(1, Tx.Commit())
    trader.expect(1, returned(b"1", key="missing"), Tx.CommitOk())


def test_the_way_of_a_message_is_that_of_when_it_was_published(trader: Client) -> None:
    trader.call(2, Exchange.Declare(exchange="x", exchange_type="fanout"), Exchange.DeclareOk)
    trader.call(2, Queue.Bind(queue="q", exchange="x"), Queue.BindOk)
    trader.publish(1, "k", b"1", exchange="x")
    trader.call(2, Exchange.Delete(exchange="x"), Exchange.DeleteOk)
    commit(trader)
    assert ready(trader) == [b"1"]


def test_the_way_by_headers_is_that_of_when_it_was_published(trader: Client) -> None:
    trader.call(2, Exchange.Declare(exchange="x", exchange_type="headers"), Exchange.DeclareOk)
    trader.call(2, Queue.Bind(queue="q", exchange="x", arguments={"a": 1}), Queue.BindOk)
    properties = Basic.Properties(headers={"a": 1})
    trader.publish(1, "k", b"1", exchange="x", properties=properties)
    trader.call(2, Exchange.Delete(exchange="x"), Exchange.DeleteOk)
    commit(trader)
    assert ready(trader) == [b"1"]


def test_a_message_whose_queue_went_meanwhile_comes_back(trader: Client) -> None:
    trader.publish(1, "q", b"1", mandatory=True)
    trader.call(2, Queue.Delete(queue="q"), Queue.DeleteOk)
    trader.send(1, Tx.Commit())
    trader.expect(1, returned(b"1", key="q"), Tx.CommitOk())


def test_the_time_to_live_of_its_queue_begins_at_the_commit(
    harness: Harness, trader: Client
) -> None:
    trader.declare(2, "short", arguments={"x-message-ttl": 100})
    trader.publish(1, "short", b"1")
    harness.advance_clock(150)
    commit(trader)
    harness.advance_clock(99)
    assert ready_count(trader, "short") == 1
    harness.advance_clock(1)
    assert ready_count(trader, "short") == 0


def test_the_time_to_live_of_a_message_begins_at_the_commit(
    harness: Harness, trader: Client
) -> None:
    trader.publish(1, "q", b"1", properties=Basic.Properties(expiration="100"))
    harness.advance_clock(150)
    commit(trader)
    harness.advance_clock(99)
    assert ready_count(trader, "q") == 1
    harness.advance_clock(1)
    assert ready_count(trader, "q") == 0


def test_a_missing_exchange_is_refused_at_once(trader: Client) -> None:
    trader.publish(1, "q", b"1")
    trader.publish(1, "k", b"2", exchange="nowhere")
    trader.expect_error(1, ReplyCode.NOT_FOUND, "no exchange 'nowhere' in vhost '/'", Basic.Publish)
    assert ready(trader) == []


# --- settling --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("methods", "left"),
    [
        ([Basic.Ack(1)], [b"2", b"3"]),
        ([Basic.Ack(2, True)], [b"3"]),
        ([Basic.Ack(0, True)], []),
        ([Basic.Ack(1), Basic.Ack(3), Basic.Ack(2, True)], []),
        ([Basic.Reject(2, False), Basic.Ack(1)], [b"3"]),
        ([Basic.Nack(2, True, False)], [b"3"]),
        ([Basic.Nack(2, True, True), Basic.Ack(3)], [b"1", b"2"]),
        ([Basic.Reject(2, True)], [b"1", b"2", b"3"]),
    ],
)
@pytest.mark.parametrize("end", ["commit", "rollback", "channel closed", "socket lost"])
def test_what_was_settled_counts_from_the_commit_on(
    harness: Harness, holder: Client, bob: Client, methods: list[Frame], left: list[bytes], end: str
) -> None:
    queue = harness.queue("q")
    holder.send(1, *methods)
    holder.expect_nothing()
    assert (queue.unacknowledged, queue.message_count()) == (3, 0), "before the end nothing counts"
    if end == "commit":
        commit(holder)
        holder.close_channels(1)
        assert ready(holder) == left
        return
    if end == "rollback":
        rollback(holder)
        holder.close_channels(1)
    elif end == "channel closed":
        holder.close_channels(1)
    else:
        holder.lose_socket()
    bob.open_channels(2)
    assert ready(bob) == [b"1", b"2", b"3"]


def test_after_a_rollback_the_tags_can_be_settled_again(harness: Harness, holder: Client) -> None:
    holder.send(1, Basic.Ack(2, True))
    rollback(holder)
    holder.send(1, Basic.Ack(1), Basic.Nack(2, False, False), Basic.Ack(3, True))
    commit(holder)
    assert harness.queue("q").unacknowledged == 0


def test_what_goes_back_at_the_commit_goes_to_its_old_place(holder: Client) -> None:
    holder.publish(2, "q", b"4")
    holder.send(1, Basic.Reject(3, True), Basic.Reject(1, True), Basic.Ack(2))
    assert ready(holder) == [b"4"]
    holder.publish(2, "q", b"5")
    commit(holder)
    assert ready(holder) == [b"1", b"3", b"5"]


@pytest.mark.parametrize("method", [Basic.Ack(1), Basic.Ack(9), Basic.Nack(1), Basic.Reject(1)])
def test_a_tag_that_is_settled_or_unknown_is_refused_at_once(
    harness: Harness, holder: Client, method: Basic.Ack
) -> None:
    holder.send(1, Basic.Ack(1))
    holder.send(1, method)
    holder.expect_error(
        1,
        ReplyCode.PRECONDITION_FAILED,
        f"unknown delivery tag {method.delivery_tag}",
        type(method),
    )
    assert ready(holder) == [b"1", b"2", b"3"]


def test_room_under_a_prefetch_comes_with_the_commit(harness: Harness, trader: Client) -> None:
    trader.publish(2, "q", b"1", b"2")
    trader.call(1, Basic.Qos(prefetch_count=1), Basic.QosOk)
    trader.consume(1, "q", "c")
    trader.expect_delivery(1, "c", 1, b"1")
    trader.send(1, Basic.Ack(1))
    trader.expect_nothing()
    trader.send(1, Tx.Commit())
    trader.expect_delivery(1, "c", 2, b"2")
    trader.expect(1, Tx.CommitOk())


def test_publishing_and_settling_commit_together(trader: Client) -> None:
    trader.declare(2, "out")
    trader.publish(2, "q", b"in")
    trader.send(1, Basic.Get(queue="q"))
    trader.expect(1, got(1, b"in"))
    trader.publish(1, "out", b"out")
    trader.send(1, Basic.Ack(1))
    commit(trader)
    trader.send(2, Basic.Get(queue="out", no_ack=True))
    trader.expect(2, got(1, b"out", key="out"))
    assert ready(trader) == []


def test_an_open_transaction_of_a_refused_channel_is_rolled_back(
    harness: Harness, holder: Client
) -> None:
    holder.publish(1, "q", b"never")
    holder.send(1, Basic.Ack(0, True))
    holder.send(1, Queue.Declare(queue="none", passive=True))
    holder.expect_error(1, ReplyCode.NOT_FOUND, "no queue 'none' in vhost '/'", Queue.Declare)
    assert ready(holder) == [b"1", b"2", b"3"]


# --- modes -----------------------------------------------------------------------------------


def test_a_second_select_changes_nothing(trader: Client) -> None:
    trader.publish(1, "q", b"1")
    trader.call(1, Tx.Select(), Tx.SelectOk)
    assert ready(trader) == []
    commit(trader)
    assert ready(trader) == [b"1"]


@pytest.mark.parametrize("method", [Tx.Commit(), Tx.Rollback()])
def test_without_a_select_there_is_nothing_to_end(alice: Client, method: Frame) -> None:
    alice.send(1, method)
    alice.expect_error(
        1, ReplyCode.PRECONDITION_FAILED, "channel is not transactional", type(method)
    )


def test_a_transactional_channel_has_no_confirms(trader: Client) -> None:
    trader.send(1, Confirm.Select())
    trader.expect_error(
        1, ReplyCode.PRECONDITION_FAILED, "cannot switch from tx to confirm mode", Confirm.Select
    )


def test_a_confirming_channel_has_no_transactions(alice: Client) -> None:
    alice.call(1, Confirm.Select(), Confirm.SelectOk)
    alice.send(1, Tx.Select())
    alice.expect_error(
        1, ReplyCode.PRECONDITION_FAILED, "cannot switch from confirm to tx mode", Tx.Select
    )


def test_a_commit_does_not_hold_up_what_comes_behind_it(trader: Client) -> None:
    trader.publish(1, "q", b"1")
    trader.send(1, Tx.Commit(), Channel.Flow(True))
    trader.expect(1, Tx.CommitOk(), Channel.FlowOk(True))


def test_an_empty_transaction_commits(trader: Client) -> None:
    commit(trader)
    rollback(trader)
    commit(trader)


def test_a_transaction_that_is_too_large_closes_its_channel(trader: Client) -> None:
    body = bytes(64 * 1024 * 1024)
    for _ in range(TRANSACTION_BYTES_MAX // len(body) - 1):
        trader.publish(1, "q", body)
    trader.publish(1, "q", body)
    trader.expect_error(
        1,
        ReplyCode.PRECONDITION_FAILED,
        f"a transaction of more than {TRANSACTION_BYTES_MAX} bytes; commit more often",
        Basic.Publish,
    )
    assert ready(trader) == []
