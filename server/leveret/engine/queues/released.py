"""Messages that were popped and are on disk only: their bodies are read again if they are requeued.

An unacknowledged message needs its body only if it is requeued or rejected. When memory is needed,
it is replaced by a `ReleasedMessage`, one for all messages of a run: the position says which of
them is meant. A message that came from disk has a run already; others are written as runs.

Deliberately elsewhere: when memory is needed (`message_memory.py`), and who has popped messages
(the deliveries of a channel, and the requeued messages of a backlog).
"""

from typing import Final

from mypy_extensions import i64

from leveret.engine.queues.message_memory import message_cost
from leveret.engine.values.message import Message
from leveret_storage.errors import StorageError
from leveret_storage.segments.queue_journal import QueueJournal, Run
from leveret_storage.store.store import Store

WRITTEN_COST_MIN: Final = 4096
"""Bytes of memory of consecutive messages from which on they are written to release them: what
stays in memory for a run takes half a kilobyte."""

RELEASED_MESSAGES_MAX: Final = 1024
RELEASED_OCTETS_MAX: Final = 256 * 1024
"""Messages, and octets of their bodies, that are released at once, so that a run is no longer than
a chunk of a backlog."""

RUNS_PRUNED_FROM: Final = 64
"""Runs of one queue from which on those that hold no unsettled message are searched."""


class ReleasedMessage(Message):
    """Stands for each message of a run that is on disk only."""

    def __init__(self, run: Run) -> None:
        super().__init__(b"", b"", b"", True)
        self.run = run
        self.messages: list[Message] | None = None
        """The messages of the run while they are needed, else None."""
        self.loading = False
        """Whether they are being read."""
        self.requeued: i64 = 0
        """Messages of the run that were requeued and not popped again."""
        self._sizes: list[int] = []
        """Octets of the bodies by place in the run, those of released messages only."""

    def stand_for(self, position: int, message: Message) -> None:
        """Stand for a message at a position."""
        if not self._sizes:
            self._sizes = [0] * int(self.run.count)
        self._sizes[position - int(self.run.first)] = len(message.body)
        if message.expires_at != 0:
            # Its queue has to check whether messages expire.
            self.expires_at = message.expires_at

    def size_of(self, position: i64) -> i64:
        """Octets of the body at a position."""
        return self._sizes[position - self.run.first] if self._sizes else 0

    def is_loaded(self) -> bool:
        """Whether the messages are in memory. Those of a run that is being written still are."""
        if self.messages is None:
            self.messages = self.run.messages
        return self.messages is not None

    def message_at(self, position: i64) -> Message:
        """The message at a position.

        :raises IndexError: if it is not in memory.
        """
        messages = self.messages
        if messages is None:
            raise IndexError("a released message is not in memory")
        return messages[position - self.run.first]

    def load_blocking(self, store: Store) -> None:
        """Read the messages, and wait for them. If that fails, so does the store."""
        if not self.is_loaded():
            try:
                self.messages = store.read_run_blocking(self.run)
            except StorageError as error:
                store.fail(error)


def body_size(message: Message, position: i64) -> i64:
    """Octets of the body of a message, which may be released."""
    if isinstance(message, ReleasedMessage):
        return message.size_of(position)
    return len(message.body)


class ReleasedRuns:
    """The runs of one queue that hold messages which were popped, in the order of positions."""

    def __init__(self) -> None:
        self._runs: list[ReleasedMessage] = []
        self._pruned_from = RUNS_PRUNED_FROM

    def add(self, run: Run) -> ReleasedMessage:
        """Add a run that messages were popped from, or that was written of popped ones."""
        if len(self._runs) >= self._pruned_from:
            self.prune()
        at = self._index(run.first)
        if at > 0 and self._runs[at - 1].run is run:
            return self._runs[at - 1]
        released = ReleasedMessage(run)
        self._runs.insert(at, released)
        return released

    def prune(self) -> None:
        """Forget the runs that hold no unsettled message: their segment was deleted."""
        self._runs = [each for each in self._runs if not each.run.segment.obsolete]
        self._pruned_from = max(RUNS_PRUNED_FROM, 2 * len(self._runs))

    def release(
        self, store: Store, journal: QueueJournal, popped: list[tuple[int, Message]]
    ) -> list[Message]:
        """Release popped messages, which are in the order of their positions.

        :returns: what to keep in place of each: itself if it cannot be released.
        """
        retained: list[Message] = []
        group: list[Message] = []
        first = 0
        for position, message in popped:
            if isinstance(message, ReleasedMessage):
                found: ReleasedMessage | None = message
            else:
                found = self._find(position)
                if found is not None:
                    found.stand_for(position, message)
            if group and (found is not None or position != first + len(group)):
                retained += self._write(store, journal, first, group)
                group = []
            if found is not None:
                retained.append(found)
                continue
            if not group:
                first = position
            group.append(message)
        return retained + self._write(store, journal, first, group)

    def _write(
        self, store: Store, journal: QueueJournal, first: int, messages: list[Message]
    ) -> list[Message]:
        octets: i64 = 0
        for message in messages:
            octets += len(message.body) + len(message.header)
        if message_cost(octets, len(messages)) < WRITTEN_COST_MIN:
            return messages
        released = self.add(store.write_run(journal, first, messages))
        for at, message in enumerate(messages):
            released.stand_for(first + at, message)
        return [released] * len(messages)

    def _find(self, position: int) -> ReleasedMessage | None:
        at = self._index(position)
        if at == 0:
            return None
        released = self._runs[at - 1]
        return released if position < released.run.end else None

    def _index(self, position: i64) -> int:
        """The index behind the last run that begins at a position or before."""
        runs = self._runs
        low, high = 0, len(runs)
        while low < high:
            middle = (low + high) // 2
            if runs[middle].run.first <= position:
                low = middle + 1
            else:
                high = middle
        return low
