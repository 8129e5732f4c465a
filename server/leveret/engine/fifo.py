"""The backlog of a queue: messages first in, first out.

Appending and popping are list operations at the list's end, which cost nothing else. The tail
grows at its end; the head is a list turned round, popped from its end; between them lie full
chunks, already turned round. So nothing is ever shifted, and memory goes back chunk by chunk.
"""

from collections import deque
from typing import Final

from mypy_extensions import i64

from leveret.engine.message import Message

CHUNK_MESSAGES: Final = 1024
"""Messages of a chunk: long enough that turning one round is no cost per message, short enough
that it takes no time another connection would notice."""


class Fifo:
    """Messages in order; the owner asks `count` before it pops."""

    def __init__(self) -> None:
        self.count: i64 = 0
        self._head: list[Message] = []
        self._chunks: deque[list[Message]] = deque()
        self._tail: list[Message] = []

    def append(self, message: Message) -> None:
        """Put a message behind all others."""
        self._tail.append(message)
        self.count += 1
        if len(self._tail) == CHUNK_MESSAGES:
            self._tail.reverse()
            self._chunks.append(self._tail)
            self._tail = []

    def pop(self) -> Message:
        """Take the oldest message.

        :raises IndexError: if there is none.
        """
        if not self._head:
            if self._chunks:
                self._head = self._chunks.popleft()
            else:
                self._tail.reverse()
                self._head, self._tail = self._tail, self._head
        message = self._head.pop()
        self.count -= 1
        return message

    def clear(self) -> None:
        """Drop every message."""
        self.count = 0
        self._head = []
        self._chunks.clear()
        self._tail = []
