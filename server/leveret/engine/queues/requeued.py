"""The requeued messages of a FIFO backlog: those that were popped and put back to their positions.

They precede all that were never popped, so they are a heap by position. When memory is needed they
are on disk only (`released.py`), and read again when one of them is the next to be popped.
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


class RequeuedMessages:
    """The requeued messages of one backlog, which has one at least."""

    def __init__(self, loaded: Callable[[int], None]) -> None:
        """`loaded` is called, with 0, when messages have been read from disk."""
        self.cost: i64 = 0
        """Bytes of memory of those that are not on disk only."""
        self._loaded = loaded
        self._heap: list[tuple[int, Message]] = []

    def is_empty(self) -> bool:
        """Whether there is none, so that the object is to be dropped."""
        return not self._heap

    def first_position(self) -> i64:
        """The position of the first one."""
        return self._heap[0][0]

    def add(self, message: Message, position: i64) -> bool:
        """Add a message.

        :returns: whether the cost has to be charged.
        """
        heappush(self._heap, (int(position), message))
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
        position, message = self._heap[0]
        if isinstance(message, ReleasedMessage):
            found = message.message_at(position)
            message.requeued -= 1
            if message.requeued == 0:
                message.messages = None
        else:
            found = message
            self.cost -= _cost(message)
        heappop(self._heap)
        return position, found

    def take_all(self) -> list[tuple[int, Message]]:
        """Remove and return all, with their positions."""
        taken = self._heap
        self._heap = []
        self.cost = 0
        return taken

    # --- disk ---------------------------------------------------------------------------------

    def next_message(self, store: Store | None) -> Message | None:
        """The first one; None if it is on disk only, and then it is read."""
        position, message = self._heap[0]
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
        message = self._heap[0][1]
        if isinstance(message, ReleasedMessage) and store is not None:
            message.load_blocking(store)

    def release(self, release_popped: Callable[[list[tuple[int, Message]]], list[Message]]) -> bool:
        """Have some of them on disk only.

        :param release_popped: that of the backlog.
        :returns: whether there may be more to release.
        """
        self._heap.sort()
        start, selected = first_in_memory(self._heap)
        retained = release_popped(selected)
        released = 0
        for offset, (position, message) in enumerate(selected):
            replacement = retained[offset]
            if isinstance(replacement, ReleasedMessage):
                self._heap[start + offset] = (position, replacement)
                replacement.requeued += 1
                self.cost -= _cost(message)
                released += 1
        return released != 0


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


def _cost(message: Message) -> i64:
    return message_cost(len(message.body) + len(message.header), 1)
