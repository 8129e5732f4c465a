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

INTEGERS: Final = {"b": "b", "B": "B", "s": "h", "u": "H", "I": "i", "i": "I", "l": "q"}
"""The type letters of integers in a field table, with the formats of `struct`."""

SECONDS: Final = 1_700_000_000
"""A time of these years. Some clients send milliseconds, which no broker can tell from seconds."""

Value = tuple[str, bytes]
"""A name for the transcript, and a value as a field table has it, its type letter first."""


def _integer(letter: str, number: int) -> Value:
    return f"{letter}{number}", letter.encode() + struct.pack(f">{INTEGERS[letter]}", number)


def _reals(*numbers: float) -> list[Value]:
    """Each as a single and as a double; singles are nearest to a number, not always equal to it."""
    found: list[Value] = []
    for number in numbers:
        found.append((f"f{number}", b"f" + struct.pack(">f", number)))
        found.append((f"d{number}", b"d" + struct.pack(">d", number)))
    return found


def _numbers() -> list[Value]:
    found = [_integer(letter, number) for number in (0, 1, 49) for letter in INTEGERS]
    found += [_integer(letter, -1) for letter in "bsl"]
    found += _reals(0.0, -0.0, 1.0, 1.5, 49.0, -1.0)
    found += [_integer(letter, 255) for letter in "Bsl"]
    found += [_integer(letter, 65_535) for letter in "uIl"]
    found += [_integer("i", 2**32 - 1), _integer("l", 2**32 - 1)]
    # Beyond 2**53 not every integer is a double.
    found += [_integer("l", number) for number in (2**53, 2**53 + 1, 2**63 - 1, -(2**63))]
    found += [_integer("l", SECONDS * 1000 + 1)]
    return found + _reals(0.5, 0.1, 255.0, float(2**32 - 1), float(2**53), float(2**63))


def _text(letter: str, octets: bytes) -> Value:
    return f"{letter}{octets!r}", letter.encode() + long_string(octets)


def _time(seconds: int) -> Value:
    return f"T{seconds}", b"T" + struct.pack(">Q", seconds)


def _decimal(scale: int, unscaled: int) -> Value:
    return f"D{scale},{unscaled}", b"D" + struct.pack(">Bi", scale, unscaled)


def _others() -> list[Value]:
    texts = [b"", b"1", b"a", b"\x01", b"true"]
    texts += [b"A", b"a\x00", b"1.0", b"void", b"\xc3\xa9", b"\xe9", b"\xff", b"a" * 40]
    found = [_text(letter, octets) for letter in "Sx" for octets in texts]
    found += [_time(seconds) for seconds in (0, 1, 49, 2**32 - 1, SECONDS)]
    found += [_time(SECONDS * 1000 + more) for more in (1, 999)]
    found += [_decimal(*each) for each in ((0, 0), (0, 1), (1, 15), (0, -1), (1, -15), (0, 49))]
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
    differs="The headers exchange takes some values for equal that RabbitMQ tells apart: decimals"
    " that differ in trailing zeros only, times in seconds and in milliseconds, times "
    "after the year 9999, and, inside tables and arrays, numbers of different width.",
    leveret=[
        "a < D1,10 matches D1,10 D2,100",
        "a < D2,100 matches D1,10 D2,100",
        "a < T1700000000 matches T1700000000 T1700000000000",
        "a < T1700000000000 matches T1700000000 T1700000000000",
        "a < T9007199254740992 matches T9007199254740992",
        "a < l9007199254740992 matches l9007199254740992",
        "a < [b1] matches [I1] [b1]",
        "a < [I1] matches [I1] [b1]",
        "a < [f1] matches [d1] [f1]",
        "a < [d1] matches [d1] [f1]",
    ],
)
def values_that_are_one_to_the_codec(session: Session) -> None:
    _compare(
        session,
        [
            _decimal(1, 10),
            _decimal(2, 100),
            _time(SECONDS),
            _time(SECONDS * 1000),
            _time(2**53),
            _integer("l", 2**53),
            ("[b1]", _array(b"b\1")),
            ("[I1]", _array(ONE)),
            ("[f1]", _array(b"f" + struct.pack(">f", 1.0))),
            ("[d1]", _array(b"d" + struct.pack(">d", 1.0))),
        ],
    )
