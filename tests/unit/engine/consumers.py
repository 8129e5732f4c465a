"""A consumer of plain lists, for tests of queues."""

from mypy_extensions import i64

from leveret.engine.consumer import Consumer
from leveret.engine.message import Message


def message(body: bytes = b"") -> Message:
    """A message with a body, which is all that tells it from others."""
    return Message(b"\x00\x01q", b"", body, False)


class Recorder(Consumer):
    """Takes as many messages as it has room for, and keeps what happened to it."""

    def __init__(self, tag: str = "c", *, room: int = 1_000_000, exclusive: bool = False) -> None:
        super().__init__(tag, False, exclusive)
        self.room = room
        self.taken: list[tuple[Message, int, bool]] = []
        """Message, position, and whether it was delivered before."""
        self.times_parked = 0
        self.times_cancelled = 0

    @property
    def bodies(self) -> list[bytes]:
        """The bodies of what it took."""
        return [message.body for message, _, _ in self.taken]

    def can_take(self) -> bool:
        return self.room > 0

    def deliver(self, message: Message, position: i64, redelivered: bool) -> None:
        self.room -= 1
        self.taken.append((message, int(position), redelivered))

    def park(self) -> None:
        self.times_parked += 1

    def cancelled(self) -> None:
        self.times_cancelled += 1
