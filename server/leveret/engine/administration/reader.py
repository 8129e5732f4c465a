"""Reading the ready messages of a queue in slices, which changes nothing.

It reads a view of them (`queues/peek.py`), as they were when it began, and leaves out what has left
the queue since. Runs that are on disk are read by the reading thread, one at a time, and dropped
again: so a look at a deep queue needs little memory, and nothing waits for it.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from leveret.engine.queues.backlog import Backlog
from leveret.engine.queues.peek import Part, RequeuedPart, View
from leveret.engine.queues.released import ReleasedMessage
from leveret.engine.values.message import Message
from leveret_storage.format.entries import ABSENT
from leveret_storage.segments.queue_journal import QueueJournal, Run

PARTS_AT_ONCE: Final = 64
"""Parts of a view that are skipped before the slice is looked at."""


class Found(NamedTuple):
    """A ready message."""

    position: int
    message: Message
    redelivered: bool
    """Whether it was delivered before."""


class Reader:
    """The ready messages of a queue, one after the other."""

    def __init__(
        self, backlog: Backlog, offset: int, most: int, positions: list[int] | None = None
    ) -> None:
        """
        :param offset: how many messages are skipped.
        :param most: how many are read at most.
        :param positions: the messages to read instead; those that are not there are left out.
        """
        self.ended = False
        """Whether it reads no further message."""
        self.at_end = False
        """Whether there is none behind the last one that it has read."""
        self.count = 0
        """How many messages were read."""
        self.bytes_read = 0
        """Bytes of their bodies, and of the runs that were read for them."""
        self._backlog = backlog
        self._offset = offset
        self._most = most
        self._wanted = None if positions is None else sorted(set(positions))
        self._unread: Run | None = None
        """The run to be read before there is a next message."""
        self._run: Run | None = None
        self._messages: list[Message] = []
        """The run that was read last, and its messages."""
        self._steps = self._all()

    def next(self) -> Found | None:
        """The next message; None if there is none at the moment: because there is no further one,
        because a run has to be read (`has_to_read`), or because some were skipped, and it is to be
        called again."""
        return None if self.ended else next(self._steps, None)

    def has_to_read(self) -> bool:
        """Whether `read` is to be called before the next message."""
        return self._unread is not None

    def read(self, done: Callable[[], None]) -> None:
        """Have the run read that has the next message, and call `done` then."""
        run, store = self._unread, self._backlog.store
        if run is None or store is None or any(each.segment.obsolete for each in run.locations()):
            # The queue was deleted.
            self.ended = self.at_end = True
            self._unread = None
            done()
            return

        def got(messages: list[Message]) -> None:
            self._run, self._messages = run, messages
            self._unread = None
            self.bytes_read += int(run.size)
            done()

        store.read_run(run, got)

    def _all(self) -> Iterator[Found | None]:
        """The messages; None where it may be interrupted."""
        backlog = self._backlog
        views = backlog.views(self._offset, self._most, self._wanted)
        while views is None:
            yield None
            views = backlog.views(self._offset, self._most, self._wanted)
        to_skip = self._offset
        for view in views:
            to_skip -= int(view.skipped)
            position = -1
            for number, part in enumerate(view.parts):
                if number % PARTS_AT_ONCE == 0:
                    yield None
                if isinstance(part, RequeuedPart):
                    to_skip -= int(part.skipped)
                    yield from self._requeued(part, view.journal)
                    if self.ended:
                        return
                    continue
                for first, end in self._selected(part):
                    # A chunk that was joined with the next one since has that one's messages, too.
                    start = max(first, position + 1)
                    skipped = min(max(to_skip, 0), max(end - start, 0))
                    to_skip -= skipped
                    position = max(position, end - 1)
                    if start + skipped < end:
                        yield from self._range(view, part, start + skipped, end)
                        if self.ended:
                            return
        self.ended = self.at_end = True

    def _selected(self, part: Part) -> list[tuple[int, int]]:
        """The ranges of positions that are to be read of a part."""
        wanted = self._wanted
        if wanted is None:
            return part.ranges()
        return [
            (position, position + 1)
            for first, end in part.ranges()
            for position in wanted[bisect_left(wanted, first) : bisect_left(wanted, end)]
        ]

    def _range(self, view: View, part: Part, start: int, end: int) -> Iterator[Found | None]:
        """The messages of a part at a range of positions."""
        journal, delivered_end = view.journal, int(view.delivered_end)
        if self._has_enough():
            return
        loaded = part.in_memory()
        if loaded is None:
            if part.run is None:
                return
            yield from self._read(part.run)
            messages, origin = self._messages, int(part.origin())
        else:
            messages, origin = loaded[0], int(loaded[1])
        for position in range(start, end):
            if self._has_enough():
                return
            message = messages[position - origin]
            if _is_there(message, position, journal):
                yield self._found(position, message, position < delivered_end)

    def _requeued(self, part: RequeuedPart, journal: QueueJournal | None) -> Iterator[Found | None]:
        for position, entry in part.entries:
            if self._has_enough():
                return
            message = entry
            if isinstance(entry, ReleasedMessage):
                messages = entry.run.messages
                if messages is None:
                    yield from self._read(entry.run)
                    messages = self._messages
                message = messages[position - int(entry.run.first)]
            if _is_there(message, position, journal):
                yield self._found(position, message, True)

    def _read(self, run: Run) -> Iterator[None]:
        """Wait until a run is read."""
        while self._run is not run:
            self._unread = run
            yield None

    def _found(self, position: int, message: Message, redelivered: bool) -> Found:
        self.count += 1
        self.bytes_read += len(message.body)
        return Found(position, message, redelivered)

    def _has_enough(self) -> bool:
        """Whether as many messages were read as are to be read, so that it ends."""
        if self._wanted is None and self.count >= self._most:
            self.ended = True
        return self.ended


def _is_there(message: Message, position: int, journal: QueueJournal | None) -> bool:
    """Whether a message that was read has not left the queue since."""
    return message is not ABSENT and (journal is None or not journal.is_settled(position))
