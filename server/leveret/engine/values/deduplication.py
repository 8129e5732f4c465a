"""Deduplication: which messages an exchange or a queue has seen before.

A message carries a key in a header. It is a duplicate if its key is in the window. The window has a
maximum number of keys, beyond which the oldest is dropped, and may have a time after which a key
expires (semantics of LavinMQ: Message Deduplication; the community plugin
`rabbitmq-message-deduplication` has the same arguments). A key may be any single value. Integers
are equal by value, however wide they were sent; other values of different types are never equal.
All windows together take a share of the memory limit at most: beyond it, those that take more than
an equal part of it drop their oldest keys.

The keys of persistent messages are persisted, in the batch of the log that has the message.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Final

from mypy_extensions import i64
from pamqp.common import FieldValue

from leveret.engine.values import properties
from leveret.engine.values.cache_share import Cache, CacheShare
from leveret.engine.values.settings import NONE
from leveret.engine.values.text import octets_of_text

CACHE_SIZE: Final = "x-cache-size"
CACHE_TTL: Final = "x-cache-ttl"
HEADER: Final = "x-deduplication-header"
"""Arguments, by the names they have on an exchange and on a queue."""

KEYS_DEFAULT: Final = 128
"""Keys of a window whose size is not set, as in LavinMQ."""

KEYS_MAX: Final = 1_000_000
"""Keys a window can have: each costs some hundred bytes, in memory and in every log segment."""

KEY_OCTETS_MAX: Final = 64
"""Octets beyond which a key is remembered by its digest, so that windows stay small."""

KEY_BYTES: Final = 200
"""Approximate bytes that a key takes beside its octets: its objects, and its entry."""

_MESSAGE_TTL: Final = b"x-cache-ttl"
_NO_KEYS: Final = b"VFA"
"""Type letters of values that are no key: void, tables and arrays."""


class DeduplicationWindow(Cache):
    """The keys of recent messages."""

    def __init__(self, size: i64 = NONE, ttl: i64 = NONE, header: str | None = None) -> None:
        """`ttl` is milliseconds. `NONE` means not set."""
        super().__init__()
        self.duplicates: i64 = 0
        """Messages that were dropped as duplicates; counted by the owner."""
        self._size: i64 = KEYS_DEFAULT if size == NONE else size
        self._ttl: i64 = ttl
        self._header = octets_of_text(header or HEADER)
        self._keys: OrderedDict[bytes, int] = OrderedDict()
        """Each key with its expiry, in milliseconds since the epoch; 0 is never. The oldest is
        first."""
        self._listed: OrderedDict[bytes, int] = OrderedDict()
        """The oldest keys, which `listed` has returned; the others are in `_keys` meanwhile."""
        self._share: CacheShare | None = None

    def key_of(self, header: bytes) -> bytes | None:
        """The key of a message with this content header; None if it has none."""
        value = properties.header_value(header, self._header)
        if value is None or value[0] in _NO_KEYS:
            return None
        if value[:1] in properties.INTEGERS:
            return b"I%d" % properties.integer_of(value)
        if len(value) > KEY_OCTETS_MAX:
            return blake2b(value, digest_size=32).digest()
        return value

    def has(self, key: bytes, now: i64) -> bool:
        """Whether a message with this key is a duplicate."""
        expires_at = self._keys.get(key)
        if expires_at is None and self._listed:
            expires_at = self._listed.get(key)
        return expires_at is not None and (expires_at == 0 or expires_at > now)

    def add(self, key: bytes, header: bytes, now: i64) -> i64:
        """Add the key, not in the window yet, of a message with this content header.

        :returns: when it expires, in milliseconds since the epoch; 0 is never.
        """
        ttl = self._ttl
        own = properties.header_value(header, _MESSAGE_TTL)
        if own is not None and own[:1] in properties.INTEGERS and properties.integer_of(own) > 0:
            ttl = properties.integer_of(own)
        expires_at = 0 if ttl == NONE else now + ttl
        self.put(key, expires_at)
        return expires_at

    def put(self, key: bytes, expires_at: i64) -> None:
        """Add a key as the newest."""
        keys = self._keys
        # A key that has expired, and is seen again, is the newest.
        known = keys.pop(key, None)
        if known is None and self._listed:
            known = self._listed.pop(key, None)
        size: i64 = 0 if known is not None else len(key) + KEY_BYTES
        keys[key] = int(expires_at)
        if len(keys) + len(self._listed) > self._size:
            size -= self.drop_oldest()
        if self._share is not None and size != 0:
            self._share.add(self, size)

    def attach(self, share: CacheShare) -> None:
        """Charge what it takes to a share of the memory, from now on."""
        self._share = share

    def drop_oldest(self) -> i64:
        keys = self._listed or self._keys
        if not keys:
            return 0
        return len(keys.popitem(last=False)[0]) + KEY_BYTES

    def delete(self) -> None:
        """Charge nothing any more."""
        if self._share is not None:
            self._share.remove(self)
            self._share = None

    def entries(self) -> list[tuple[bytes, int]]:
        """All keys, the oldest first, and when each expires."""
        return list(self._listed.items()) + list(self._keys.items())

    def listed(self, most: int) -> Iterator[list[tuple[bytes, int]]]:
        """All keys, the oldest first, and when each expires, so many at a time.

        Keys may be added and dropped meanwhile. All that are added follow those that are older.
        Only one may be under way; one that was not brought to its end is given up by the next.
        """
        if self._listed:
            self._keys, self._listed = OrderedDict(self.entries()), OrderedDict()
        while self._keys:
            part: list[tuple[bytes, int]] = []
            while self._keys and len(part) < most:
                entry = self._keys.popitem(last=False)
                self._listed[entry[0]] = entry[1]
                part.append(entry)
            yield part
        self._keys, self._listed = self._listed, self._keys


def number(arguments: Mapping[str, FieldValue], name: str) -> int | None:
    """The value of an argument of an exchange that is a number from 1, or such a number as text, as
    in the plugin; `NONE` without the argument, and None if the value is invalid."""
    value = arguments.get(name)
    if value is None and name not in arguments:
        return NONE
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        return None
    return value
