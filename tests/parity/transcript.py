"""Frames as lines of text, the same for the same frame whichever broker sent it.

When a message died is not shown, and of its deaths not what only brokers newer than 3.10 tell.
A refused publish is shown with its number only: RabbitMQ calls it several where there is one.
Which right a refusal names is not shown: brokers older than 3.11 name none.
Names a server makes up (amq.gen-…, amq.ctag-…, amq.rabbitmq.reply-to.…) are numbered in their
order of appearance. Of the server properties only the capabilities are shown.
Body frames of one content are one line: how a broker splits a body is not compared.
"""

import re
import zlib
from collections.abc import Sequence
from copy import copy
from typing import Any

from pamqp import base, body, commands, header

from leveret.errors import ReplyCode
from tests.support.wire import AnyFrame, Arrived, Undecoded

FIELDS_NOT_SHOWN = frozenset({"ticket", "out_of_band", "insist", "channel_id", "client_properties"})
BYTES_SHOWN_MAX = 48

_MADE_UP_NAME = re.compile(
    r"(amq\.gen-|amq\.ctag-)[A-Za-z0-9_-]{22}"
    r"|(amq\.rabbitmq\.reply-to\.)[A-Za-z0-9+/=._-]{22,}"
)
_TIME_OF_DEATH = re.compile(r"'time': datetime\.datetime\([^)]*\)")
NEWER_HEADERS = frozenset(f"x-last-death-{what}" for what in ("reason", "queue", "exchange"))
_RIGHT = re.compile(r"(?<=ACCESS_REFUSED - )(?:configure|write|read) (?=access to )")
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")


class Names:
    """Numbers the names a server made up."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def hide(self, line: str) -> str:
        """The line with every made-up name replaced by its kind and number."""
        return _MADE_UP_NAME.sub(self._number, line)

    def _number(self, match: re.Match[str]) -> str:
        kind = match[1] or match[2]
        known = sum(1 for other in self._seen if other.startswith(kind))
        return self._seen.setdefault(match[0], f"{kind}#{known + 1}")


def sent_line(client: str, value: AnyFrame, channel: int) -> str:
    """One sent frame; fields that are empty, zero or false are left out."""
    return f"{client} > {channel} {_frame_text(value, only_set=True)}"


def sent_bytes_line(client: str, data: bytes) -> str:
    """Bytes sent as they are."""
    return f"{client} > bytes {_bytes_text(data)}"


def received_lines(client: str, arrived: Sequence[Arrived]) -> list[str]:
    """The frames of one step, channel by channel, channel 0 last."""
    lines: list[str] = []
    channels = sorted({one.channel for one in arrived}, key=lambda number: number or 65_536)
    for channel in channels:
        frames = [one.frame for one in arrived if one.channel == channel]
        lines += (f"{client} < {channel} {text}" for text in _channel_texts(frames))
    return lines


def _channel_texts(frames: Sequence[AnyFrame]) -> list[str]:
    texts: list[str] = []
    content: bytes | None = None
    for value in frames:
        if isinstance(value, body.ContentBody):
            content = (content or b"") + value.value
            continue
        if content is not None:
            texts.append(f"body {_bytes_text(content)}")
            content = None
        if isinstance(value, commands.Basic.Nack):
            value = commands.Basic.Nack(value.delivery_tag, requeue=False)
        texts.append(_frame_text(value, only_set=False))
    if content is not None:
        texts.append(f"body {_bytes_text(content)}")
    return texts


def _frame_text(value: AnyFrame, *, only_set: bool) -> str:
    if isinstance(value, commands.Connection.Start):
        return _start_text(value)
    if isinstance(value, base.Frame):
        return _RIGHT.sub("", " ".join([method_name(value), *_fields(value, only_set=only_set)]))
    if isinstance(value, header.ContentHeader):
        fields = _fields(_as_of_310(value.properties), only_set=True)
        text = " ".join(["header", f"body_size={value.body_size}", *fields])
        return _TIME_OF_DEATH.sub("'time': <then>", text) if "'x-death'" in text else text
    if isinstance(value, body.ContentBody):
        return f"body {_bytes_text(value.value)}"
    if isinstance(value, Undecoded):
        return f"undecoded kind={value.kind} payload={value.payload!r}"
    if isinstance(value, header.ProtocolHeader):
        return f"protocol header {value.major_version}-{value.minor_version}-{value.revision}"
    return "heartbeat"


def _as_of_310(properties: commands.Basic.Properties) -> commands.Basic.Properties:
    if properties.headers is None or "x-death" not in properties.headers:
        return properties
    shown = copy(properties)
    shown.headers = {
        name: [_sorted(death) for death in value] if isinstance(value, list) else value
        for name, value in _sorted(properties.headers).items()
        if name not in NEWER_HEADERS
    }
    return shown


def _sorted(table: Any) -> Any:
    """A table by name: RabbitMQ sorts what it changes."""
    return dict(sorted(table.items())) if isinstance(table, dict) else table


def received(transcript: Sequence[str]) -> list[str]:
    """The lines of a transcript that the server sent."""
    return [line for line in transcript if line.partition(" ")[2].startswith("<")]


def got(value: AnyFrame, channel: int = 1, client: str = "a") -> str:
    """The line of one frame that a client received."""
    return received_lines(client, [Arrived(channel, value)])[0]


def connection_refused(code: ReplyCode, text: str, class_id: int, method_id: int) -> list[str]:
    """The lines of a connection closed with an error."""
    method = commands.Connection.Close(int(code), f"{code.name} - {text}", class_id, method_id)
    return [got(method, 0), "a < closed"]


def channel_refused(code: ReplyCode, text: str, class_id: int, method_id: int) -> list[str]:
    """The lines of channel 1 closed with an error."""
    return [got(commands.Channel.Close(int(code), f"{code.name} - {text}", class_id, method_id))]


def method_name(method: base.Frame | type[base.Frame]) -> str:
    """A method's name as the specification spells it."""
    return _CAPITAL.sub("-", method.name).lower()


def _fields(value: base.Frame | commands.Basic.Properties, *, only_set: bool) -> list[str]:
    return [
        f"{name}={field!r}"
        for name, field in value
        if name not in FIELDS_NOT_SHOWN
        and not name.startswith("reserved")
        and (field or (not only_set and field is not None))
    ]


def _start_text(start: commands.Connection.Start) -> str:
    claimed = start.server_properties.get("capabilities")
    capabilities = dict(sorted(claimed.items())) if isinstance(claimed, dict) else {}
    return (
        f"connection.start version={start.version_major}.{start.version_minor}"
        f" mechanisms={start.mechanisms!r} locales={start.locales!r} capabilities={capabilities!r}"
    )


def _bytes_text(data: bytes) -> str:
    if len(data) <= BYTES_SHOWN_MAX:
        return repr(data)
    return f"{data[:16]!r}… ({len(data)} bytes, crc32 {zlib.crc32(data):08x})"
