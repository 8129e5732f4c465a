"""The share of the memory for caches: what gives way when there are too many, or too large ones."""

from collections import deque

import pytest

from leveret.engine.values.cache_share import ENTRIES_DROPPED_MAX, Cache, CacheShare


class Sizes(Cache):
    """A cache whose entries are their sizes."""

    def __init__(self, share: CacheShare) -> None:
        super().__init__()
        self.entries: deque[int] = deque()
        self._share = share

    def add(self, *sizes: int) -> None:
        for size in sizes:
            self.entries.append(size)
            self._share.add(self, size)

    def drop_oldest(self) -> int:
        return self.entries.popleft() if self.entries else 0


@pytest.fixture
def share() -> CacheShare:
    share = CacheShare()
    share.limit = 100
    return share


def test_one_cache_may_take_the_whole_share(share: CacheShare) -> None:
    one = Sizes(share)
    one.add(50, 30, 20)
    assert list(one.entries) == [50, 30, 20]
    one.add(1)
    assert list(one.entries) == [30, 20, 1]
    assert share.charged == one.charged == 51
    assert share.dropped == 1


def test_a_large_cache_gives_way_to_small_ones_that_grow(share: CacheShare) -> None:
    large, small = Sizes(share), Sizes(share)
    large.add(*[10] * 10)
    small.add(10)
    assert (large.charged, small.charged) == (90, 10)
    small.add(*[10] * 9)
    assert (large.charged, small.charged) == (50, 50)


def test_a_small_cache_keeps_what_it_has_beside_one_that_grows(share: CacheShare) -> None:
    small, large = Sizes(share), Sizes(share)
    small.add(10, 10)
    large.add(*[10] * 1000)
    assert list(small.entries) == [10, 10]
    assert share.charged == 100


def test_an_entry_larger_than_its_part_is_not_kept(share: CacheShare) -> None:
    one = Sizes(share)
    one.add(101)
    assert not one.entries
    assert share.charged == 0


def test_growing_drops_few_entries_at_a_time(share: CacheShare) -> None:
    one = Sizes(share)
    share.limit = 1000
    one.add(*[1] * 1000)
    one.add(900)
    assert share.dropped == ENTRIES_DROPPED_MAX
    for _ in range(20):
        one.add(1)
    assert share.charged <= share.limit


def test_a_deleted_cache_makes_room(share: CacheShare) -> None:
    one, other = Sizes(share), Sizes(share)
    one.add(60)
    share.remove(one)
    other.add(60, 40)
    assert share.charged == 100
    assert share.dropped == 0
