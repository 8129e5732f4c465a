"""basic.get of a message that is on disk: it waits for the disk, and nobody else does."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pamqp.base import Frame
from pamqp.commands import Basic, Queue

from leveret.errors import ReplyCode
from leveret_storage.errors import StorageError
from leveret_storage.media.executor import InlineExecutor
from leveret_storage.media.filesystem import FilesystemMedium
from tests.protocol import wire
from tests.protocol.harness import Client, Harness, got
from tests.storage.owning import take
from tests.support.executors import StepExecutor

COUNT = 500
BODY = bytes(100)


class SlowDisk:
    """A disk that reads when the test says so."""

    def __init__(self, harness: Harness, medium: FilesystemMedium) -> None:
        self.reading = StepExecutor()
        self.failures: list[StorageError] = []
        self._harness = harness
        harness.broker.open_store(medium, InlineExecutor(), self.reading, self.failures.append)

    def release(self, queue: str) -> None:
        """Have all messages of a queue on disk only."""
        backlog = self._harness.queue(queue).backlog
        while backlog.release(True):
            self._harness.broker.commit(urgent=True)
        assert not backlog.available()


@pytest.fixture
def disk(harness: Harness, tmp_path: Path) -> Iterator[SlowDisk]:
    """The disk of the broker of `harness`; request this fixture before any client."""
    medium = FilesystemMedium(tmp_path)
    take(medium)
    disk = SlowDisk(harness, medium)
    yield disk
    medium.close()


@pytest.fixture
def alice(disk: SlowDisk, alice: Client) -> Client:
    """A client with channels 1 and 2, and the queue `q`, whose messages are on disk."""
    alice.open_channels(2)
    alice.declare(1, "q")
    alice.publish(1, "q", *(b"%d " % number + BODY for number in range(COUNT)))
    disk.release("q")
    return alice


def ask(client: Client, channel: int, *methods: Frame) -> None:
    """Send requests, of which the first one may wait for the disk."""
    client.expect_nothing()
    client.connection.feed(wire.method_frames(channel, *methods), 10**6)
    client.receive()


def go_on(client: Client) -> None:
    """Go on with what waited, until it is done."""
    while client.connection.work(10**6):
        client.receive()
    client.receive()


def test_the_reply_comes_when_the_message_was_read_and_others_do_not_wait(
    alice: Client, bob: Client, disk: SlowDisk
) -> None:
    ask(alice, 1, Basic.Get(queue="q", no_ack=True), Queue.Declare(queue="q", passive=True))
    work = alice.connection.session.work
    assert work is not None
    assert work.waits()
    alice.expect_nothing()
    bob.declare(1, "other")
    assert alice.connection.work(10**6), "it waits yet"
    alice.expect_nothing()

    disk.reading.run()
    go_on(alice)
    alice.expect(1, got(1, b"0 " + BODY, COUNT - 1))
    alice.expect(1, Queue.DeclareOk("q", COUNT - 1, 0))


def test_every_message_is_got_in_order(alice: Client, disk: SlowDisk) -> None:
    for number in range(COUNT):
        ask(alice, 1, Basic.Get(queue="q", no_ack=True))
        while alice.connection.is_working():
            disk.reading.run()
            go_on(alice)
        body = b"%d " % number + BODY
        alice.expect(1, got(number + 1, body, COUNT - 1 - number))
    alice.call(1, Basic.Get(queue="q"), Basic.GetEmpty)


def test_a_queue_that_is_deleted_meanwhile_is_not_found(
    alice: Client, bob: Client, disk: SlowDisk
) -> None:
    ask(alice, 1, Basic.Get(queue="q", no_ack=True))
    bob.call(1, Queue.Delete(queue="q"), Queue.DeleteOk)
    go_on(alice)
    alice.expect_error(1, ReplyCode.NOT_FOUND, "no queue 'q' in vhost '/'", Basic.Get)
    alice.reopen_channel(1)


def test_a_connection_may_be_lost_meanwhile(alice: Client, disk: SlowDisk) -> None:
    ask(alice, 1, Basic.Get(queue="q", no_ack=True))
    alice.lose_socket()
    disk.reading.run()
    assert not disk.failures
