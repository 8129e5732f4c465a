"""A dead letter: a message that its queue has dropped, until it is published again.

It is settled in its queue when it is published, and not before: one batch of the log has both, so
that a crash finds the message in one place, and only there. A dead letter that waits is still at
its position in its queue. If it was dropped when it was published, it may not be written to the log
there, and is `unwritten`.
"""

from typing import Final

from mypy_extensions import i64

from leveret.engine.routing.sink import PersistTargets, Sink
from leveret.engine.values import properties
from leveret.engine.values.message import Message
from leveret.engine.values.settings import QueueSettings
from leveret.engine.values.text import octets_of_text

REJECTED: Final = b"rejected"
EXPIRED: Final = b"expired"
MAX_LENGTH: Final = b"maxlen"
DELIVERY_LIMIT: Final = b"delivery_limit"
"""Why a message died (RabbitMQ: Dead Letter Exchanges)."""

DEATHS: Final = b"x-death"
"""The header that says in which queues a message died, and why."""


class DeadLetter:
    """A message that its queue has dropped: first as it died, then as it is published again."""

    def __init__(
        self,
        source: "DropSource",
        queue: str,
        settings: QueueSettings,
        message: Message,
        position: i64,
        reason: bytes,
    ) -> None:
        self.source = source
        self.queue = queue
        """The name of the queue that it comes from."""
        self.settings = settings
        self.message = message
        self.position = position
        """Its position in the queue; negative, and its own, if the queue refused it."""
        self.reason = reason
        self.unwritten = False
        """Whether the log does not have it at its position, though it is persistent."""
        self.sinks: list[Sink] = []
        """The sinks that it is published to, once it is rewritten."""


NONE_WAITING: Final[dict[int, DeadLetter]] = {}
"""The dead letters of a source that never had one. It is never changed: most queues have none."""


class DropSource:
    """Where messages are dropped: the contents of a queue.

    It is abstract, but no `ABC`, as a compiled class of which `isinstance` may be asked.
    """

    def __init__(self) -> None:
        self.waiting = NONE_WAITING
        """Its dead letters that are not published yet, by position."""

    def settle_position(self, position: int) -> None:
        """Settle a message that was dropped and is no dead letter."""
        raise NotImplementedError

    def settle_dead_letter(self, dead_letter: DeadLetter) -> None:
        """A dead letter is published in this batch: it has left the queue."""
        raise NotImplementedError

    def persist_dead_letter(self, dead_letter: DeadLetter, targets: PersistTargets) -> None:
        """Add the position of an unwritten dead letter to the targets, because it has to wait."""
        raise NotImplementedError


def has_died_in(header: bytes, queue: str) -> bool:
    """Whether a message with this content header was a dead letter of a queue."""
    name = octets_of_text(queue)
    for death in properties.array_values(properties.header_value(header, DEATHS) or b""):
        fields = dict(properties.table_entries(death))
        if properties.string_octets(fields.get(b"queue", b"")) == name:
            return True
    return False
