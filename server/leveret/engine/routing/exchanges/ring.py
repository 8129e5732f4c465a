"""The ring of consistent hashing: points on a circle, each of which leads to a destination.

The places of the points of a destination follow from its name alone. A hash is a place, too, and
belongs to the next point from there on. So a new point takes the places before it from one other
point, a point that is removed gives them to one other, and no other place changes. The same
destinations make the same ring in whatever order they were added, and after a restart.

The circle is cut into buckets of equal length, one for every one to four points, and a bucket
has its points in order: adding, removing and finding take about the same time however many there
are.
"""

from hashlib import blake2b
from struct import Struct
from typing import Final

from mypy_extensions import i64

from leveret.engine.routing.exchanges.base import Destination
from leveret.engine.routing.exchanges.hashing import HASH_BITS
from leveret.engine.values.text import octets_of_text

POINTS_PER_UNIT: Final = 128
"""Points of a destination for each unit of its weight: enough for shares that are, mostly, within a
tenth of what the weights say."""

BUCKET_POINTS_MAX: Final = 4
"""Points a bucket has on average, at which buckets become twice as many."""

_PLACES: Final = Struct(">16I")
"""The places in a digest, of `HASH_BITS` bits each."""


class _Point:
    """A place on the circle. Points at the same place are in the order of their labels."""

    def __init__(self, place: i64, label: str, destination: Destination) -> None:
        self.place = place
        self.label = label
        self.destination = destination

    def is_before(self, other: "_Point") -> bool:
        return self.place < other.place or (self.place == other.place and self.label < other.label)


class Ring:
    """The points of all destinations of one exchange."""

    def __init__(self) -> None:
        self._points: i64 = 0
        self._bits: i64 = 0
        """There are two to the power of this many buckets."""
        self._buckets: list[list[_Point]] = [[]]

    def add(self, destination: Destination, label: str, unit: i64) -> None:
        """Add the points of one unit of weight; units count from 0."""
        for place in places(label, unit):
            self._insert(_Point(place, label, destination))
            self._points += 1
        while self._points > BUCKET_POINTS_MAX * len(self._buckets):
            self._cut(self._bits + 1)

    def remove(self, destination: Destination, label: str, unit: i64) -> None:
        """Remove the points that `add` added for these."""
        for place in places(label, unit):
            bucket = self._buckets[place >> (HASH_BITS - self._bits)]
            for at, point in enumerate(bucket):
                if point.place == place and point.destination is destination:
                    del bucket[at]
                    self._points -= 1
                    break
        while self._bits > 0 and self._points < len(self._buckets):
            self._cut(self._bits - 1)

    def find(self, place: i64) -> Destination | None:
        """The destination of the next point from a place on; None where there are no points."""
        if self._points == 0:
            return None
        buckets = self._buckets
        number = place >> (HASH_BITS - self._bits)
        for point in buckets[number]:
            if point.place >= place:
                return point.destination
        while True:
            number += 1
            if number == len(buckets):
                number = 0
            if buckets[number]:
                return buckets[number][0].destination

    def _insert(self, point: _Point) -> None:
        bucket = self._buckets[point.place >> (HASH_BITS - self._bits)]
        at = len(bucket)
        while at > 0 and point.is_before(bucket[at - 1]):
            at -= 1
        bucket.insert(at, point)

    def _cut(self, bits: i64) -> None:
        """Cut the circle into another number of buckets."""
        points = [point for bucket in self._buckets for point in bucket]
        self._bits = bits
        self._buckets = [[] for _ in range(1 << bits)]
        for point in points:
            self._insert(point)


def places(label: str, unit: i64) -> list[int]:
    """The places of the points of one unit of a destination's weight."""
    found: list[int] = []
    while len(found) < POINTS_PER_UNIT:
        text = f"{label} {unit} {len(found)}"
        found.extend(_PLACES.unpack(blake2b(octets_of_text(text)).digest()))
    return found
