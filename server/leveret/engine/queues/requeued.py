"""The requeued messages of a FIFO backlog: those that were popped and put back to their positions.

They precede all that were never popped, and are popped by position. Mostly they come back in order:
then they are a sorted list, with their positions in an array. Those that come back out of order are
in a heap, until they are merged into the list because memory is needed. When memory is needed they
are on disk only (`released.py`), and read again when one of them is the next to be popped. What
remains in memory of each is its place in the list and in the array: a small object of its own would
keep a whole arena of Python's allocator from being freed.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final

from mypy_extensions import i64

from leveret.engine.queues.message_memory import message_cost
from leveret.engine.queues.peek import RequeuedPart
from leveret.engine.queues.released import (
    RELEASED_MESSAGES_MAX,
    RELEASED_OCTETS_MAX,
    ReleasedMessage,
)
from leveret.engine.values.message import Message
from leveret_storage.store.store import Store

REQUEUED_STEP: Final = 64 * 1024
"""Bytes of memory of requeued messages that are charged at once."""

POPPED_ENTRIES_MIN: Final = 1024
"""Popped entries from which on they are dropped, once they are the larger part of the list."""

MERGED_AT_ONCE: Final = 1024
"""Messages that are merged into the list at once, in a millisecond or two."""

EXAMINED_AT_ONCE: Final = 8192
"""Entries of the list that are examined at once for some to release: some 0.3 ms."""

POPPED: Final = Message(b"", b"", b"", False)
"""In place of each popped message."""


class RequeuedMessages:
    """The requeued messages of one backlog, which has one at least."""

    def __init__(self, loaded: Callable[[int], None]) -> None:
        """`loaded` is called, with 0, when messages have been read from disk."""
        self.cost: i64 = 0
        """Bytes of memory of those that are not on disk only."""
        self._loaded = loaded
        self._positions = array("q")
        self._messages: list[Message] = []
        """The sorted list, and the position of each message in it."""
        self._first: i64 = 0
        """The index in them of the first message that was not popped."""
        self._unreleased_from: i64 = 0
        """The index before which nothing more can be released."""
        self._heap: list[tuple[int, Message]] = []
        """Those that came back out of order, with their positions."""

    def is_empty(self) -> bool:
        """Whether there is none, so that the object is to be dropped."""
        return self._first == len(self._messages) and not self._heap

    def first_position(self) -> i64:
        """The position of the first one."""
        return self._heap[0][0] if self._heap_is_next() else self._positions[self._first]

    def _heap_is_next(self) -> bool:
        """Whether the first one is in the heap."""
        heap = self._heap
        if not heap:
            return False
        return self._first == len(self._messages) or heap[0][0] < self._positions[self._first]

    def add(self, message: Message, position: i64) -> bool:
        """Add a message.

        :returns: whether the cost has to be charged.
        """
        if self._first == len(self._messages) and self._first > 0:
            self._drop_popped()
        if not self._messages or self._positions[-1] < position:
            self._positions.append(int(position))
            self._messages.append(message)
        else:
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
        from_heap = self._heap_is_next()
        if from_heap:
            position, message = self._heap[0]
        else:
            position, message = self._positions[self._first], self._messages[self._first]
        if isinstance(message, ReleasedMessage):
            found = message.message_at(position)
            message.requeued -= 1
            if message.requeued == 0:
                message.messages = None
        else:
            found = message
            self.cost -= _cost(message)
        if from_heap:
            heappop(self._heap)
        else:
            # Nothing refers to it any more.
            self._messages[self._first] = POPPED
            self._first += 1
            if self._first >= POPPED_ENTRIES_MIN and self._first * 2 > len(self._messages):
                self._drop_popped()
        return position, found

    def _drop_popped(self) -> None:
        first = int(self._first)
        del self._positions[:first]
        del self._messages[:first]
        self._unreleased_from = max(self._unreleased_from - first, 0)
        self._first = 0

    def take_all(self) -> list[tuple[int, Message]]:
        """Remove and return all, with their positions."""
        self._drop_popped()
        taken = list(zip(self._positions, self._messages, strict=True)) + self._heap
        self._positions = array("q")
        self._messages = []
        self._heap = []
        self._unreleased_from = 0
        self.cost = 0
        return taken

    def part(self, offset: i64, most: i64, positions: list[int] | None) -> RequeuedPart | None:
        """Some of them for a look: those at `positions`, or else `most` behind the first `offset`.

        :returns: None if it is to be called again, because very many came back out of order.
        """
        if len(self._heap) > MERGED_AT_ONCE:
            self._merge()
            return None
        if positions is not None:
            return RequeuedPart(0, self._at(positions))
        heap = sorted(self._heap, key=_position)
        start, end = int(self._first), len(self._messages)
        count = end - start + len(heap)
        skipped = min(int(offset), count)
        # How many of the heap, and of the list, are among those that are skipped.
        low, high = 0, len(heap)
        while low < high:
            middle = (low + high) // 2
            before = bisect_left(self._positions, heap[middle][0], start) - start
            if middle + before < skipped:
                low = middle + 1
            else:
                high = middle
        start += skipped - low
        end = min(end, start + int(most))
        entries = list(zip(self._positions[start:end], self._messages[start:end], strict=True))
        entries += heap[low : low + int(most)]
        entries.sort(key=_position)
        return RequeuedPart(skipped, entries[: int(most)])

    def _at(self, positions: list[int]) -> list[tuple[int, Message]]:
        """Those that are at these positions, in their order."""
        out_of_order = dict(self._heap)
        found: list[tuple[int, Message]] = []
        for position in sorted(positions):
            message = out_of_order.get(position)
            if message is None:
                at = bisect_left(self._positions, position, int(self._first))
                if at < len(self._positions) and self._positions[at] == position:
                    message = self._messages[at]
            if message is not None:
                found.append((position, message))
        return found

    def remove(self, position: i64) -> bool:
        """Remove the one at a position; whether there was one."""
        at = bisect_left(self._positions, int(position), int(self._first))
        if at < len(self._positions) and self._positions[at] == position:
            message = self._messages[at]
            if at == self._first:
                self._messages[at] = POPPED
                self._first += 1
            else:
                del self._positions[at]
                del self._messages[at]
                if at < self._unreleased_from:
                    self._unreleased_from -= 1
        else:
            at = 0
            while at < len(self._heap) and self._heap[at][0] != position:
                at += 1
            if at == len(self._heap):
                return False
            message = self._heap.pop(at)[1]
            heapify(self._heap)
        if isinstance(message, ReleasedMessage):
            message.requeued -= 1
            if message.requeued == 0:
                message.messages = None
        else:
            self.cost -= _cost(message)
        return True

    # --- disk ---------------------------------------------------------------------------------

    def next_message(self, store: Store | None) -> Message | None:
        """The first one; None if it is on disk only, and then it is read."""
        message = self._first_entry()
        if not isinstance(message, ReleasedMessage):
            return message
        if message.is_loaded():
            return message.message_at(self.first_position())
        if store is not None and not message.loading:
            message.loading = True
            store.read_run(message.run, _ReleasedRead(message, self._loaded).done)
        return None

    def _first_entry(self) -> Message:
        return self._heap[0][1] if self._heap_is_next() else self._messages[self._first]

    def load_blocking(self, store: Store | None) -> None:
        """Read the first one, and wait for it, if it is on disk only."""
        message = self._first_entry()
        if isinstance(message, ReleasedMessage) and store is not None:
            message.load_blocking(store)

    def release(self, release_popped: Callable[[list[tuple[int, Message]]], list[Message]]) -> bool:
        """Have some of them on disk only.

        :param release_popped: that of the backlog.
        :returns: whether there may be more to release.
        """
        if self._heap:
            self._merge()
            return True
        start, selected = self._next_in_memory()
        retained = release_popped(selected)
        for offset, (_, message) in enumerate(selected):
            replacement = retained[offset]
            if isinstance(replacement, ReleasedMessage):
                self._messages[start + offset] = replacement
                replacement.requeued += 1
                self.cost -= _cost(message)
        return self._unreleased_from < len(self._messages)

    def _next_in_memory(self) -> tuple[i64, list[tuple[int, Message]]]:
        """The next entries in a row that are in memory: as many as are released at once.

        :returns: the index of the first one, and their positions and messages.
        """
        messages = self._messages
        at = max(self._unreleased_from, self._first)
        end = min(at + EXAMINED_AT_ONCE, len(messages))
        while at < end and isinstance(messages[at], ReleasedMessage):
            at += 1
        start = at
        octets: i64 = 0
        found: list[tuple[int, Message]] = []
        while at < end and len(found) < RELEASED_MESSAGES_MAX and octets < RELEASED_OCTETS_MAX:
            message = messages[at]
            if isinstance(message, ReleasedMessage):
                break
            found.append((self._positions[at], message))
            octets += len(message.body)
            at += 1
        self._unreleased_from = at
        return start, found

    def _merge(self) -> None:
        """Merge some of the heap into the list."""
        heap, old_positions, old_messages = self._heap, self._positions, self._messages
        positions = array("q")
        messages: list[Message] = []
        at = int(self._first)
        released_end: i64 = max(self._unreleased_from - self._first, 0)
        for _ in range(min(MERGED_AT_ONCE, len(heap))):
            position, message = heappop(heap)
            end = bisect_left(old_positions, position, at)
            positions += old_positions[at:end]
            messages += old_messages[at:end]
            released_end = min(released_end, len(messages))
            positions.append(position)
            messages.append(message)
            at = end
        self._positions = positions + old_positions[at:]
        self._messages = messages + old_messages[at:]
        self._first = 0
        self._unreleased_from = released_end


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


def _position(entry: tuple[int, Message]) -> int:
    return entry[0]
