"""Replies that promise durability: they wait for their commit, and delay nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pamqp.base import Frame
from pamqp.commands import Basic, Channel, Confirm, Connection, Exchange, Queue, Tx

from leveret.errors import ReplyCode
from leveret.limits import OUTPUT_HIGH_WATER_BYTES, OUTPUT_REPLIES_BYTES_MAX
from leveret_storage.errors import StorageError
from leveret_storage.media.executor import InlineExecutor
from leveret_storage.media.filesystem import FilesystemMedium
from tests.protocol import wire
from tests.protocol.harness import Client, Harness, delivery
from tests.protocol.wire import Content
from tests.storage.owning import take
from tests.support.executors import StepExecutor

PERSISTENT = Basic.Properties(delivery_mode=2)


class Disk:
    """Writes when the test tells it to."""

    def __init__(self, harness: Harness, medium: FilesystemMedium) -> None:
        self._executor = StepExecutor()
        self._broker = harness.broker
        harness.broker.open_store(medium, self._executor, InlineExecutor(), self._failed)
        self.catch_up()

    def commit(self) -> None:
        """Commit the open batch, if no commit is in flight."""
        self._broker.commit()

    def finish_batch(self) -> None:
        """Finish the commit in flight, and begin the next one."""
        for _ in range(len(self._executor.jobs)):
            self._executor.step()

    def catch_up(self) -> None:
        """Commit all that is written."""
        self.commit()
        while self._executor.jobs:
            self.finish_batch()

    @staticmethod
    def _failed(error: StorageError) -> None:
        raise error


@pytest.fixture
def disk(harness: Harness, tmp_path: Path) -> Iterator[Disk]:
    """The executor of the broker of `harness`; request this fixture before any client."""
    medium = FilesystemMedium(tmp_path)
    take(medium)
    disk = Disk(harness, medium)
    yield disk
    disk.catch_up()
    medium.close()


@pytest.fixture
def alice(disk: Disk, alice: Client) -> Client:
    """A client with channel 1 open, of a broker that writes to `disk`."""
    return alice


@pytest.fixture
def bob(disk: Disk, bob: Client) -> Client:
    """Another one."""
    return bob


DURABLE = Queue.Declare(queue="q", durable=True)


# --- what waits ---------------------------------------------------------------------------------


def test_a_declaration_is_answered_when_it_is_safe(alice: Client, disk: Disk) -> None:
    alice.send(1, DURABLE)
    alice.expect_nothing()
    disk.commit()
    alice.expect_nothing()
    disk.finish_batch()
    alice.expect(1, Queue.DeclareOk("q", 0, 0))


def test_what_is_not_durable_waits_for_nothing(alice: Client) -> None:
    alice.declare(1, "q")
    alice.call(1, Queue.Bind(queue="q", exchange="amq.fanout"), Queue.BindOk)
    alice.call(1, Queue.Purge(queue="q"), Queue.PurgeOk)
    alice.call(1, Queue.Delete(queue="q"), Queue.DeleteOk)


@pytest.mark.parametrize(
    ("asked", "reply"),
    [
        (DURABLE, Queue.DeclareOk("q", 0, 0)),
        (Queue.Declare(queue="q", passive=True), Queue.DeclareOk("q", 0, 0)),
        (Exchange.Declare(exchange="x", durable=True), Exchange.DeclareOk()),
        (Exchange.Declare(exchange="x", passive=True), Exchange.DeclareOk()),
        (Queue.Bind(queue="q", exchange="x"), Queue.BindOk()),
        (Queue.Delete(queue="gone"), Queue.DeleteOk(0)),
        (Queue.Unbind(queue="gone", exchange="x"), Queue.UnbindOk()),
        (Exchange.Delete(exchange="gone"), Exchange.DeleteOk()),
    ],
    ids=[
        "declare",
        "passive declare",
        "exchange declare",
        "passive exchange declare",
        "bind",
        "delete",
        "unbind",
        "exchange delete",
    ],
)
def test_a_definition_that_another_client_just_wrote_is_waited_for_too(
    alice: Client, bob: Client, disk: Disk, asked: Frame, reply: Frame
) -> None:
    alice.send(1, Queue.Declare(queue="gone", durable=True))
    disk.catch_up()
    alice.expect(1, Queue.DeclareOk("gone", 0, 0))
    replies: list[Frame] = [
        Exchange.DeclareOk(),
        Queue.DeclareOk("q", 0, 0),
        Queue.BindOk(),
        Queue.DeleteOk(0),
    ]
    alice.send(
        1,
        Exchange.Declare(exchange="x", durable=True),
        DURABLE,
        Queue.Bind(queue="q", exchange="x"),
        Queue.Delete(queue="gone"),
    )
    disk.commit()
    bob.send(1, asked)
    bob.expect_nothing()
    disk.catch_up()
    bob.expect(1, reply)
    alice.expect(1, *replies)
    bob.send(1, asked)
    bob.expect(1, reply)


def test_commits_that_follow_each_other_are_answered_as_each_is_safe(
    alice: Client, disk: Disk
) -> None:
    alice.send(1, DURABLE)
    disk.catch_up()
    alice.expect(1, Queue.DeclareOk("q", 0, 0))
    alice.call(1, Tx.Select(), Tx.SelectOk)
    commit = wire.publish(1, "q", b"1", properties=PERSISTENT) + wire.method_frames(1, Tx.Commit())
    alice.feed(commit)
    disk.commit()
    for _ in range(10):
        alice.feed(commit)
        disk.finish_batch()
        alice.expect(1, Tx.CommitOk())
        alice.expect_nothing()
    disk.catch_up()
    alice.expect(1, Tx.CommitOk())


def test_a_purge_is_answered_when_it_is_safe(alice: Client, disk: Disk) -> None:
    alice.send(1, DURABLE)
    alice.feed(wire.publish(1, "q", b"1", properties=PERSISTENT))
    disk.catch_up()
    alice.expect(1, Queue.DeclareOk("q", 0, 0))
    alice.send(1, Queue.Purge(queue="q"))
    alice.expect_nothing()
    disk.catch_up()
    alice.expect(1, Queue.PurgeOk(1))


def test_what_is_not_durable_is_reached_without_waiting_for_another_client(
    alice: Client, bob: Client, disk: Disk
) -> None:
    alice.send(1, DURABLE)
    bob.declare(1, "t")
    bob.call(1, Queue.Declare(queue="t", passive=True), Queue.DeclareOk)
    bob.call(1, Exchange.Declare(exchange="u"), Exchange.DeclareOk)
    bob.call(1, Queue.Bind(queue="t", exchange="amq.topic"), Queue.BindOk)
    bob.call(1, Exchange.Bind(destination="u", source="amq.topic"), Exchange.BindOk)
    bob.call(1, Queue.Delete(queue="t"), Queue.DeleteOk)
    disk.catch_up()
    alice.expect(1, Queue.DeclareOk("q", 0, 0))


# --- what does not ------------------------------------------------------------------------------


def test_the_channel_waits_in_order_and_the_others_go_on(
    harness: Harness, disk: Disk, bob: Client
) -> None:
    alice = harness.open_client(1, 2)
    bob.declare(1, "t")
    alice.consume(1, "t", "one", no_ack=True)
    alice.consume(2, "t", "two", no_ack=True)
    alice.send(1, DURABLE)
    bob.publish(1, "t", b"1", b"2")
    alice.expect(2, delivery("two", 1, b"2", key="t"))
    alice.expect_nothing()
    disk.catch_up()
    alice.expect(1, Queue.DeclareOk("q", 0, 0), delivery("one", 1, b"1", key="t"))


def test_confirms_of_another_channel_go_on(harness: Harness, disk: Disk) -> None:
    alice = harness.open_client(1, 2)
    alice.call(2, Confirm.Select(), Confirm.SelectOk)
    alice.send(1, DURABLE)
    alice.publish(2, "nowhere", b"1")
    alice.expect(2, Basic.Ack(1))
    disk.catch_up()
    alice.expect(1, Queue.DeclareOk("q", 0, 0))


def test_heartbeats_and_alarms_pass(harness: Harness, disk: Disk) -> None:
    alice = harness.connect()
    alice.log_in(heartbeat=10)
    alice.open_channels(1)
    alice.send(1, DURABLE)
    alice.advance_to(1.0)
    alice.advance_to(7.0)
    alice.expect(0, "heartbeat")
    alice.connection.block("low on disk")
    alice.expect(0, Connection.Blocked("low on disk"))
    alice.connection.unblock()
    alice.expect(0, Connection.Unblocked())
    disk.catch_up()
    alice.expect(1, Queue.DeclareOk("q", 0, 0))


def test_a_connection_closes_behind_all_that_waits(alice: Client, disk: Disk) -> None:
    alice.open_channels(2)
    alice.send(1, DURABLE)
    alice.send(2, Queue.Declare(queue="r", durable=True))
    alice.feed(wire.connection_close())
    alice.expect_nothing()
    assert alice.connection.session.holds_output()
    disk.catch_up()
    alice.expect(1, Queue.DeclareOk("q", 0, 0))
    alice.expect(2, Queue.DeclareOk("r", 0, 0))
    alice.expect(0, Connection.CloseOk())
    assert not alice.connection.session.holds_output()
    alice.expect_socket_closed()


def test_a_channel_closes_behind_what_it_waits_for(alice: Client, disk: Disk) -> None:
    alice.send(1, DURABLE)
    alice.feed(wire.channel_close(1))
    alice.send(1, Channel.Open())
    alice.expect_nothing()
    disk.catch_up()
    alice.expect(1, Queue.DeclareOk("q", 0, 0), Channel.CloseOk(), Channel.OpenOk())


# --- its ends -----------------------------------------------------------------------------------


def test_replies_whose_commit_will_never_come_are_not_sent(alice: Client) -> None:
    alice.send(1, DURABLE)
    session = alice.connection.session
    session.discard_held()
    alice.connection.force_close("the storage failed")
    alice.expect_error(0, ReplyCode.CONNECTION_FORCED, "the storage failed")


def test_a_lost_connection_sends_nothing_more(alice: Client, disk: Disk) -> None:
    alice.send(1, DURABLE)
    alice.lose_socket()
    assert not alice.connection.session.holds_output()
    disk.catch_up()
    alice.expect_nothing()


def test_deliveries_behind_a_reply_that_waits_are_bounded(
    harness: Harness, alice: Client, bob: Client, disk: Disk
) -> None:
    bob.declare(1, "t")
    alice.consume(1, "t", "c", no_ack=True)
    alice.send(1, DURABLE)
    size = OUTPUT_HIGH_WATER_BYTES // 4
    for number in range(20):
        bob.publish(1, "t", bytes([number]) * size)
        alice.expect_nothing()
    assert harness.queue("t").message_count() >= 15
    disk.catch_up()
    alice.expect(1, Queue.DeclareOk("q", 0, 0))
    received = [content for _, content in alice.receive_all() if isinstance(content, Content)]
    assert [content.body[0] for content in received] == list(range(20))


def test_a_client_whose_answers_wait_is_not_read_for_ever(harness: Harness, disk: Disk) -> None:
    """Nor is it taken for dead because nothing is read of it."""
    alice = harness.connect()
    alice.log_in(heartbeat=10)
    alice.open_channels(1)
    session = alice.connection.session
    alice.send(1, DURABLE)
    count = 0
    while not session.holds_too_much():
        alice.publish(1, "nowhere", bytes(OUTPUT_HIGH_WATER_BYTES // 4), mandatory=True)
        count += 1
    assert count == OUTPUT_REPLIES_BYTES_MAX // (OUTPUT_HIGH_WATER_BYTES // 4)
    for now in (10.0, 20.0, 30.0, 40.0):
        alice.advance_to(now)
        alice.receive()
    disk.catch_up()
    received = [frame for channel, frame in alice.receive_all() if channel == 1]
    assert len(received) == 1 + count
    assert not session.holds_too_much()
    assert not alice.connection.finished


def test_large_bodies_wait_behind_a_held_reply_of_their_channel_only(
    disk: Disk, harness: Harness
) -> None:
    consumer, publisher = harness.open_client(1, 2), harness.open_client(1)
    publisher.declare(1, "one", "two")
    consumer.consume(1, "one", "a", no_ack=True)
    consumer.consume(2, "two", "b", no_ack=True)
    consumer.send(1, Queue.Declare(queue="durable", durable=True))
    consumer.expect_nothing()
    body = bytes(100_000)
    publisher.publish(1, "one", body)
    publisher.publish(1, "two", body)
    assert consumer.expect_content(2).body == body
    consumer.expect_nothing()
    disk.catch_up()
    consumer.expect_method(1, Queue.DeclareOk)
    assert consumer.expect_content(1).body == body
