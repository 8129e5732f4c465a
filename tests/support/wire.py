"""A raw AMQP 0-9-1 client on a blocking socket: scripts of single methods, right and wrong.

It keeps no protocol state and corrects nothing: every frame, and any bytes, can be sent at any
moment, and every frame that arrives is handed out as it is. Reading waits at most the connection's
timeout, so a silent peer fails a test with TimeoutError instead of hanging it. No threads.
"""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

from pamqp import base, body, commands, common, encode, exceptions, frame, header, heartbeat

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
FRAME_END = 0xCE
FRAME_OVERHEAD_BYTES = 8
FRAME_MAX_DEFAULT = 131_072
READ_TIMEOUT_S = 60.0

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8


class Undecoded(NamedTuple):
    """A frame the codec knows no method or kind for."""

    kind: int
    payload: bytes
    name: str = "undecoded"


AnyFrame = (
    base.Frame
    | body.ContentBody
    | header.ContentHeader
    | header.ProtocolHeader
    | heartbeat.Heartbeat
    | Undecoded
)
FrameT = TypeVar("FrameT", bound=AnyFrame)


class Arrived(NamedTuple):
    """A frame the server sent, and the channel it was sent on."""

    channel: int
    frame: AnyFrame


class ClosedByServerError(Exception):
    """The server closed the TCP connection."""


class Wire:
    """One TCP connection to a broker.

    With `buffer_bytes` the kernel keeps about so much for it in each direction, rather than what
    the machine is set to: the window it offers keeps the buffers of the other end small too.
    """

    def __init__(
        self, host: str, port: int, timeout_s: float = READ_TIMEOUT_S, buffer_bytes: int = 0
    ) -> None:
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._socket.settimeout(timeout_s)
        if buffer_bytes:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        try:
            self._socket.connect((host, port))
        except OSError:
            self._socket.close()
            raise
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        self._held: bytearray | None = None
        """What is sent at once, while it is put together."""
        self.frame_max = FRAME_MAX_DEFAULT
        self.bytes_sent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close_socket()

    def close_socket(self) -> None:
        """Drop the TCP connection without a word."""
        self._socket.close()

    def send_bytes(self, data: bytes) -> None:
        """Send `data` as it is.

        Raises ClosedByServerError when the connection is closed, TimeoutError when nothing is read
        at the other end.
        """
        if self._held is not None:
            self._held += data
            return
        rest = memoryview(data)
        try:
            while rest:
                count = self._socket.send(rest)
                self.bytes_sent += count
                rest = rest[count:]
        except ConnectionError as error:
            raise ClosedByServerError from error

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Send all that is sent in this context by one write at its end: no time passes between the
        parts, however slow the machine. Nothing can be read in it."""
        self._held = held = bytearray()
        yield
        self._held = None
        self.send_bytes(bytes(held))

    def send(self, value: AnyFrame, channel: int = 0) -> None:
        """Send one frame, well formed."""
        if isinstance(value, Undecoded):
            self.send_bytes(raw_frame(value.kind, channel, value.payload))
        else:
            self.send_bytes(frame.marshal(value, channel))

    def send_content(
        self,
        method: base.Frame,
        channel: int,
        content: bytes = b"",
        properties: commands.Basic.Properties | None = None,
    ) -> None:
        """Send a method with content: header, and body frames no larger than frame_max."""
        self.send_bytes(marshal_content(method, channel, content, properties, self.frame_max))

    def read_bytes(self, count: int) -> bytes:
        """Exactly `count` bytes.

        Raises ClosedByServerError when the connection ends before, TimeoutError when it is silent.
        """
        while len(self._buffer) < count:
            try:
                data = self._socket.recv(65_536)
            except ConnectionError as error:
                raise ClosedByServerError from error
            if not data:
                raise ClosedByServerError
            self._buffer += data
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def read_until_closed(self) -> bytes:
        """All bytes up to the end of the connection."""
        while True:
            try:
                data = self._socket.recv(65_536)
            except ConnectionError:
                data = b""
            if not data:
                data = bytes(self._buffer)
                self._buffer.clear()
                return data
            self._buffer += data

    def read(self) -> Arrived:
        """The next frame.

        Raises ValueError when it is larger than frame_max, and as read_bytes.
        """
        start = self.read_bytes(7)
        if start.startswith(PROTOCOL_HEADER[:4]):
            major, minor, revision = start[5], start[6], self.read_bytes(1)[0]
            return Arrived(0, header.ProtocolHeader(major, minor, revision))
        kind, channel, size = struct.unpack(">BHI", start)
        if size + FRAME_OVERHEAD_BYTES > self.frame_max:
            raise ValueError(f"a frame of {size + FRAME_OVERHEAD_BYTES} bytes was sent")
        rest = self.read_bytes(size + 1)
        if kind == BODY and size == 0:
            return Arrived(channel, body.ContentBody(b""))
        try:
            _, _, value = frame.unmarshal(start + rest)
        except exceptions.UnmarshalingException:
            return Arrived(channel, Undecoded(kind, rest[:-1]))
        return Arrived(channel, value)

    def read_one(self, kind: type[FrameT]) -> FrameT:
        """The next frame, which has to be a `kind`; raises ValueError when it is another."""
        arrived = self.read()
        if not isinstance(arrived.frame, kind):
            raise ValueError(f"expected {kind.name}, got {describe(arrived.frame)}")
        return arrived.frame

    def call(self, method: base.Frame, reply: type[FrameT], channel: int = 1) -> FrameT:
        """Send a synchronous method and read its reply, which has to come next."""
        self.send(method, channel)
        return self.read_one(reply)

    def negotiate(
        self,
        start_ok: commands.Connection.StartOk | None = None,
        tune_ok: commands.Connection.TuneOk | None = None,
        vhost: str = "/",
    ) -> commands.Connection.Start:
        """Do the handshake up to connection.open-ok; return the server's connection.start."""
        self.send_bytes(PROTOCOL_HEADER)
        start = self.read_one(commands.Connection.Start)
        self.send(start_ok or make_start_ok())
        tune = self.read_one(commands.Connection.Tune)
        answer = tune_ok or commands.Connection.TuneOk(tune.channel_max, tune.frame_max, 0)
        self.frame_max = answer.frame_max or FRAME_MAX_DEFAULT
        self.send(answer)
        self.call(commands.Connection.Open(vhost), commands.Connection.OpenOk, 0)
        return start

    def open_channel(self, channel: int = 1) -> None:
        """Open a channel."""
        self.call(commands.Channel.Open(), commands.Channel.OpenOk, channel)


def connect(host: str, port: int, timeout_s: float = READ_TIMEOUT_S) -> Wire:
    """A connection that is logged in as guest, with channel 1 open."""
    wire = Wire(host, port, timeout_s)
    wire.negotiate()
    wire.open_channel()
    return wire


def connection_close(text: str = "bye") -> commands.Connection.Close:
    """The close method of a client that is content."""
    return commands.Connection.Close(200, text, 0, 0)


def channel_close(text: str = "bye") -> commands.Channel.Close:
    """The close method of a client that is done with a channel."""
    return commands.Channel.Close(200, text, 0, 0)


CAPABILITIES: common.FieldTable = {
    "authentication_failure_close": True,
    "basic.nack": True,
    "connection.blocked": True,
    "consumer_cancel_notify": True,
    "exchange_exchange_bindings": True,
    "publisher_confirms": True,
}


def make_start_ok(
    mechanism: str = "PLAIN",
    response: str = "\x00guest\x00guest",
    capabilities: common.FieldTable | None = None,
) -> commands.Connection.StartOk:
    """A start-ok of a client with every capability, or with the given ones."""
    properties: common.FieldTable = {
        "product": "wire",
        "capabilities": CAPABILITIES if capabilities is None else capabilities,
    }
    return commands.Connection.StartOk(properties, mechanism, response, "en_US")


def marshal_content(
    method: base.Frame,
    channel: int,
    content: bytes = b"",
    properties: commands.Basic.Properties | None = None,
    frame_max: int = FRAME_MAX_DEFAULT,
) -> bytes:
    """The frames of a method with content, in one piece."""
    chunk_size = frame_max - FRAME_OVERHEAD_BYTES
    chunks = [content[at : at + chunk_size] for at in range(0, len(content), chunk_size)]
    head = header.ContentHeader(body_size=len(content), properties=properties)
    bodies = [frame.marshal(body.ContentBody(chunk), channel) for chunk in chunks]
    return b"".join([frame.marshal(method, channel), frame.marshal(head, channel), *bodies])


def raw_frame(kind: int, channel: int, payload: bytes, end: int = FRAME_END) -> bytes:
    """A frame of any kind with any payload and any end octet."""
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + bytes([end])


def raw_method(channel: int, class_id: int, method_id: int, arguments: bytes = b"") -> bytes:
    """A method frame with any ids, and any bytes for arguments."""
    return raw_frame(METHOD, channel, struct.pack(">HH", class_id, method_id) + arguments)


def raw_header(channel: int, class_id: int, body_size: int, properties: bytes = b"\0\0") -> bytes:
    """A content header frame of any class; `properties` are flags and values."""
    return raw_frame(HEADER, channel, struct.pack(">HHQ", class_id, 0, body_size) + properties)


def short_string(value: bytes | str) -> bytes:
    """A short string (AMQP 0-9-1, section 4.2.5.3), of at most 255 bytes."""
    data = value.encode() if isinstance(value, str) else value
    return bytes([len(data)]) + data


def long_string(value: bytes | str) -> bytes:
    """A long string (AMQP 0-9-1, section 4.2.5.3)."""
    data = value.encode() if isinstance(value, str) else value
    return struct.pack(">I", len(data)) + data


def raw_table(*fields: tuple[str, bytes, bytes]) -> bytes:
    """A field table of (name, type octet, encoded value), with any type octet and any value."""
    return long_string(b"".join(short_string(name) + kind + value for name, kind, value in fields))


def table(value: common.FieldTable) -> bytes:
    """A field table as pamqp encodes it."""
    return encode.field_table(value)


def describe(value: AnyFrame) -> str:
    """A frame's name and fields, for messages."""
    if isinstance(value, base.Frame):
        fields = ", ".join(f"{name}={field!r}" for name, field in value)
        return f"{value.name}({fields})"
    return value.name
