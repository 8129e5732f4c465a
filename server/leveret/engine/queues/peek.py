"""The ready messages of a queue as a look finds them, which changes nothing.

No message is marked as delivered, none is counted, and none that is on disk stays in memory. A view
is made at once, whatever the queue has: it refers to what is there, and copies no more than a chunk
or two. Whoever reads it does so in slices, while the queue goes on: messages that have left it
since are still in the view, and only the journal says so.

Deliberately elsewhere: reading a view, with its runs on disk (`administration/reader.py`).
"""

from mypy_extensions import i64

from leveret.engine.queues.packed_run import PackedRun
from leveret.engine.values.message import Message
from leveret_storage.segments.queue_journal import QueueJournal, Run


class Part:
    """Messages in the order of delivery, with ascending positions, in memory or on disk."""

    def __init__(self, first: i64, messages: list[Message] | None, run: Run | None) -> None:
        self.first = first
        """The position of its first message."""
        self.messages = messages
        """None while they are not in memory."""
        self.run = run
        """Where they are on disk; None if they are not."""
        self.live: list[tuple[int, int]] | None = None
        """The positions of the run that belong to it, if these are not all."""

    def ranges(self) -> list[tuple[int, int]]:
        """The positions of its messages, as half-open ranges."""
        messages, run, live, first = self.messages, self.run, self.live, int(self.first)
        if messages is not None:
            return [(first, first + len(messages))]
        if live is not None:
            return live
        return [] if run is None else [(first, first + int(run.count))]

    def in_memory(self) -> tuple[list[Message], i64] | None:
        """Messages, and the position that the first of them has; None if they have to be read from
        the run."""
        messages, run = self.messages, self.run
        if messages is not None:
            return messages, self.first
        if run is not None and run.messages is not None:
            return run.messages, run.first
        return None

    def origin(self) -> i64:
        """The position of the first message of the run."""
        run = self.run
        return self.first if run is None else run.first


class PackedPart(Part):
    """The messages of one priority in a run that several share."""

    def __init__(self, first: i64, packed: PackedRun, at: i64, end: i64) -> None:
        """
        :param at: where they begin in the run, up to `end`.
        """
        super().__init__(first, None, packed.run)
        self.live = [(int(first), int(first + end - at))]
        self._packed = packed
        self._origin = first - at

    def in_memory(self) -> tuple[list[Message], i64] | None:
        # Those that were unpacked since are not on disk any more.
        messages = self._packed.messages
        if messages is None:
            messages = self._packed.run.messages
        return None if messages is None else (messages, self._origin)

    def origin(self) -> i64:
        return self._origin


class RequeuedPart(Part):
    """Requeued messages, which precede the others, some of them without the ones before."""

    def __init__(self, skipped: i64, entries: list[tuple[int, Message]]) -> None:
        """
        :param skipped: how many there are before these.
        :param entries: positions and messages; a `ReleasedMessage` in place of one on disk.
        """
        super().__init__(0, [], None)
        self.skipped = skipped
        self.entries = entries


class View:
    """The ready messages of one backlog, or of one of its priorities."""

    def __init__(
        self, parts: list[Part], skipped: i64, delivered_end: i64, journal: QueueJournal | None
    ) -> None:
        """
        :param skipped: how many there are if there are no parts, because all of them are skipped.
        :param delivered_end: those at positions below it may have been delivered.
        """
        self.parts = parts
        self.skipped = skipped
        self.delivered_end = delivered_end
        self.journal = journal
        """Says which of them were settled since."""
