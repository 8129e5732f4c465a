"""What happens when: an event queue, and the only source of chance."""

import heapq
from collections.abc import Callable
from itertools import count
from random import Random
from typing import Final


class Events:
    """Events in the order of their times, in seconds."""

    def __init__(self, seed: int) -> None:
        self.random: Final = Random(seed)
        self.now = 0.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers: Final = count()

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Have something happen later."""
        heapq.heappush(self._queue, (self.now + seconds, next(self._numbers), event))

    def run(self, until: float) -> None:
        """Let everything happen that is due until then."""
        queue = self._queue
        while queue and queue[0][0] <= until:
            self.now, _, event = heapq.heappop(queue)
            event()
        self.now = until

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.random.random()
