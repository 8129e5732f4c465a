"""A look at the ready messages of a queue that changes nothing.

No message is marked as delivered, none is counted, and none that is on disk stays in memory. So the
runs that they are in are read here, and not as for a delivery. How many messages and octets a look
may have is bounded, because the caller waits for the disk.
"""

from leveret.engine.values.message import Message
from leveret_storage.errors import StorageError
from leveret_storage.segments.queue_journal import Run
from leveret_storage.store.store import Store


class Peek:
    """Messages that were looked at, in the order of delivery."""

    def __init__(self, store: Store | None, messages_max: int, octets_max: int) -> None:
        """
        :param store: where runs are read from.
        :param octets_max: octets of bodies, which the last message may exceed.
        """
        self.messages: list[Message] = []
        self.redelivered: list[bool] = []
        """Of each message, whether it was delivered before."""
        self._store = store
        self._messages_max = messages_max
        self._octets_left = octets_max
        self._run: Run | None = None
        self._run_messages: list[Message] = []
        """The run that was read last, and its messages."""

    def left(self) -> int:
        """How many messages may be added."""
        if self._octets_left <= 0:
            return 0
        return self._messages_max - len(self.messages)

    def add(self, message: Message, redelivered: bool) -> bool:
        """Add the next message; whether another one may be added."""
        self.messages.append(message)
        self.redelivered.append(redelivered)
        self._octets_left -= len(message.body)
        return self.left() > 0

    def messages_of(self, run: Run) -> list[Message]:
        """The messages of a run. If they cannot be read, the store fails."""
        if run.messages is not None:
            return run.messages
        if self._run is not run:
            self._run, self._run_messages = run, []
            if self._store is not None:
                try:
                    self._run_messages = self._store.read_run_blocking(run)
                except StorageError as error:
                    self._store.fail(error)
        return self._run_messages
