"""Weighted rendezvous hashing: the destination that a hash leads to, by weights.

Every destination draws a number for every hash, and the highest one wins, with the chances that the
weights say. So a new destination takes hashes from the others in proportion to their weights, one
that goes gives its own to them, and no other hash changes its destination. The numbers follow from
the names of the destinations alone: the order in which they were added does not matter, nor does a
restart. Memory does not depend on weights.

A search takes some nanoseconds for each destination (docs/features.md has figures). From
`CACHED_FROM` destinations on, the results of recent ones are kept until a weight changes.
"""

from hashlib import blake2b
from math import log
from typing import Final

from mypy_extensions import i64

from leveret.engine.routing.exchanges.base import Destination, Exchange
from leveret.engine.routing.exchanges.hashing import HASH_BITS, mixed
from leveret.engine.values.text import octets_of_text
from leveret.limits import HASH_CACHE_ENTRIES_MAX

CACHED_FROM: Final = 32
"""Destinations from which on a search takes longer than finding its result in a cache."""

_LOW_BITS: Final = 0xFFFFFFFF
_HASHES: Final = float(1 << HASH_BITS)


class _Candidate:
    """A destination, with two numbers that its name was hashed to."""

    def __init__(self, destination: Destination) -> None:
        kind = "exchange" if isinstance(destination, Exchange) else "queue"
        label = octets_of_text(f"{kind} {destination.name}")
        number = int.from_bytes(blake2b(label, digest_size=8).digest(), "big")
        self.destination = destination
        self.weight = 0
        self.place: i64 = 0
        """Its place in the list of its weight."""
        self.first: i64 = number >> HASH_BITS
        self.second: i64 = number & _LOW_BITS

    def draw(self, hashed: i64) -> i64:
        """Its number for a hash, of `HASH_BITS` bits."""
        return mixed(mixed(hashed ^ self.first) ^ self.second)


class Rendezvous:
    """The destinations of one exchange with their weights."""

    def __init__(self) -> None:
        self._candidates: dict[Destination, _Candidate] = {}
        self._by_weight: dict[int, list[_Candidate]] = {}
        self._found: dict[int, Destination] = {}
        """The results of recent searches."""

    def add_weight(self, destination: Destination, weight: int) -> None:
        """Add to the weight of a destination, or take from it; it may have none before or after."""
        self._found.clear()
        candidate = self._candidates.get(destination)
        if candidate is None:
            candidate = _Candidate(destination)
            self._candidates[destination] = candidate
        else:
            self._leave(candidate)
        candidate.weight += weight
        if candidate.weight == 0:
            del self._candidates[destination]
            return
        others = self._by_weight.get(candidate.weight)
        if others is None:
            others = []
            self._by_weight[candidate.weight] = others
        candidate.place = len(others)
        others.append(candidate)

    def _leave(self, candidate: _Candidate) -> None:
        """Take a candidate out of the list of its weight."""
        others = self._by_weight[candidate.weight]
        last = others.pop()
        if last is not candidate:
            others[candidate.place] = last
            last.place = candidate.place
        if not others:
            del self._by_weight[candidate.weight]

    def find(self, hashed: i64) -> Destination | None:
        """The destination that a hash of `HASH_BITS` bits leads to; None without destinations."""
        if len(self._candidates) < CACHED_FROM:
            return self._search(hashed)
        key = int(hashed)
        found = self._found.get(key)
        if found is None:
            found = self._search(hashed)
            if found is not None:
                if len(self._found) >= HASH_CACHE_ENTRIES_MAX:
                    self._found.clear()
                self._found[key] = found
        return found

    def _search(self, hashed: i64) -> Destination | None:
        winner: _Candidate | None = None
        least = 0.0
        for weight, candidates in self._by_weight.items():
            # The chances of two that draw u and v with weights a and b are as these weights if
            # log(u) / a is compared with log(v) / b; those of one weight need no logarithm.
            best = _best(candidates, hashed)
            cost = -log((float(best.draw(hashed)) + 0.5) / _HASHES) / float(weight)
            if winner is None or cost < least or (cost == least and _is_before(best, winner)):
                winner = best
                least = cost
        return None if winner is None else winner.destination


def _best(candidates: list[_Candidate], hashed: i64) -> _Candidate:
    """The candidate of one weight that draws the highest number."""
    best = candidates[0]
    highest = best.draw(hashed)
    for candidate in candidates:
        drawn = candidate.draw(hashed)
        if drawn > highest or (drawn == highest and _is_before(candidate, best)):
            best = candidate
            highest = drawn
    return best


def _is_before(one: _Candidate, other: _Candidate) -> bool:
    """Which of two wins that have drawn alike."""
    return (one.first, one.second) < (other.first, other.second)
