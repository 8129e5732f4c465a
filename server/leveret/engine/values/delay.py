"""The delay of a message, which its publisher sets with the header `x-delay`.

Read and written as the community plugin `rabbitmq_delayed_message_exchange` does; the rules
are in `routing/exchanges/delayed.py`.
"""

import struct
from typing import Final

from mypy_extensions import i64

from leveret.engine.values import properties
from leveret.engine.values.message import Message

DELAY: Final = b"x-delay"
DELAY_MS_MAX: Final = 0x3FFFFFFFFFFFFFFF
"""Milliseconds. A longer delay counts as this one, so that a due time fits into 64 bits."""

_NUMBER_OCTETS_MAX: Final = 24


def delay_of(header: bytes) -> i64:
    """The delay in milliseconds in a content header; 0 is none."""
    value = properties.header_value(header, DELAY)
    if value is None:
        return 0
    delay = _number(value)
    return min(delay, DELAY_MS_MAX) if delay > 0 else 0


def due_of(message: Message) -> i64:
    """When a delayed message is due, in milliseconds since the epoch.

    The time of its arrival is rounded down to a millisecond. One is added, so that no message is
    released early.
    """
    return message.arrived + delay_of(message.header) + 1


def with_delay_over(header: bytes) -> bytes:
    """The content header of a message that has waited: its delay is negative."""
    delay = -delay_of(header)
    if delay >= -0x80000000:
        value = b"I" + int(delay).to_bytes(4, "big", signed=True)
    else:
        value = properties.long_integer(delay)
    return properties.with_headers(header, {DELAY: value})


def _number(value: bytes) -> int:
    """The whole number in a value of a table, its type letter first; 0 if there is none."""
    letter = value[:1]
    if letter == b"S":
        text = value[5:]
        digits = text[1:] if text[:1] in (b"+", b"-") else text
        return int(text) if digits.isdigit() and len(text) <= _NUMBER_OCTETS_MAX else 0
    if letter in (b"f", b"d"):
        number: float = struct.unpack(">f" if letter == b"f" else ">d", value[1:])[0]
        # Neither infinite nor NaN.
        return int(number) if abs(number) <= DELAY_MS_MAX else 0
    if letter == b"D":
        return int.from_bytes(value[2:], "big", signed=True) // int(10 ** value[1])
    return properties.integer_of(value)
