"""Peers that misbehave, and what the broker's process shows of it from outside.

Everything is measured on the real process: its memory and descriptors by /proc, its log by the
address of the peer.
"""

import os
import re
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

from pamqp import commands

from tests.support.brokers import Broker
from tests.support.wire import (
    READ_TIMEOUT_S,
    ClosedByServerError,
    Wire,
    make_start_ok,
    marshal_content,
)

MEGABYTE = 1024 * 1024
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
STANDSTILL_S = 0.5
"""A socket that takes no byte for so long is not read at the other end."""


def resident_bytes(broker: Broker) -> int:
    """Resident memory of the broker's process."""
    return int(Path(f"/proc/{broker.pid}/statm").read_text().split()[1]) * PAGE_BYTES


def descriptors(broker: Broker) -> int:
    """File descriptors the broker's process has open."""
    return len(os.listdir(f"/proc/{broker.pid}/fd"))


def sockets(broker: Broker) -> int:
    """Sockets the broker's process has open; files come and go with what the store does."""
    directory = f"/proc/{broker.pid}/fd"
    return sum(target.startswith("socket:") for target in _targets(directory))


def _targets(directory: str) -> Iterator[str]:
    for name in os.listdir(directory):
        # One that was closed since it was listed has no target any more.
        with suppress(FileNotFoundError):
            yield os.readlink(f"{directory}/{name}")


def log_lines(broker: Broker, text: str) -> list[str]:
    """The lines of the broker's log in which `text` stands between blanks."""
    word = re.compile(rf"(?<!\S){re.escape(text)}(?!\S)")
    return [line for line in broker.log_text().splitlines() if word.search(line)]


class Peer(Wire):
    """A raw client whose socket can also be ignored, filled up, and reset."""

    @property
    def address(self) -> str:
        """Its own end, as the broker's log names it."""
        host, port = self._socket.getsockname()
        return f"{host}:{port}"

    @property
    def log_field(self) -> str:
        """What stands in each line of the broker's log that is about this peer."""
        return f"peer={self.address}"

    def reset(self) -> None:
        """Drop the connection with a reset, as a crashed host or a firewall would."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def is_closed(self) -> bool:
        """Whether the broker has closed the connection; what it sent can still be read."""
        self._socket.setblocking(False)
        try:
            data = self._socket.recv(65_536)
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
        finally:
            self._socket.settimeout(READ_TIMEOUT_S)
        self._buffer += data
        return not data

    def read_close(self) -> commands.Connection.Close | None:
        """The connection.close the broker ends it with, and None where it just ends.

        It is answered, and the end of the connection is waited for.
        """
        close = None
        try:
            while True:
                arrived = self.read().frame
                if isinstance(arrived, commands.Connection.Close):
                    close = arrived
                    self.send(commands.Connection.CloseOk())
        except ClosedByServerError:
            return close

    def fill(self, data: bytes, most: int, stopped: Callable[[], bool] = lambda: True) -> int:
        """Send `data` again and again until the broker reads no more, or `most` bytes are sent.

        A standstill counts once `stopped()` is true: before, the broker may have been slow.

        Returns how many bytes the socket took; the last piece may be cut short. Raises TimeoutError
        when the broker reads no more, and nothing says why.
        """
        sent = 0
        deadline = time.monotonic() + READ_TIMEOUT_S
        self._socket.settimeout(STANDSTILL_S)
        try:
            while sent < most:
                try:
                    sent += self._socket.send(data[sent % len(data) :])
                    deadline = time.monotonic() + READ_TIMEOUT_S
                except TimeoutError:
                    if stopped():
                        break
                    if time.monotonic() > deadline:
                        raise
        finally:
            self._socket.settimeout(READ_TIMEOUT_S)
        return sent

    def swallow(self) -> None:
        """Read and drop what comes, until nothing comes for STANDSTILL_S."""
        self._socket.settimeout(STANDSTILL_S)
        try:
            while self._socket.recv(1_000_000):
                pass
        except TimeoutError:
            pass
        finally:
            self._socket.settimeout(READ_TIMEOUT_S)

    def has_answer(self) -> bool:
        """Whether there is something to read."""
        return bool(self._buffer or select.select([self._socket], [], [], 0)[0])

    def declare(self, queue: str) -> None:
        """Declare a queue, or see that it is there."""
        self.call(commands.Queue.Declare(queue=queue), commands.Queue.DeclareOk)

    def delete(self, queue: str) -> int:
        """Delete a queue; how many messages it had."""
        delete = commands.Queue.Delete(queue=queue)
        return self.call(delete, commands.Queue.DeleteOk).message_count or 0

    def count(self, queue: str) -> int:
        """Messages ready in a queue."""
        declare = commands.Queue.Declare(queue=queue, passive=True)
        return self.call(declare, commands.Queue.DeclareOk).message_count or 0

    def publish(self, queue: str, body: bytes) -> None:
        """Publish one message."""
        self.send_content(commands.Basic.Publish(routing_key=queue), 1, body)

    def consume(self, queue: str, tag: str = "tag", *, no_ack: bool = True) -> None:
        """Start consuming; deliveries follow."""
        consume = commands.Basic.Consume(queue=queue, consumer_tag=tag, no_ack=no_ack)
        self.call(consume, commands.Basic.ConsumeOk)

    def read_content(self) -> bytes:
        """The body of the delivery, get-ok or return that comes next."""
        method = self.read().frame
        if not isinstance(
            method, commands.Basic.Deliver | commands.Basic.GetOk | commands.Basic.Return
        ):
            raise ValueError(f"expected content, got {method.name}")
        return self.read_body()

    def read_method(self) -> bytes:
        """The payload of the frame that comes next: what no codec has looked at."""
        size = int.from_bytes(self.read_bytes(7)[3:7], "big")
        return self.read_bytes(size + 1)[:-1]

    def read_body(self) -> bytes:
        """The content whose method was read already."""
        start = self.read_bytes(7)
        size = int.from_bytes(start[3:7], "big")
        missing = int.from_bytes(self.read_bytes(size + 1)[4:12], "big")
        parts = []
        while missing:
            size = int.from_bytes(self.read_bytes(7)[3:7], "big")
            parts.append(self.read_bytes(size + 1)[:-1])
            missing -= size
        return b"".join(parts)


class Peers:
    """The peers of one test, or one module; all are closed when it is over."""

    def __init__(self, broker: Broker, channel_max: int = 2047, buffer_bytes: int = 0) -> None:
        self.broker = broker
        self._channel_max = channel_max
        self._buffer_bytes = buffer_bytes
        self._peers: list[Peer] = []

    def connect(self) -> Peer:
        """A connection that has not said anything yet."""
        broker = self.broker
        peer = Peer(broker.host, broker.port, buffer_bytes=self._buffer_bytes)
        self._peers.append(peer)
        return peer

    def log_in(self, *capabilities: str, heartbeat: int = 0) -> Peer:
        """A connection that is logged in as guest with channel 1 open."""
        peer = self.connect()
        start_ok = make_start_ok(capabilities=dict.fromkeys(capabilities, True))
        peer.negotiate(start_ok, commands.Connection.TuneOk(self._channel_max, 131_072, heartbeat))
        peer.open_channel()
        return peer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for peer in self._peers:
            peer.close_socket()


class Numbered:
    """Message bodies that say which they are: a number, and filling."""

    def __init__(self, size: int) -> None:
        self._filling = b"." * (size - 8)

    def body(self, number: int) -> bytes:
        return number.to_bytes(8, "big") + self._filling

    @staticmethod
    def number(body: bytes) -> int:
        return int.from_bytes(body[:8], "big")


class Sending(threading.Thread):
    """Sends pieces one by one, as fast as they are read at the other end."""

    def __init__(self, peer: Peer, pieces: Iterable[bytes]) -> None:
        super().__init__(daemon=True)
        self._peer = peer
        self._pieces = pieces
        self._last = b""
        self.sent = 0
        """Pieces that went into the socket completely."""
        self.error: Exception | None = None
        """What stopped it before it was done."""
        self.start()

    def run(self) -> None:
        try:
            for piece in self._pieces:
                self._peer.send_bytes(piece)
                self.sent += 1
                if self._last:
                    self._peer.send_bytes(self._last)
                    return
        except (ClosedByServerError, OSError) as error:
            self.error = error

    def settle(self) -> None:
        """Return when all is sent, or when nothing moves for STANDSTILL_S."""
        before = -1
        while self.is_alive() and self._peer.bytes_sent != before:
            before = self._peer.bytes_sent
            self.join(STANDSTILL_S)

    def finish(self, last: bytes) -> None:
        """Have nothing follow the piece under way but `last`, which is not counted."""
        self._last = last


class Sender(Sending):
    """Publishes numbered messages."""

    def __init__(
        self,
        peer: Peer,
        queue: str,
        size: int,
        count: int,
        properties: commands.Basic.Properties | None = None,
    ) -> None:
        method = commands.Basic.Publish(routing_key=queue)
        bodies = Numbered(size)
        pieces = (
            marshal_content(method, 1, bodies.body(number), properties) for number in range(count)
        )
        super().__init__(peer, pieces)


class Watch(threading.Thread):
    """Notes the maximum of a figure, until it is stopped."""

    def __init__(self, figure: Callable[[], int]) -> None:
        super().__init__(daemon=True)
        self._figure = figure
        self._stopped = threading.Event()
        self.most = figure()
        self.start()

    def run(self) -> None:
        while not self._stopped.wait(0.02):
            self.most = max(self.most, self._figure())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self.join()
