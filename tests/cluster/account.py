"""The account of one queue: what was published, confirmed and received, over all failures.

Publishers number their messages from 0. After a connection is lost they publish again, in order,
what is not confirmed, and then go on. So of each publisher the first copies of all messages have to
arrive in order, whatever was lost and published again.

Rules:
- What was confirmed arrives.
- Of each publisher, first copies arrive in order.
- Nothing arrives that was not published, and nothing more often than it was published, but for
  redeliveries and for what a consumer had before its connection was lost.
"""

import threading
import time
from collections import Counter
from itertools import pairwise
from typing import Final, NamedTuple

SHOWN: Final = 5


class Id(NamedTuple):
    """A message."""

    publisher: str
    number: int


def body_of(message: Id, size: int) -> bytes:
    return f"{message.publisher} {message.number} ".encode().ljust(size, b".")


def read_body(body: bytes) -> Id:
    publisher, number, _ = body.decode().split(" ", 2)
    return Id(publisher, int(number))


class Account:
    """Clients in several threads write to it."""

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.wrong: list[str] = []
        """What clients saw and should not have."""
        self._changed = threading.Condition()
        self._published: Counter[Id] = Counter()
        self._confirmed: dict[Id, float] = {}
        self._received: set[Id] = set()
        self._copies: Counter[tuple[int, Id]] = Counter()
        """By the connection that they came through, without redeliveries."""
        self._last: dict[str, int] = {}

    def publish(self, message: Id) -> None:
        """A message is about to be published, perhaps once more."""
        with self._changed:
            self._published[message] += 1

    def confirm(self, message: Id) -> None:
        with self._changed:
            self._confirmed.setdefault(message, time.monotonic())
            self._changed.notify_all()

    def receive(self, message: Id, connection: int, redelivered: bool) -> None:
        """A message has arrived; `connection` is another number for each connection."""
        with self._changed:
            if message not in self._published:
                self.wrong.append(f"{message} was never published")
            if message not in self._received:
                last = self._last.get(message.publisher, -1)
                if message.number < last:
                    self.wrong.append(f"{message} came behind {last}")
                self._last[message.publisher] = max(last, message.number)
            if not redelivered:
                self._copies[connection, message] += 1
                if self._copies[connection, message] > self._published[message]:
                    self.wrong.append(f"{message} came more often than it was published")
            self._received.add(message)
            self._changed.notify_all()

    @property
    def confirmed(self) -> int:
        with self._changed:
            return len(self._confirmed)

    def await_confirmed(self, more: int, deadline_s: float = 60.0) -> None:
        """Wait until so many more messages are confirmed."""
        with self._changed:
            wanted = len(self._confirmed) + more
            done = self._changed.wait_for(lambda: len(self._confirmed) >= wanted, deadline_s)
            assert done, f"{self.queue}: {len(self._confirmed)} of {wanted} confirmed"

    def await_received(self, deadline_s: float = 60.0) -> None:
        """Wait until everything that is confirmed has arrived, and check it all."""
        with self._changed:
            self._changed.wait_for(lambda: self._confirmed.keys() <= self._received, deadline_s)
            missing = sorted(self._confirmed.keys() - self._received)
            assert not missing, (
                f"{self.queue}: {len(missing)} of {len(self._confirmed)} confirmed messages"
                f" did not arrive: {missing[:SHOWN]}"
            )
            assert not self.wrong, self.wrong[:SHOWN]

    def confirmed_between(self, begin: float, end: float) -> int:
        """Messages confirmed in a time by time.monotonic()."""
        with self._changed:
            return sum(begin <= at <= end for at in self._confirmed.values())

    def not_served_s(self, since: float) -> float:
        """The longest time without a confirm from an instant on, in seconds."""
        with self._changed:
            times = [since, *sorted(at for at in self._confirmed.values() if at >= since)]
        if len(times) == 1:
            return time.monotonic() - since
        return max(later - earlier for earlier, later in pairwise(times))
