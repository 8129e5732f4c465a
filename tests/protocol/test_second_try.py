"""A client that is faster than the news of what it has made by way of another broker."""

from collections.abc import Callable

import pytest
from pamqp import commands
from pamqp.commands import Connection as ConnectionMethods

from leveret.engine.access.passwords import hash_password
from leveret.engine.access.rights import ANY
from leveret.engine.metadata.entities import Permission, User, VirtualHostEntity
from leveret.engine.metadata.reader import MetadataReader
from leveret.protocol.channels.peer import Peer
from leveret.protocol.connections.connection import Connection
from tests.protocol import wire
from tests.protocol.harness import Harness, Log, start_ok

SLICE = 16_384
TUNE_OK = ConnectionMethods.TuneOk(9, 8192, 17)


class Reads(MetadataReader):
    """Reads when a test says so."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def request(self, done: Callable[[], None]) -> None:
        self.waiting.append(done)

    def read(self) -> None:
        waiting, self.waiting = self.waiting, []
        for done in waiting:
            done()


class Opening:
    """A client that says everything up to a method of its first channel at once."""

    def __init__(self, harness: Harness, vhost: str, user: str = "guest") -> None:
        self.harness = harness
        self.log = Log()
        self.flushes = 0
        self.connection = Connection(
            harness.broker,
            self._request_flush,
            self.log,
            peer=Peer(from_loopback=True),
            now=0.0,
        )
        self.work = self._feed(
            wire.PROTOCOL_HEADER,
            wire.method_frames(0, start_ok(response=f"\0{user}\0guest"), TUNE_OK),
            wire.method_frames(0, ConnectionMethods.Open(vhost)),
            wire.method_frames(1, commands.Channel.Open()),
        )

    def _request_flush(self) -> None:
        self.flushes += 1

    def _feed(self, *data: bytes) -> bool:
        self.harness.broker.time_slice.begin(10**12)
        return self.connection.feed(b"".join(data), SLICE)

    def waits(self) -> bool:
        """Whether nothing comes of more slices, until a flush is requested."""
        work = self.connection.session.work
        return work is not None and work.waits() and work.is_told()

    def received(self) -> list[str]:
        """The names of the methods that were received since the last call."""
        while self.work and not self.waits():
            self.harness.broker.time_slice.begin(10**12)
            self.work = self.connection.work(SLICE)
        self.flushes = 0
        output = self.connection.session.take_output()
        return [str(getattr(method, "name", method)) for _, method in wire.decode(output)]

    def end(self) -> None:
        self.connection.disconnected()
        self.harness.broker.work.run_all(self.harness.broker.time_slice)


@pytest.fixture
def reads(harness: Harness) -> Reads:
    reads = Reads()
    harness.broker.metadata_reader = reads
    return reads


OPENED = ["Connection.OpenOk", "Channel.OpenOk"]


def test_who_is_not_known_yet_logs_in_when_the_metadata_were_read(
    harness: Harness, reads: Reads
) -> None:
    client = Opening(harness, "/", "ann")
    assert client.received() == ["Connection.Start"]
    assert client.waits()
    metadata = harness.broker.metadata
    metadata.put(User("ann", hash_password(b"guest")))
    metadata.put(Permission("ann", "/", ANY, ANY, ANY))
    assert client.received() == []
    reads.read()
    assert client.flushes == 1
    assert client.received() == ["Connection.Tune", *OPENED]
    assert not reads.waiting
    client.end()


def test_a_wrong_password_is_refused_after_one_read(harness: Harness, reads: Reads) -> None:
    client = Opening(harness, "/", "nobody")
    assert client.received() == ["Connection.Start"]
    reads.read()
    assert client.received() == ["Connection.Close"]
    assert not reads.waiting
    assert client.log.of("login refused")["user"] == "nobody"
    assert harness.broker.login_failures.count == 1
    client.end()


def test_a_virtual_host_that_is_not_known_yet_is_opened(harness: Harness, reads: Reads) -> None:
    client = Opening(harness, "new")
    assert client.received() == ["Connection.Start", "Connection.Tune"]
    harness.broker.metadata.put(VirtualHostEntity("new"))
    harness.broker.metadata.put(Permission("guest", "new", ANY, ANY, ANY))
    reads.read()
    assert client.received() == OPENED
    client.end()
    harness.broker.metadata.delete(VirtualHostEntity, "new")
    harness.broker.work.run_all(harness.broker.time_slice)


@pytest.mark.parametrize("is_there", [True, False])
def test_who_may_not_open_a_virtual_host_is_refused_after_one_read(
    harness: Harness, reads: Reads, is_there: bool
) -> None:
    if is_there:
        harness.broker.metadata.put(VirtualHostEntity("closed"))
    client = Opening(harness, "closed")
    client.received()
    reads.read()
    assert client.received() == ["Connection.Close"]
    assert not reads.waiting
    text = client.log.of("connection closed")["text"]
    assert str(text).startswith("NOT_ALLOWED - ")
    client.end()
    harness.broker.metadata.delete(VirtualHostEntity, "closed")
    harness.broker.work.run_all(harness.broker.time_slice)


@pytest.mark.parametrize("is_forced", [True, False])
def test_a_connection_may_end_meanwhile(harness: Harness, reads: Reads, is_forced: bool) -> None:
    client = Opening(harness, "/", "ann")
    client.received()
    if is_forced:
        client.connection.force_close("the broker stops")
        assert client.received() == ["Connection.Close"]
    client.end()
    harness.broker.metadata.put(User("ann", hash_password(b"guest")))
    reads.read()
    assert client.received() == []
    assert harness.broker.login_failures.count == 0


def test_a_broker_of_its_own_refuses_at_once(harness: Harness) -> None:
    client = Opening(harness, "/", "nobody")
    assert client.received() == ["Connection.Start", "Connection.Close"]
    client.end()
