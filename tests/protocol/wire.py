"""Octets of frames as a client writes them, and what a broker wrote as values to compare.

pamqp encodes and decodes here, so that the broker's own codec is compared with another one. Frames
that no correct client would send are made with `frame`.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias, TypeVar

from pamqp import body as bodies
from pamqp import frame as pamqp_frame
from pamqp import header as headers
from pamqp import heartbeat
from pamqp.base import Frame
from pamqp.commands import Basic, Channel, Connection

METHOD: Final = 1
HEADER: Final = 2
BODY: Final = 3
HEARTBEAT_TYPE: Final = 8
FRAME_END: Final = 0xCE
HEADER_BYTES: Final = 7
"""Octets of a frame before its payload: type, channel, size."""

FrameT = TypeVar("FrameT", bound=Frame)

PROTOCOL_HEADER: Final = b"AMQP\x00\x00\x09\x01"
HEARTBEAT: Final = b"\x08\x00\x00\x00\x00\x00\x00\xce"

CHANNEL_CLOSE_OK: Final = Channel.CloseOk()
CONNECTION_CLOSE_OK: Final = Connection.CloseOk()

NOT_SHOWN: Final = {"capabilities", "channel_id", "cluster_id", "known_hosts", "ticket"}
"""Attributes that the specification reserves: pamqp has defaults of its own for them."""


@dataclass(frozen=True)
class Content:
    """A method of the server that carries a message, with the message."""

    method: Frame
    body: bytes
    properties: Basic.Properties = field(default_factory=Basic.Properties)
    frames: tuple[int, ...] = ()
    """Payload sizes of its body frames. What is expected leaves it empty."""


Received: TypeAlias = Frame | Content | str
"""What a client receives: `"heartbeat"` and `"header"` are texts."""


def frame(kind: int, channel: int, payload: bytes, end: int = FRAME_END) -> bytes:
    """Any frame, right or wrong."""
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + bytes((end,))


def method_frame(channel: int, index: int, arguments: bytes = b"") -> bytes:
    """A method by its class and method id (upper and lower 16 bits), with any arguments."""
    return frame(METHOD, channel, struct.pack(">I", index) + arguments)


def method_frames(channel: int, *methods: Frame) -> bytes:
    """The frames of methods, as pamqp writes them."""
    return b"".join(pamqp_frame.marshal(method, channel) for method in methods)


def channel_close(channel: int) -> bytes:
    """A client's channel.close."""
    return method_frames(channel, Channel.Close(200, "done", 0, 0))


def connection_close() -> bytes:
    """A client's connection.close."""
    return method_frames(0, Connection.Close(200, "done", 0, 0))


def unvalidated(kind: type[FrameT], **values: object) -> FrameT:
    """A method with values that a broker accepts and pamqp refuses, as names in any script."""
    loose = type(kind.__name__, (kind,), {"validate": lambda method: None})
    method: FrameT = loose(**values)
    return method


def content_header(
    channel: int, body_size: int, properties: Basic.Properties | None = None
) -> bytes:
    """A content header frame of class basic."""
    made = headers.ContentHeader(body_size=body_size, properties=properties or Basic.Properties())
    return pamqp_frame.marshal(made, channel)


def content_body(channel: int, octets: bytes) -> bytes:
    """A body frame."""
    return frame(BODY, channel, octets)


def publish(
    channel: int,
    routing_key: str,
    body: bytes = b"",
    *,
    exchange: str = "",
    mandatory: bool = False,
    properties: Basic.Properties | None = None,
    cut_at: int = 100_000,
) -> bytes:
    """The frames of a whole message; a body frame holds at most `cut_at` octets."""
    method = Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory)
    parts = [method_frames(channel, method), content_header(channel, len(body), properties)]
    for at in range(0, len(body), cut_at):
        parts.append(content_body(channel, body[at : at + cut_at]))  # noqa: PERF401
    return b"".join(parts)


def frames_in(data: bytes) -> Iterator[bytes]:
    """Cut octets at the ends of their frames; a protocol header counts as a frame."""
    while data:
        if data.startswith(b"AMQP"):
            size = len(PROTOCOL_HEADER)
        else:
            size = HEADER_BYTES + int.from_bytes(data[3:7], "big") + 1
            assert data[size - 1 : size] == bytes((FRAME_END,)), f"no frame: {data[:size]!r}"
        yield data[:size]
        data = data[size:]


def method_of(octets: bytes) -> int:
    """The class and method id of a frame, 0 if it is no method frame."""
    return int.from_bytes(octets[7:11], "big") if octets[0] == METHOD else 0


def decode(data: bytes) -> Iterator[tuple[int, Received]]:
    """Decode octets of the broker: channels and what was received on them, contents as a whole."""
    frames = frames_in(data)
    for octets in frames:
        if octets == PROTOCOL_HEADER:
            yield 0, "header"
            continue
        _, channel, value = pamqp_frame.unmarshal(octets)
        if isinstance(value, heartbeat.Heartbeat):
            yield channel, "heartbeat"
        elif isinstance(value, Basic.Deliver | Basic.GetOk | Basic.Return):
            yield channel, _content(channel, value, frames)
        else:
            assert isinstance(value, Frame), f"{value} by itself"
            yield channel, value


def _content(channel: int, method: Frame, frames: Iterator[bytes]) -> Content:
    _, number, header = pamqp_frame.unmarshal(next(frames))
    assert isinstance(header, headers.ContentHeader)
    assert number == channel
    body = b""
    sizes = []
    while len(body) < header.body_size:
        _, number, part = pamqp_frame.unmarshal(next(frames))
        assert isinstance(part, bodies.ContentBody)
        assert number == channel
        body += part.value
        sizes.append(len(part.value))
    assert len(body) == header.body_size
    return Content(method, body, header.properties, tuple(sizes))


def text_of(channel: int, received: Received) -> str:
    """A line of the transcript: equal lines mean equal frames."""
    if isinstance(received, str):
        return f"{channel} {received}"
    if isinstance(received, Frame):
        return f"{channel} {_method_text(received)}"
    properties = {name: value for name, value in received.properties if value not in (None, "")}
    return f"{channel} {_method_text(received.method)} {properties} {_body_text(received.body)}"


def _method_text(method: Frame) -> str:
    shown = [f"{name}={value!r}" for name, value in method if name not in NOT_SHOWN]
    return f"{method.name}({', '.join(shown)})"


def _body_text(body: bytes) -> str:
    return repr(body) if len(body) <= 80 else f"{len(body)} octets, {body[:40]!r}, {hash(body)}"
