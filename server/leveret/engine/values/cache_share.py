"""A share of the memory for caches of one kind, whose oldest entries may go before their time.

The histories of exchanges, for example, and the windows of deduplication: each has a limit of its
own, but there may be any number of them, and nothing of them can be on disk.

Rules:
- A cache charges what it takes. When all together take more than the share, caches that take more
  than an equal part of it drop their oldest entries: that which grows, if it is one of them, else
  the others in turn.
- A cache that takes no more than an equal part loses nothing.
- Charging takes constant time: a few caches are looked at, and some entries dropped.
"""

from collections import OrderedDict
from typing import Final

from mypy_extensions import i64, mypyc_attr

UNLIMITED: Final = 1 << 62
"""The share where no memory limit is set, in bytes."""

CACHES_LOOKED_AT: Final = 8
"""Caches that are looked at for one that takes more than its part, each time one grows."""

ENTRIES_DROPPED_MAX: Final = 64
"""Entries that are dropped each time a cache grows."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Cache:
    """What takes memory for entries that can be dropped, the oldest first."""

    def __init__(self) -> None:
        self.charged: i64 = 0
        """Bytes that it has charged. Changed by `CacheShare` only."""

    def drop_oldest(self) -> i64:
        """Drop the oldest entry, which charges nothing.

        :returns: the bytes that it took; 0 if there is none.
        """
        raise NotImplementedError


class CacheShare:
    """The memory of the caches of one kind in one broker."""

    def __init__(self) -> None:
        self.charged: i64 = 0
        """Bytes that all take together."""
        self.limit: i64 = UNLIMITED
        """Bytes that they may take."""
        self.dropped: i64 = 0
        """Entries that were dropped for want of memory since the last report, which clears it."""
        self._caches: OrderedDict[Cache, None] = OrderedDict()
        """Those that take anything, in the order in which they are looked at."""

    def add(self, cache: Cache, size: i64) -> None:
        """Charge an entry that a cache has added, or, below 0, one that it has dropped."""
        before = cache.charged
        cache.charged = before + size
        self.charged += size
        if before == 0:
            self._caches[cache] = None
        elif cache.charged == 0:
            self._caches.pop(cache, None)
        if self.charged > self.limit:
            self._drop(cache)

    def remove(self, cache: Cache) -> None:
        """Charge nothing for a cache any more, which is deleted."""
        self.charged -= cache.charged
        cache.charged = 0
        self._caches.pop(cache, None)

    def _drop(self, growing: Cache) -> None:
        part = self.limit // max(len(self._caches), 1)
        if growing.charged > part:
            self._drop_oldest(growing, part)
            return
        looked_at = 0
        while self._caches and looked_at < CACHES_LOOKED_AT:
            looked_at += 1
            cache = next(iter(self._caches))
            self._caches.move_to_end(cache)
            if cache.charged > part:
                self._drop_oldest(cache, part)
                return

    def _drop_oldest(self, cache: Cache, part: i64) -> None:
        """Have a cache drop entries until all have room, or it takes no more than its part."""
        count = 0
        while self.charged > self.limit and cache.charged > part and count < ENTRIES_DROPPED_MAX:
            size = cache.drop_oldest()
            if size == 0:
                return
            count += 1
            self.dropped += 1
            self.charged -= size
            cache.charged -= size
        if cache.charged == 0:
            self._caches.pop(cache, None)
