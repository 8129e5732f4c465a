"""Appends to one blob that the medium has begun and not answered, and up to where all are durable.

A medium may answer them in any order and from any thread. Only what is durable together with all
before it may be marked as durable in the blob.
"""

from threading import Lock


class AppendsInFlight:
    """The ends of the appends under way, in order. For any thread."""

    def __init__(self) -> None:
        self.durable = 0
        """Bytes of the blob that are durable as far as these appends say."""
        self._lock = Lock()
        self._ends: list[int] = []
        self._answered: set[int] = set()

    def begin(self, end: int) -> None:
        """An append begins that ends at an offset, behind all that began before."""
        with self._lock:
            self._ends.append(end)

    def answer(self, end: int) -> None:
        """The append that ends at an offset is durable."""
        with self._lock:
            self._answered.add(end)
            while self._ends and self._ends[0] in self._answered:
                self.durable = self._ends.pop(0)
                self._answered.remove(self.durable)

    def forget_last(self) -> None:
        """The last append could not begin."""
        with self._lock:
            self._ends.pop()

    def any(self) -> bool:
        """Whether any append is not answered, or one before it is not."""
        with self._lock:
            return bool(self._ends)
