"""Method frames and content headers, through pamqp.

Every method but the hot ones of frames.py is read and written here, and no other file knows how
pamqp works inside. pamqp knows the methods and their fields, and converts octets to values and
back. It trusts its input and validates its output; a broker needs the reverse, so:

- Before pamqp decodes a method, its arguments are checked by pamqp's own field types: every length
  is in bounds, every table is well-formed, and no octet is left over. What RabbitMQ refuses is
  refused with its reply code and text; only a malformed table is 502 here, where RabbitMQ drops the
  connection.
- What RabbitMQ accepts is accepted. Where pamqp has no value for it, a near one is read: for a
  timestamp after the year 9999 the end of 9999, for a name in a table or a text property that is
  not UTF-8 the same with `?` for its octets beyond ASCII. The octets of a message never change by
  that.
- pamqp's validation of method fields is not used: names of 255 octets in any script are legal.
- Tables are read by `engine/values/table_decoding.py`, since pamqp takes time with the square of
  their length. They are written with pamqp's encoders for single values but not its choice of
  types: it cuts names to 128 octets, floats to four, and refuses the `bytes` it decodes.
"""

import struct
from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias

from pamqp import encode as encoders
from pamqp.base import Frame
from pamqp.commands import INDEX_MAPPING, Basic, Channel, Queue
from pamqp.common import FieldTable, FieldValue

from leveret.engine.values import encoded_table
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.table_decoding import decode_table
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import SHORT_STRING_BYTES_MAX
from leveret.protocol.wire.frames import FRAME_END, FRAME_METHOD

Properties: TypeAlias = Basic.Properties

FRAME_END_OCTET: Final = bytes([FRAME_END])

FIXED_SIZES: Final = {"octet": 1, "short": 2, "long": 4, "longlong": 8, "timestamp": 8}
"""Octets of the field types that have a size; the others begin with their length."""

_EMPTY_TABLE: Final = b"\0\0\0\0"


class AccessRequest(Frame):
    """access.request: not in AMQP 0-9-1, so not in pamqp, but RabbitMQ answers it old clients."""

    # In the order of the wire.
    __slots__: ClassVar[list[str]] = [  # noqa: RUF023
        "realm",
        "exclusive",
        "passive",
        "active",
        "write",
        "read",
    ]
    frame_id: ClassVar[int] = 10
    index: ClassVar[int] = 0x001E000A
    name: ClassVar[str] = "Access.Request"
    synchronous: ClassVar[bool] = True
    valid_responses: ClassVar[list[str]] = ["Access.RequestOk"]
    _realm = "shortstr"
    _exclusive = "bit"
    _passive = "bit"
    _active = "bit"
    _write = "bit"
    _read = "bit"


class AccessRequestOk(Frame):
    """access.request-ok: a ticket, which no method checks."""

    __slots__: ClassVar[list[str]] = ["ticket"]
    frame_id: ClassVar[int] = 11
    index: ClassVar[int] = 0x001E000B
    name: ClassVar[str] = "Access.RequestOk"
    _ticket = "short"

    def __init__(self, ticket: int = 1) -> None:
        self.ticket = ticket


class QueueDeclareOk(Queue.DeclareOk):
    """queue.declare-ok with any name; pamqp allows a few ASCII characters only."""

    def validate(self) -> None:
        """Accept any name."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What pamqp knows about a method: its class, its name, and the layout of its arguments.

    `kinds` has one field type for each encoded field. Bits in a row, of which no method has more
    than eight, are one octet; `fields` has pairs of attribute and field type, and `table` is the
    attribute that is a table, of which no method has more than one.
    """

    method: type[Frame]
    name: str
    kinds: tuple[str, ...]
    fields: tuple[tuple[str, str], ...]
    table: str


def _spelled(name: str) -> str:
    """pamqp's `Queue.DeclareOk` as the specification spells it: `queue.declare-ok`."""
    class_name, method = name.split(".")
    hyphened = "".join(f"-{char.lower()}" if char.isupper() else char for char in method)
    return f"{class_name.lower()}.{hyphened.removeprefix('-')}"


def _layout(method: type[Frame]) -> Layout:
    fields = tuple((field, method.amqp_type(field)) for field in method.attributes())
    kinds = []
    previous = ""
    for _, kind in fields:
        if kind != "bit":
            kinds.append(kind)
        elif previous != "bit":
            kinds.append("octet")
        previous = kind
    table = next((field for field, kind in fields if kind == "table"), "")
    return Layout(method, _spelled(method.name), tuple(kinds), fields, table)


METHODS: Final[tuple[type[Frame], ...]] = (
    *INDEX_MAPPING.values(),
    AccessRequest,
    AccessRequestOk,
)

LAYOUTS: Final = {method.index: _layout(method) for method in METHODS}
"""Class id in the upper, method id in the lower 16 bits -> the method."""

PROPERTIES: Final = tuple(
    (name, Properties.flags[name], Properties.amqp_type(name)) for name in Properties.attributes()
)
"""Attribute, flag and field type of each property, in the order of the wire."""


def method_name(class_id: int, method_id: int) -> str:
    """The name as the specification spells it, such as `queue.declare-ok`; `60.99` if unknown."""
    layout = LAYOUTS.get(class_id << 16 | method_id)
    return layout.name if layout else f"{class_id}.{method_id}"


def decode(payload: bytes) -> Frame:
    """The method in the payload of a method frame: class id, method id, arguments.

    Raises AmqpError, and nothing else: 503 for a method that does not exist, 501 for arguments that
    are too short, too long or have a short string that is not UTF-8, 502 for a malformed table. A
    long string that is not UTF-8 is `bytes` (see `octets`).
    """
    layout = LAYOUTS.get(int.from_bytes(payload[:4], "big")) if len(payload) >= 4 else None
    if layout is None:
        raise _no_method(payload)
    _check_arguments(payload, layout)
    method = layout.method.__new__(layout.method)
    try:
        _unmarshal(method, payload, layout)
    except (ValueError, OverflowError, OSError):
        _unmarshal(method, _softened(payload, 4, layout.kinds), layout)
    if isinstance(method, Queue.Declare | Basic.Consume):
        method.arguments = Arguments(method.arguments or {}, argument_types(payload, method))
    return method


def _unmarshal(method: Frame, payload: bytes, layout: Layout) -> None:
    """Decode the checked arguments of a method: pamqp does it but for the table, if there is one.

    :raises ValueError, OverflowError, OSError: for what pamqp cannot represent.
    """
    if "table" not in layout.kinds:
        method.unmarshal(payload[4:])
        return
    start = 4
    for kind in layout.kinds[: layout.kinds.index("table")]:
        start = _end_of(payload, start, kind)
    end = _end_of(payload, start, "table")
    method.unmarshal(payload[4:start] + _EMPTY_TABLE + payload[end:])
    setattr(method, layout.table, decode_table(payload, start))


def _no_method(payload: bytes) -> AmqpError:
    if len(payload) < 4:
        return AmqpError(ReplyCode.FRAME_ERROR, f"cannot decode {_erlang(payload)}")
    return AmqpError(ReplyCode.COMMAND_INVALID, "unimplemented method")


def _erlang(octets: bytes) -> str:
    """Octets as RabbitMQ prints them; a reply text has space for no more than the first 128."""
    return f"<<{','.join(map(str, octets[:128]))}>>"


def _check_arguments(payload: bytes, layout: Layout) -> None:
    pos = 4
    stop = len(payload)
    for kind in layout.kinds:
        start = pos
        pos = _end_of(payload, pos, kind)
        if pos > stop:
            break
        if kind == "table":
            try:
                encoded_table.check_table(payload, start, stop)
            except ValueError as error:
                raise AmqpError(ReplyCode.SYNTAX_ERROR, f"{layout.name}: {error}") from error
        elif kind == "shortstr":
            _check_utf8(payload[start + 1 : pos])
    if pos != stop:
        raise undecodable(payload)


def undecodable(payload: bytes) -> AmqpError:
    """The error of a method whose arguments are too short or too long."""
    return AmqpError(ReplyCode.FRAME_ERROR, f"cannot decode {_erlang(payload[4:])}")


def _check_utf8(octets: bytes) -> None:
    try:
        octets.decode()
    except UnicodeDecodeError as error:
        raise AmqpError(ReplyCode.FRAME_ERROR, "Malformed UTF-8 in shortstr") from error


def _end_of(data: bytes, pos: int, kind: str) -> int:
    """The position after the field at `pos`, which may be after the end of the data."""
    size = FIXED_SIZES.get(kind)
    if size is not None:
        return pos + size
    width = 1 if kind == "shortstr" else 4
    return pos + width + int.from_bytes(data[pos : pos + width], "big")


def _softened(data: bytes, pos: int, kinds: tuple[str, ...]) -> bytes:
    """The same fields, with a near value of the same size for each that pamqp cannot represent."""
    copy = bytearray(data)
    for kind in kinds:
        end = _end_of(data, pos, kind)
        if kind == "table":
            encoded_table.soften_values(data, copy, pos + 4, end, True)
        elif kind == "shortstr":
            copy[pos + 1 : end] = encoded_table.name_text(data[pos + 1 : end]).encode()
        elif kind == "timestamp":
            encoded_table.soften_timestamp(copy, pos)
        pos = end
    return bytes(copy)


def argument_types(payload: bytes, method: Frame) -> dict[str, str]:
    """Name -> RabbitMQ's name of the type, for the `arguments` of the method `payload` held.

    Empty for a method without `arguments`. The payload was decoded, so it is well-formed.
    """
    pos = 4
    for kind in LAYOUTS[method.index].kinds:
        if kind == "table":
            return encoded_table.table_types(payload, pos)
        pos = _end_of(payload, pos, kind)
    return {}


def octets(value: str | bytes | None) -> bytes:
    """The octets of a long string that pamqp decoded, whether or not they were UTF-8."""
    return value.encode() if isinstance(value, str) else value or b""


def encode(method: Frame, channel: int) -> bytes:
    """The whole frame of a method on a channel.

    A value of None is written as empty or 0. A short string of more than 255 octets is cut at the
    last whole character that fits.
    """
    parts = [struct.pack(">I", method.index)]
    bits = bit_count = 0
    for field, kind in LAYOUTS[method.index].fields:
        if kind == "bit":
            bits |= bool(getattr(method, field)) << bit_count
            bit_count += 1
            continue
        if bit_count:
            parts.append(bytes((bits,)))
            bits = bit_count = 0
        parts.append(_encode_field(_sent_value(method, field), kind))
    if bit_count:
        parts.append(bytes((bits,)))
    payload = b"".join(parts)
    return struct.pack(">BHI", FRAME_METHOD, channel, len(payload)) + payload + FRAME_END_OCTET


def _sent_value(method: Frame, field: str) -> FieldValue:
    if isinstance(method, Channel.OpenOk):
        return ""  # pamqp's default is "0"; RabbitMQ leaves the reserved field empty
    value: FieldValue = getattr(method, field)
    return value


def _encode_field(value: FieldValue, kind: str) -> bytes:
    if kind == "shortstr":
        return _short_string(value if isinstance(value, str) else "")
    if kind == "longstr":
        return _long_string(value)
    if kind == "table":
        return encode_table(value if isinstance(value, dict) else {})
    if kind == "timestamp" and isinstance(value, int):
        return struct.pack(">Q", value)
    return encoders.by_type(0 if value is None else value, kind)


def _short_string(text: str) -> bytes:
    raw = text.encode()
    if len(raw) > SHORT_STRING_BYTES_MAX:
        raw = raw[:SHORT_STRING_BYTES_MAX].decode("utf-8", "ignore").encode()
    return bytes((len(raw),)) + raw


def _long_string(value: FieldValue) -> bytes:
    raw = octets(value if isinstance(value, str | bytes) else None)
    return struct.pack(">I", len(raw)) + raw


def encode_table(table: FieldTable) -> bytes:
    """A field table with its length, in the order of the dict.

    Integers are `long`, floats `double`, `str` and `bytes` `longstr`: as RabbitMQ writes the values
    it adds itself (`count` of `x-death`). Raises TypeError for a value no type letter fits.
    """
    body = b"".join(_short_string(name) + _table_value(value) for name, value in table.items())
    return struct.pack(">I", len(body)) + body


def _table_value(value: FieldValue) -> bytes:
    if isinstance(value, str | bytes):
        return b"S" + _long_string(value)
    if isinstance(value, dict):
        return b"F" + encode_table(value)
    if isinstance(value, list):
        body = b"".join(map(_table_value, value))
        return b"A" + struct.pack(">I", len(body)) + body
    if isinstance(value, int) and not isinstance(value, bool):
        return b"l" + encoders.long_long_int(value)
    if isinstance(value, float):
        return b"d" + encoders.double(value)
    return encoders.encode_table_value(value)


def properties(header: bytes) -> Properties:
    """The properties in the payload of a content header frame.

    Raises AmqpError (502) for what `encoded_table.check_properties` refuses, and nothing else.
    """
    try:
        flags = encoded_table.check_properties(
            header, encoded_table.HEADER_PREFIX_BYTES, len(header)
        )
    except ValueError as error:
        raise AmqpError(ReplyCode.SYNTAX_ERROR, f"malformed properties: {error}") from error
    start = encoded_table.HEADER_PREFIX_BYTES + 2
    result = Properties()
    try:
        result.unmarshal(flags, header[start:])
    except (ValueError, OverflowError, OSError):
        kinds = tuple(kind for _, flag, kind in PROPERTIES if flags & flag)
        result.unmarshal(flags, _softened(header, start, kinds)[start:])
    return result


def encode_header(properties: Properties, body_size: int) -> bytes:
    """The payload of a content header frame of class basic, for a body of `body_size` octets.

    A property of None is left out, and so is an empty `cluster_id`, which is pamqp's default. The
    timestamp may be a number of seconds, too: a `datetime` ends with the year 9999, AMQP does not.
    """
    flags = 0
    parts = []
    for name, flag, kind in PROPERTIES:
        value: FieldValue = getattr(properties, name)
        if value is None or (flag == encoded_table.CLUSTER_ID and not value):
            continue
        flags |= flag
        parts.append(_encode_field(value, kind))
    prefix = struct.pack(">HHQH", Basic.frame_id, 0, body_size, flags)
    return prefix + b"".join(parts)
