"""A sink: what a route leads to, and what takes a message that is published.

Sinks are queues, the store of a delayed exchange, the discard of duplicates, and the replies of a
direct reply-to consumer. A sink takes messages and nothing else: what can be bound to an exchange
is a `Destination`.

Publishing to several sinks writes the message to the log once. So a sink does not write: it adds
its journal and position to the `PersistTargets` that it is given, and the publisher
(`flow/publish.py`) writes one entry for all of them.
"""

from typing import Final

from mypy_extensions import i64

from leveret.engine.values.counters import QueueCounters
from leveret.engine.values.message import Message
from leveret_storage.segments.queue_journal import QueueJournal
from leveret_storage.store.store import Store

ACCEPTED: Final = 1
"""The sink accepted the message."""
THROTTLE: Final = 2
"""The publisher should slow down: the consumers or the disk do not keep up."""
REFUSED: Final = 4
"""The sink is full and refused the message (RabbitMQ: `reject-publish`)."""
AWAITS_COMMIT: Final = 8
"""The confirm of a persistent message has to wait for the open batch, though this sink does not
persist it: the message that it is a duplicate of, or the dead letter that it became, is in that
batch."""
DEAD_LETTERED: Final = 16
"""The sink refused the message, which became a dead letter."""
TOOK_LONG: Final = 32
"""The publish made dead letters: its time slice may be over."""
AWAITS_TRANSACTION: Final = 64
"""The confirm has to wait for the transaction that is being committed: the message that it is a
duplicate of may belong to it."""


class PersistTargets:
    """The journals that one message is persisted in, with its position in each.

    One object is used for all messages of a virtual host: the sinks of a publish fill it, and the
    publisher writes and empties it. With one target, which is by far the most frequent case,
    nothing is allocated.
    """

    def __init__(self) -> None:
        self.count: i64 = 0
        self._journal: QueueJournal | None = None
        self._position: i64 = 0
        """The only target, while there is one."""
        self._journals: list[QueueJournal] = []
        self._positions: list[int] = []
        """All targets, if there are several; else stale."""

    def add(self, journal: QueueJournal, position: i64) -> None:
        """Add a journal, and the position of the message in it."""
        if self.count == 0:
            self._journal = journal
            self._position = position
        else:
            first = self._journal
            if self.count == 1 and first is not None:
                self._journals = [first]
                self._positions = [int(self._position)]
            self._journals.append(journal)
            self._positions.append(int(position))
        self.count += 1

    def write_large(self, store: Store, message: Message) -> None:
        """Have the message wait for the disk beside the open batch, and drop the targets."""
        journal = self._journal
        if self.count == 1 and journal is not None:
            store.large.add([journal], [int(self._position)], message)
        elif self.count > 1:
            store.large.add(self._journals, self._positions, message)
        self.count = 0

    def write(self, store: Store, message: Message) -> None:
        """Write the message to the open batch, one entry for all targets, and drop these."""
        journal = self._journal
        if self.count == 1 and journal is not None:
            store.add_message_to_one(journal, self._position, message)
        elif self.count > 1:
            store.add_message(self._journals, self._positions, message)
        self.count = 0


class Sink:
    """What accepts the messages of a route.

    It is abstract, but no `ABC`: all compiled classes that are an `ABC` share one cache, so that
    `isinstance` may return the answer for another class.
    """

    def __init__(self, queue_name: str = "") -> None:
        self.name = queue_name
        """The name of the queue; empty if the sink is none."""
        self.deleted = False
        """Whether it was deleted, and accepts no more messages."""
        self.counters = QueueCounters()
        """What has happened to its messages."""

    def publish(self, message: Message, targets: PersistTargets | None = None) -> i64:
        """Accept or refuse a message.

        :param targets: where to add the journal that persists it; None if nothing is persisted.
        :returns: `ACCEPTED` or `REFUSED`, with `THROTTLE` and `AWAITS_COMMIT` where they apply.
            The outcome of a publish is the union of those of its sinks.
        """
        raise NotImplementedError

    def lets_large_wait(self) -> bool:
        """Whether a large message may be written to the log in a later batch than what else its
        publish writes there."""
        return False

    def throttles(self) -> bool:
        """Whether a publisher that was told `THROTTLE` has to wait longer."""
        return False
