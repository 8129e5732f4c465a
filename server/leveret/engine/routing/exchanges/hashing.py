"""A hash that is the same in every process, on every machine and in every release.

A key must lead to the same queue after a restart. Python's own hash differs from one to the next.
"""

from typing import Final
from zlib import crc32

from mypy_extensions import i64

from leveret.engine.values.text import octets_of_text

HASH_BITS: Final = 32

_LOW_BITS: Final = 0xFFFFFFFF
_FACTOR: Final = 0x45D9F3B


def hash_octets(octets: bytes) -> i64:
    """A number of `HASH_BITS` bits.

    CRC-32 gives similar keys similar numbers, so these are mixed.
    """
    return mixed(crc32(octets))


def mixed(number: i64) -> i64:
    """Another number of `HASH_BITS` bits, different for different ones and unlike for like ones."""
    number = ((number >> 16) ^ number) * _FACTOR & _LOW_BITS
    number = ((number >> 16) ^ number) * _FACTOR & _LOW_BITS
    return (number >> 16) ^ number


def hash_key(routing_key: str) -> i64:
    """The hash of a routing key, as the octets it came in."""
    return hash_octets(octets_of_text(routing_key))
