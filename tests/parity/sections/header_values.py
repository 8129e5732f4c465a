"""Which values of headers are equal to a headers exchange: every type with every type.

One binding for each value, by itself, in an array and in a table, and one message for each: the
transcript has a line for each message with the bindings that it matched.
"""

import struct
from typing import Final

from pamqp import commands

from tests.parity.scenario import scenario
from tests.parity.session import Session
from tests.parity.steps import declare_exchange
from tests.support.wire import (
    BODY,
    HEADER,
    METHOD,
    long_string,
    raw_frame,
    raw_method,
    raw_table,
    short_string,
)

Basic = commands.Basic
Queue = commands.Queue

HEADERS_FLAG: Final = 0x2000

Value = tuple[str, bytes]
"""A name for the transcript, and a value as a field table has it, its type letter first."""


def _numbers() -> list[Value]:
    formats = {"b": "b", "B": "B", "s": "h", "u": "H", "I": "i", "i": "I", "l": "q"}
    found: list[Value] = []
    for number in (0, 1, 49):
        found += [
            (f"{letter}{number}", letter.encode() + struct.pack(f">{code}", number))
            for letter, code in formats.items()
        ]
    found += [("b-1", b"b\xff"), ("s-1", b"s\xff\xff"), ("l-1", b"l" + b"\xff" * 8)]
    for real in (0.0, -0.0, 1.0, 1.5, 49.0, -1.0):
        found.append((f"f{real}", b"f" + struct.pack(">f", real)))
        found.append((f"d{real}", b"d" + struct.pack(">d", real)))
    return found


def _others() -> list[Value]:
    texts = [b"", b"1", b"a", b"\x01", b"true"]
    found = [(f"S{text!r}", b"S" + long_string(text)) for text in texts]
    found += [(f"x{text!r}", b"x" + long_string(text)) for text in texts]
    found += [(f"T{at}", b"T" + struct.pack(">Q", at)) for at in (0, 1, 49)]
    found += [
        (f"D{scale},{unscaled}", b"D" + struct.pack(">Bi", scale, unscaled))
        for scale, unscaled in ((0, 0), (0, 1), (1, 15))
    ]
    return [*found, ("true", b"t\x01"), ("false", b"t\x00"), ("void", b"V")]


def _array(*values: bytes) -> bytes:
    return b"A" + long_string(b"".join(values))


def _table(*fields: tuple[str, bytes]) -> bytes:
    return b"F" + raw_table(*((name, value[:1], value[1:]) for name, value in fields))


SCALARS: Final = [*_numbers(), *_others()]
NESTED: Final = [each for each in SCALARS if each[0][0] not in "bBsuilf" or each[0] == "false"]
"""Scalars without those that differ only in the width of a number from others."""

ONE, TWO = b"I\0\0\0\1", b"I\0\0\0\2"
VALUES: Final[list[Value]] = [
    *SCALARS,
    *((f"[{name}]", _array(value)) for name, value in NESTED),
    *((f"{{k:{name}}}", _table(("k", value))) for name, value in NESTED),
    ("[]", _array()),
    ("{}", _table()),
    ("[[]]", _array(_array())),
    ("[{}]", _array(_table())),
    ("[1,2]", _array(ONE, TWO)),
    ("[2,1]", _array(TWO, ONE)),
    ("{a:1,b:2}", _table(("a", ONE), ("b", TWO))),
    ("{b:2,a:1}", _table(("b", TWO), ("a", ONE))),
    ("[{a:1,b:2}]", _array(_table(("a", ONE), ("b", TWO)))),
    ("[{b:2,a:1}]", _array(_table(("b", TWO), ("a", ONE)))),
]


def _content(headers: bytes, body: bytes) -> bytes:
    """basic.publish to the exchange x, with an encoded table of headers."""
    publish = struct.pack(">HHH", 60, 40, 0) + short_string("x") + b"\0\0"
    header = struct.pack(">HHQH", 60, 0, len(body), HEADERS_FLAG) + headers
    return b"".join(
        raw_frame(kind, 1, payload)
        for kind, payload in ((METHOD, publish), (HEADER, header), (BODY, body))
    )


def _compare(session: Session, values: list[Value]) -> None:
    """Bind a queue by each value, publish a message with each, and record what matched."""
    client = session.connect()
    queues = [f"q{number}" for number in range(len(values))]
    with session.unrecorded():
        client.do(declare_exchange("x", "headers"))
        for queue, (name, value) in zip(queues, values, strict=True):
            client.send(Queue.Declare(0, queue, exclusive=True))
            arguments = raw_table(("h", value[:1], value[1:]))
            ends = b"\0\0" + short_string(queue) + short_string("x") + b"\0\0"
            client.raw(raw_method(1, 50, 20, ends + arguments))
            client.send(Basic.Consume(0, queue, name, no_ack=True))
        client.drain()
        client.raw(
            b"".join(
                _content(raw_table(("h", value[:1], value[1:])), name.encode())
                for name, value in values
            )
        )
        matched = client.deliveries(*queues)
    for name, _ in values:
        found = [tag for tag, body in matched if body == name.encode()]
        session.write(f"a < {name} matches {' '.join(sorted(found))}")


@scenario()
def values_of_all_types_are_compared(session: Session) -> None:
    _compare(session, VALUES)


@scenario(
    differs="the codec keeps no scale of a decimal and no width of a number in a table or array",
    leveret=[
        "a < 1.0 matches 1.0 1.00",
        "a < 1.00 matches 1.0 1.00",
        "a < [b1] matches [I1] [b1]",
        "a < [I1] matches [I1] [b1]",
        "a < [f1] matches [d1] [f1]",
        "a < [d1] matches [d1] [f1]",
    ],
)
def widths_inside_of_arrays_are_compared(session: Session) -> None:
    _compare(
        session,
        [
            ("1.0", b"D\1\0\0\0\x0a"),
            ("1.00", b"D\2\0\0\0\x64"),
            ("[b1]", _array(b"b\1")),
            ("[I1]", _array(ONE)),
            ("[f1]", _array(b"f" + struct.pack(">f", 1.0))),
            ("[d1]", _array(b"d" + struct.pack(">d", 1.0))),
        ],
    )
