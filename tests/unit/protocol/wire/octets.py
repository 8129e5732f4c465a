"""What a peer may send, as hypothesis strategies over raw octets: the grammar, written once more.

Nothing here uses the broker or pamqp, so that both can be compared with it.
"""

import struct
from collections.abc import Callable
from typing import Final, TypeAlias

from hypothesis import strategies as st

FIXED: Final = {
    "t": 1,
    "b": 1,
    "B": 1,
    "s": 2,
    "u": 2,
    "I": 4,
    "i": 4,
    "l": 8,
    "L": 8,
    "f": 4,
    "d": 8,
    "D": 5,
    "T": 8,
    "V": 0,
}
"""Type letter -> octets of its values (RabbitMQ: "AMQP 0-9-1 Errata", field types)."""


def long_string(octets: bytes) -> bytes:
    return struct.pack(">I", len(octets)) + octets


def short_string(octets: bytes) -> bytes:
    return bytes((len(octets),)) + octets


def table(*entries: tuple[bytes, bytes]) -> bytes:
    """A field table of names and values, each value with its type letter."""
    return long_string(b"".join(short_string(name) + value for name, value in entries))


def _fixed_value(letter: str) -> st.SearchStrategy[bytes]:
    size = FIXED[letter]
    return st.binary(min_size=size, max_size=size).map(lambda octets: letter.encode() + octets)


_leaves = st.one_of(
    st.sampled_from(sorted(FIXED)).flatmap(_fixed_value),
    st.sampled_from([b"S", b"x"]).flatmap(
        lambda letter: st.binary(max_size=20).map(lambda octets: letter + long_string(octets))
    ),
)

names = st.one_of(st.binary(max_size=8), st.sampled_from([b"n" * 255, b"\xff" * 254]))


def _tables(values: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.lists(st.tuples(names, values), max_size=5).map(lambda entries: table(*entries))


values = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5).map(lambda items: b"A" + long_string(b"".join(items))),
        _tables(inner).map(lambda octets: b"F" + octets),
    ),
    max_leaves=20,
)
"""Values of a table or array with their type letters, nested ones included."""

tables = _tables(values)
"""Field tables with their length, of any octets RabbitMQ accepts."""


Nesting: TypeAlias = Callable[[int], bytes]


def nested_table(depth: int) -> bytes:
    """Tables in each other, `depth` of them."""
    heads = []
    size = 0
    for _ in range(depth - 1):
        heads.append(short_string(b"t") + b"F" + struct.pack(">I", size))
        size += len(heads[-1])
    return struct.pack(">I", size) + b"".join(reversed(heads))


def nested_array(depth: int) -> bytes:
    """A table with arrays in each other, `depth` levels in all."""
    octets = b"A" + long_string(b"")
    for _ in range(depth - 2):
        octets = b"A" + long_string(octets)
    return table((b"a", octets))
