"""Numbered records appended to a blob, some in flight, and whether all that was confirmed is there.

Used in the tests' process, and as a process of its own that is stopped and killed:

    python -m tests.storage.append_load LOCATION NAME

which takes the store, makes the blob, and prints a line for each record that was confirmed, and one
with the error that ended it.
"""

import sys
from collections.abc import Callable
from functools import partial
from threading import Condition, Thread
from typing import Final, Self

from leveret_storage.errors import MediumFull, StorageError
from leveret_storage.media.locations import open_medium
from leveret_storage.medium import Medium
from tests.storage.owning import content, take

RECORD_BYTES: Final = 500
WINDOW: Final = 8
DEADLINE_S: Final = 60.0


def record(number: int) -> bytes:
    return f"{number:010d} ".encode().ljust(RECORD_BYTES, b".")


def records_in(data: bytes) -> int:
    """How many records a blob has; they have to follow each other without a gap."""
    count, rest = divmod(len(data), RECORD_BYTES)
    assert rest == 0
    for number in range(count):
        start = number * RECORD_BYTES
        assert data[start : start + RECORD_BYTES] == record(number)
    return count


class AppendLoad:
    """Appends until it is stopped or the medium ends."""

    def __init__(
        self,
        medium: Medium,
        name: str,
        confirmed: Callable[[int], None] = lambda _: None,
        window: int = WINDOW,
    ) -> None:
        self.error: StorageError | None = None
        self.confirmed = 0
        """How many records were confirmed; they are the first ones."""
        self._medium = medium
        self._name = name
        self._window = window
        self._told = confirmed
        self._in_flight = 0
        self._stopping = False
        self._changed = Condition()
        self._thread = Thread(target=self._run, daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    def await_confirmed(self, more: int, deadline_s: float = DEADLINE_S) -> None:
        """Wait until so many more records are confirmed."""
        wanted = self.confirmed + more
        with self._changed:
            done = self._changed.wait_for(
                lambda: self.confirmed >= wanted or self.error, deadline_s
            )
        assert done, f"{self.confirmed} confirmed of {wanted}"
        assert self.error is None, self.error

    def await_error(self, deadline_s: float = DEADLINE_S) -> StorageError:
        with self._changed:
            assert self._changed.wait_for(lambda: self.error is not None, deadline_s)
        assert self.error is not None
        return self.error

    def stop(self) -> None:
        """Begin no more, and wait for the answers."""
        self._stopping = True
        self._thread.join(DEADLINE_S)
        with self._changed:
            assert self._changed.wait_for(lambda: not self._in_flight or self.error, DEADLINE_S)

    def check(self, medium: Medium) -> int:
        """Every confirmed record has to be there, in order. Returns how many are."""
        found = records_in(content(medium, self._name))
        assert found >= self.confirmed
        return found

    def _run(self) -> None:
        number = 0
        while not self._stopping and self.error is None:
            with self._changed:
                self._changed.wait_for(lambda: self._in_flight < self._window or self.error, 1.0)
                if self._in_flight >= self._window or self.error:
                    continue
                self._in_flight += 1
            try:
                self._begin(number)
            except MediumFull:
                with self._changed:
                    self._in_flight -= 1
                    self._changed.wait(0.05)
                continue
            except StorageError as error:
                self._answer(number, error)
            number += 1

    def _begin(self, number: int) -> None:
        medium, answer = self._medium, partial(self._answer, number)
        if not medium.append_synced_at_once(self._name, record(number), answer):
            medium.append_synced_later(self._name, record(number), answer)

    def _answer(self, number: int, error: StorageError | None) -> None:
        with self._changed:
            self._in_flight -= 1
            if error is not None:
                self.error = self.error or error
            else:
                assert number == self.confirmed, "answered out of order"
                self.confirmed += 1
                self._told(number)
            self._changed.notify_all()


def main() -> None:
    medium = open_medium(sys.argv[1])
    take(medium)
    medium.create(sys.argv[2])

    def confirmed(number: int) -> None:
        print(number, flush=True)

    error = AppendLoad(medium, sys.argv[2], confirmed).start().await_error(3600)
    print(type(error).__name__, flush=True)


if __name__ == "__main__":
    main()
