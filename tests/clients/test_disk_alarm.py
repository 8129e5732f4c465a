"""The disk alarm: publishers wait while free disk is low or the disk full, and nothing is lost."""

import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from pamqp import commands, heartbeat

from tests.clients.peers import MEGABYTE, Numbered, Peer, Peers, Sender, log_lines
from tests.support.brokers import Leveret
from tests.support.wire import READ_TIMEOUT_S

BLOCKED = "connection.blocked"
HEARTBEATS = b"\x08\0\0\0\0\0\0\xce" * 1_000
MORE_THAN_THERE_IS = str(2**50)
PERSISTENT = commands.Basic.Properties(delivery_mode=2)


def declare_durable(peer: Peer, queue: str) -> None:
    peer.call(commands.Queue.Declare(queue=queue, durable=True), commands.Queue.DeclareOk)


def limit_files(broker: Leveret, size: int) -> None:
    """Let the broker write no file larger than so: to it, the disk is full."""
    resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


class TestLowDisk:
    @pytest.fixture
    def broker(self) -> Iterator[Leveret]:
        """A broker that wants more free disk than there is."""
        with Leveret(env={"LEVERET_STORAGE_DISK_FREE_LIMIT": MORE_THAN_THERE_IS}) as leveret:
            yield leveret

    @pytest.fixture
    def peers(self, broker: Leveret) -> Iterator[Peers]:
        """Connections to it, for which the kernel keeps little."""
        with Peers(broker, buffer_bytes=128 * 1024) as opened:
            yield opened

    def test_a_publisher_is_told_that_disk_is_low_and_is_not_read(
        self, peers: Peers, name: str
    ) -> None:
        publisher = peers.log_in(BLOCKED)
        publisher.declare(name)
        publisher.publish(name, b"first")

        assert publisher.read_one(commands.Connection.Blocked).reason == "low on disk"
        assert publisher.fill(HEARTBEATS, 64 * MEGABYTE) < 64 * MEGABYTE

    def test_who_only_consumes_is_never_blocked(
        self, peers: Peers, broker: Leveret, name: str
    ) -> None:
        publisher = peers.log_in(BLOCKED)
        publisher.declare(name)
        publisher.publish(name, b"first")
        publisher.read_one(commands.Connection.Blocked)
        consumer = peers.log_in(BLOCKED)
        consumer.consume(name)

        assert consumer.count(name) == 0
        assert not [line for line in log_lines(broker, consumer.log_field) if "blocked" in line]

    def test_the_log_says_so(self, broker: Leveret) -> None:
        (alarm,) = log_lines(broker, "alarm")

        assert "low on disk" in alarm
        assert f"disk_free_limit_bytes={MORE_THAN_THERE_IS}" in alarm


def test_memory_and_disk_are_told_together(name: str) -> None:
    limits = {"LEVERET_STORAGE_DISK_FREE_LIMIT": MORE_THAN_THERE_IS, "LEVERET_MEMORY_LIMIT": "1"}
    with Leveret(env=limits) as broker, Peers(broker) as peers:
        publisher = peers.log_in(BLOCKED)
        # No queue would be admitted: all that a client has is above such a limit.
        publisher.publish(name, b"first")

        reason = publisher.read_one(commands.Connection.Blocked).reason

    assert reason == "low on memory & disk"


def test_without_a_directory_no_disk_is_looked_at(name: str) -> None:
    limit = {"LEVERET_STORAGE_DISK_FREE_LIMIT": MORE_THAN_THERE_IS}
    with Leveret("--memory", env=limit) as broker, Peers(broker) as peers:
        publisher = peers.log_in(BLOCKED)
        publisher.declare(name)
        publisher.publish(name, b"first")

        assert publisher.count(name) == 1


class TestFullDisk:
    """A disk is full for a process that may write no larger files: the error is another one, and is
    treated the same."""

    SIZE = 64 * 1024
    COUNT = 1000
    """More than the broker reads before it finds the disk full."""

    @pytest.fixture
    def broker(self, tmp_path: Path) -> Iterator[Leveret]:
        with Leveret(data_dir=tmp_path / "data") as leveret:
            yield leveret

    def fill(self, broker: Leveret, peers: Peers, queue: str) -> tuple[Peer, Sender]:
        """Publish with confirms until the disk is full; the publisher, and what goes on sending."""
        publisher = peers.log_in(BLOCKED)
        declare_durable(publisher, queue)
        publisher.call(commands.Confirm.Select(), commands.Confirm.SelectOk)
        limit_files(broker, 4 * MEGABYTE)
        sender = Sender(publisher, queue, self.SIZE, self.COUNT, PERSISTENT)
        return publisher, sender

    def confirmed(self, publisher: Peer, closing: type) -> int:
        """Read confirms until another method comes; how many messages are confirmed."""
        last = 0
        while not isinstance(method := publisher.read().frame, closing):
            assert isinstance(method, commands.Basic.Ack)
            last = method.delivery_tag
        return last

    def test_publishers_wait_until_there_is_room_and_nothing_is_lost(
        self, broker: Leveret, name: str
    ) -> None:
        with Peers(broker) as peers:
            publisher, sender = self.fill(broker, peers, name)
            early = self.confirmed(publisher, commands.Connection.Blocked)
            assert early < self.COUNT
            assert log_lines(broker, "full:")
            limit_files(broker, resource.RLIM_INFINITY)

            unblocked = False
            last = early
            while last < self.COUNT:
                method = publisher.read().frame
                if isinstance(method, commands.Connection.Unblocked):
                    unblocked = True
                else:
                    assert isinstance(method, commands.Basic.Ack)
                    last = method.delivery_tag
            sender.join(READ_TIMEOUT_S)
            assert unblocked
            consumer = peers.log_in()
            consumer.consume(name)
            arrived = [Numbered.number(consumer.read_content()) for _ in range(self.COUNT)]

        assert arrived == list(range(self.COUNT))
        assert log_lines(broker, "the disk is not full any more")

    def test_who_waits_for_the_disk_hears_heartbeats_and_its_other_channels(
        self, broker: Leveret, name: str
    ) -> None:
        with Peers(broker) as peers:
            publisher, _ = self.fill(broker, peers, name)
            self.confirmed(publisher, commands.Connection.Blocked)
            waiting = peers.log_in(heartbeat=6)
            waiting.call(commands.Channel.Open(), commands.Channel.OpenOk, 2)
            waiting.send(commands.Queue.Declare(queue=f"{name}-durable", durable=True), 1)
            waiting.send(commands.Queue.Declare(queue=f"{name}-mine", exclusive=True), 2)
            heard = [waiting.read(), waiting.read()]
            limit_files(broker, resource.RLIM_INFINITY)
            while heard[-1].channel != 1:
                heard.append(waiting.read())

        first = [arrived.channel for arrived in heard[:2]]
        assert sorted(first) == [0, 2]
        assert all(isinstance(one.frame, heartbeat.Heartbeat) for one in heard if not one.channel)

    def test_what_was_confirmed_is_there_when_the_process_ends_on_the_full_disk(
        self, broker: Leveret, name: str
    ) -> None:
        with Peers(broker) as peers:
            publisher, _ = self.fill(broker, peers, name)
            confirmed = self.confirmed(publisher, commands.Connection.Blocked)
            broker.kill()

        with Leveret(data_dir=broker.data_dir) as again, Peers(again) as peers:
            consumer = peers.log_in()
            declare_durable(consumer, name)
            there = consumer.count(name)
            consumer.consume(name)
            arrived = [Numbered.number(consumer.read_content()) for _ in range(there)]

        assert there >= confirmed > 0
        assert arrived == list(range(there))

    def test_a_stop_on_the_full_disk_says_that_something_was_not_written(
        self, broker: Leveret, name: str
    ) -> None:
        with Peers(broker) as peers:
            publisher, _ = self.fill(broker, peers, name)
            self.confirmed(publisher, commands.Connection.Blocked)
            os.kill(broker.pid, signal.SIGTERM)
            assert broker.wait() == 3

        (failure,) = [line for line in broker.log_text().splitlines() if "storage failed" in line]
        assert "no space" in failure
