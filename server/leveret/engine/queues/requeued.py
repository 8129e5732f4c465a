"""The requeued messages of a FIFO backlog: those that were popped and put back to their positions.

They precede all that were never popped, and are popped by position. Mostly they come back in order:
then they are a sorted list. If one comes back out of order they are a heap, until they are sorted
because memory is needed. When memory is needed they are on disk only (`released.py`), and read
again when one of them is the next to be popped.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final

from mypy_extensions import i64

from leveret.engine.queues.message_memory import message_cost
from leveret.engine.queues.released import ReleasedMessage, first_in_memory
from leveret.engine.values.message import Message
from leveret_storage.store.store import Store

REQUEUED_STEP: Final = 64 * 1024
"""Bytes of memory of requeued messages that are charged at once."""


POPPED_ENTRIES_MIN: Final = 1024
"""Popped entries from which on they are dropped, once they are the larger part of a sorted list."""

POPPED: Final = Message(b"", b"", b"", False)
"""In place of each popped message."""


class RequeuedMessages:
    """The requeued messages of one backlog, which has one at least."""

    def __init__(self, loaded: Callable[[int], None]) -> None:
        """`loaded` is called, with 0, when messages have been read from disk."""
        self.cost: i64 = 0
        """Bytes of memory of those that are not on disk only."""
        self._loaded = loaded
        self._entries: list[tuple[int, Message]] = []
        self._first: i64 = 0
        """The index of the first entry that was not popped; 0 in a heap."""
        self._sorted = True
        """Whether the entries are a sorted list, rather than a heap."""
        self._unreleased_from = 0
        """The index in a sorted list before which nothing more can be released."""

    def is_empty(self) -> bool:
        """Whether there is none, so that the object is to be dropped."""
        return self._first == len(self._entries)

    def first_position(self) -> i64:
        """The position of the first one."""
        return self._entries[self._first][0]

    def add(self, message: Message, position: i64) -> bool:
        """Add a message.

        :returns: whether the cost has to be charged.
        """
        entries = self._entries
        entry = (int(position), message)
        if self._sorted and (not entries or entries[-1][0] < entry[0]):
            entries.append(entry)
        else:
            self._make_heap()
            heappush(entries, entry)
        if isinstance(message, ReleasedMessage):
            message.requeued += 1
            return False
        before = self.cost
        self.cost = before + _cost(message)
        return self.cost // REQUEUED_STEP != before // REQUEUED_STEP

    def pop(self) -> tuple[int, Message]:
        """Remove and return the first one, with its position.

        :raises IndexError: if it is not in memory.
        """
        position, message = self._entries[self._first]
        if isinstance(message, ReleasedMessage):
            found = message.message_at(position)
            message.requeued -= 1
            if message.requeued == 0:
                message.messages = None
        else:
            found = message
            self.cost -= _cost(message)
        if self._sorted:
            # Nothing refers to it any more.
            self._entries[self._first] = (position, POPPED)
            self._first += 1
            if self._first >= POPPED_ENTRIES_MIN and self._first * 2 > len(self._entries):
                self._drop_popped()
        else:
            heappop(self._entries)
        return position, found

    def _drop_popped(self) -> None:
        first = int(self._first)
        del self._entries[:first]
        self._unreleased_from = max(self._unreleased_from - first, 0)
        self._first = 0

    def _make_heap(self) -> None:
        """A sorted list is a heap, once nothing is before its first entry."""
        if self._sorted:
            self._drop_popped()
            self._sorted = False

    def take_all(self) -> list[tuple[int, Message]]:
        """Remove and return all, with their positions."""
        self._drop_popped()
        taken = self._entries
        self._entries = []
        self._sorted = True
        self._unreleased_from = 0
        self.cost = 0
        return taken

    # --- disk ---------------------------------------------------------------------------------

    def next_message(self, store: Store | None) -> Message | None:
        """The first one; None if it is on disk only, and then it is read."""
        position, message = self._entries[self._first]
        if not isinstance(message, ReleasedMessage):
            return message
        if message.is_loaded():
            return message.message_at(position)
        if store is not None and not message.loading:
            message.loading = True
            store.read_run(message.run, _ReleasedRead(message, self._loaded).done)
        return None

    def load_blocking(self, store: Store | None) -> None:
        """Read the first one, and wait for it, if it is on disk only."""
        message = self._entries[self._first][1]
        if isinstance(message, ReleasedMessage) and store is not None:
            message.load_blocking(store)

    def release(self, release_popped: Callable[[list[tuple[int, Message]]], list[Message]]) -> bool:
        """Have some of them on disk only.

        :param release_popped: that of the backlog.
        :returns: whether there may be more to release.
        """
        if not self._sorted:
            self._entries.sort(key=_position)
            self._sorted = True
            self._unreleased_from = 0
        start, selected = first_in_memory(
            self._entries, max(self._unreleased_from, int(self._first))
        )
        self._unreleased_from = start + len(selected)
        retained = release_popped(selected)
        released = 0
        for offset, (position, message) in enumerate(selected):
            replacement = retained[offset]
            if isinstance(replacement, ReleasedMessage):
                self._entries[start + offset] = (position, replacement)
                replacement.requeued += 1
                self.cost -= _cost(message)
                released += 1
        return released != 0 or self._unreleased_from < len(self._entries)


class _ReleasedRead:
    """A run of released messages that is being read, because one of them was requeued."""

    def __init__(self, released: ReleasedMessage, loaded: Callable[[int], None]) -> None:
        self._released = released
        self._loaded = loaded

    def done(self, messages: list[Message]) -> None:
        self._released.loading = False
        if self._released.requeued != 0:
            self._released.messages = messages
            self._loaded(0)


def _position(entry: tuple[int, Message]) -> int:
    return entry[0]


def _cost(message: Message) -> i64:
    return message_cost(len(message.body) + len(message.header), 1)
