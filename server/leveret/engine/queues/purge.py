"""A purge: messages that a queue dropped all at once are settled and freed in slices.

A purge or a deletion takes everything out of a queue at once. Of most messages nothing is left to
do: they are settled as one range of positions, and are on disk. What has to be done one by one, and
could take long, is work of its own.
"""

from collections import deque

from leveret.engine.queues.chunks import Chunk
from leveret.engine.queues.dead_letter import DropSource
from leveret.engine.values.message import Message
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work


class DroppedMessages:
    """What is left of the messages of one backlog."""

    def __init__(self, requeued: list[tuple[int, Message]], chunks: deque[Chunk]) -> None:
        self.requeued = requeued
        """Those that had been requeued, by position, which are not settled."""
        self.chunks = chunks
        """Chunks of the others, which are."""


class Purge(Work):
    """Settles and frees what a queue has dropped."""

    def __init__(
        self,
        contents: DropSource | None,
        dropped: list[DroppedMessages],
        delayed: list[tuple[int, int, Message]],
        count: int,
    ) -> None:
        """:param contents: what settles; None if the queue is deleted, with all that is in the
            store.
        :param delayed: messages that were retry-delayed: end of the delay, position, message.
        """
        self.count = count
        """How many messages were dropped."""
        self._contents = contents
        self._dropped = dropped
        self._delayed = delayed

    def run(self, time_slice: TimeSlice) -> bool:
        while not self.is_done():
            self._settle_next()
            if time_slice.is_over_now():
                break
        return self.is_done()

    def is_done(self) -> bool:
        """Whether nothing is left."""
        return not self._dropped and not self._delayed

    def _settle_next(self) -> None:
        contents = self._contents
        if self._delayed:
            position = self._delayed.pop()[1]
        else:
            dropped = self._dropped[-1]
            if dropped.requeued:
                position = dropped.requeued.pop()[0]
            else:
                if dropped.chunks:
                    dropped.chunks.popleft()
                else:
                    self._dropped.pop()
                return
        if contents is not None:
            contents.settle_position(position)
