"""Two sockets whose octets are passed on to each other through one buffer."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, cast

from leveret.config import Config
from leveret.engine.broker import Broker
from leveret.net.loop_scheduler import LoopScheduler
from leveret.net.splice import BUFFER_BYTES, Splice


class OneSocket(asyncio.Transport):
    """A transport, and what waits in it to be written."""

    def __init__(self) -> None:
        super().__init__()
        self.sock, self.peer = socket.socketpair()
        for each in (self.sock, self.peer):
            each.setblocking(False)
        self.protocol: asyncio.BufferedProtocol | None = None
        self.reads = asyncio.Event()
        self.waiting: list[bytes] = []

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.sock if name == "socket" else default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = cast("asyncio.BufferedProtocol", protocol)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self.waiting))

    def is_closing(self) -> bool:
        return False

    def is_reading(self) -> bool:
        return self.reads.is_set()

    def pause_reading(self) -> None:
        self.reads.clear()

    def resume_reading(self) -> None:
        self.reads.set()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert isinstance(data, bytes)
        self.waiting.append(data)

    def receive(self, data: bytes) -> None:
        """Have its protocol read octets."""
        assert self.protocol is not None
        buffer = cast("memoryview", self.protocol.get_buffer(-1))
        buffer[: len(data)] = data
        self.protocol.buffer_updated(len(data))

    def sent(self) -> bytes:
        """What its peer can read, and then what waits."""
        try:
            written = self.peer.recv(2 * BUFFER_BYTES)
        except BlockingIOError:
            written = b""
        return written + b"".join(self.waiting)

    def close(self) -> None:
        self.sock.close()
        self.peer.close()


def spliced(test: Callable[[OneSocket, OneSocket], Any]) -> None:
    """Run a test with the sockets of a client and of a link that are spliced."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        scheduler = LoopScheduler(loop, Broker(Config()), clock_ns=lambda: 0)
        client, owner = OneSocket(), OneSocket()
        buffer = memoryview(bytearray(BUFFER_BYTES))
        Splice(scheduler, buffer, client, owner, lambda _splice: None).begin(b"", b"")
        assert (client.is_reading(), owner.is_reading()) == (True, True)
        result = test(client, owner)
        if result is not None:
            await result
        client.close()
        owner.close()

    asyncio.run(run())


def test_what_comes_is_written_at_once() -> None:
    def test(client: OneSocket, owner: OneSocket) -> None:
        client.receive(b"to the owner")
        owner.receive(b"to the client")
        assert (client.waiting, owner.waiting) == ([], [])
        assert (client.sent(), owner.sent()) == (b"to the client", b"to the owner")

    spliced(test)


def test_what_a_socket_does_not_take_waits_though_the_buffer_is_used_again() -> None:
    def test(client: OneSocket, owner: OneSocket) -> None:
        owner.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        large = bytes(range(256)) * (BUFFER_BYTES // 256)
        client.receive(large)
        assert owner.waiting
        client.receive(b"more")
        owner.receive(b"of the owner")
        assert owner.sent() == large + b"more"
        assert client.sent() == b"of the owner"

    spliced(test)


def test_after_a_read_that_fills_the_buffer_others_have_their_turn() -> None:
    async def test(client: OneSocket, owner: OneSocket) -> None:
        client.receive(bytes(BUFFER_BYTES - 1))
        assert client.is_reading()
        client.receive(bytes(BUFFER_BYTES))
        assert not client.is_reading()
        assert owner.is_reading()
        await client.reads.wait()

    spliced(test)
