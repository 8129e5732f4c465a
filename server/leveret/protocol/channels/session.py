"""What the channels of one connection share: who the peer is, and the way out to it.

The session collects what is to be sent. The first octet after a flush wakes the transport, once;
the transport flushes once a turn of the event loop, so that many deliveries leave in one write.
What says that something is kept leaves only when it is (withheld.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

from librt.strings import BytesWriter
from mypy_extensions import i64

from leveret.engine.persistence.definition_log import CommitWaiter, DefinitionLog
from leveret.engine.queues.consumer import Consumer
from leveret.engine.queues.queue import Queue
from leveret.engine.vhost import VirtualHost
from leveret.limits import (
    FRAME_MIN_SIZE,
    IDLE_OUTPUT_BUFFER_BYTES,
    OUTPUT_HIGH_WATER_BYTES,
    OUTPUT_REPLIES_BYTES_MAX,
)
from leveret.protocol.channels.durability_gate import Withheld

NO_VHOST: Final = VirtualHost("")
"""The virtual host of a connection that is in none."""


class Confirming(ABC):
    """A channel that has confirms to write before the next flush."""

    @abstractmethod
    def write_confirms(self) -> None:
        """Write what has been confirmed since the last time."""


def _nobody() -> None:
    """Wakes no transport."""


class Session(CommitWaiter):
    """One connection, as its channels and consumers see it."""

    def __init__(
        self,
        definition_log: DefinitionLog | None,
        wake: Callable[[], None],
        logger: Any,
        peer: str = "",
    ) -> None:
        self.logger = logger
        """A structlog logger bound to the peer's address."""
        self.definition_log = definition_log
        self.store = None if definition_log is None else definition_log.store
        self.output = BytesWriter()
        self.frame_max: i64 = FRAME_MIN_SIZE
        self.vhost = NO_VHOST
        self.user = ""
        self.peer = peer
        """The address of the client."""
        self.capabilities: set[str] = set()
        """What the client said it understands: keys of `capabilities` that it set to true."""
        self.exclusive_queues: dict[str, Queue] = {}
        self.has_published = False
        """Whether it ever began to publish: only then an alarm concerns it."""
        self.throttled = False
        """Whether it publishes faster than consumers can work."""
        self.write_paused = False
        """Whether the peer does not read what was sent already."""
        self.suspended: dict[Consumer, Queue] = {}
        """Consumers to be resumed when the output has gone."""
        self.sent_since = False
        """Whether anything was sent since the connection last looked (heartbeats)."""
        self._roomy = False
        """Whether the output may have grown beyond what a quiet connection needs."""
        self._confirming: list[Confirming] = []
        self._unsynced: dict[Confirming, None] = {}
        """Channels whose confirms wait for the store."""
        self._withheld: Withheld | None = None
        """What waits for the store; None while nothing does."""
        self._withheld_bytes: i64 = 0
        self._waiting = False
        """Whether the keeper will tell when the store has got further."""
        self._wake = wake
        self._woken = False

    @property
    def client_label(self) -> str:
        """The client, as an operator reads it."""
        return f"{self.user} from {self.peer}"

    def writable(self) -> bool:
        """Whether deliveries may be written, or had better wait for the peer."""
        return (
            not self.write_paused
            and len(self.output) + self._withheld_bytes < OUTPUT_HIGH_WATER_BYTES
        )

    def holds_output(self) -> bool:
        """Whether there is output that waits for the store."""
        return self._withheld is not None

    def holds_too_much(self) -> bool:
        """Whether so many replies wait for the store that the peer may not ask for more."""
        return self._withheld_bytes > OUTPUT_REPLIES_BYTES_MAX

    def request_flush(self) -> None:
        """Say that there is output: the transport is woken if it does not know yet."""
        if not self._woken:
            self._woken = True
            self._wake()

    def write(self, frames: bytes) -> None:
        """Send whole frames."""
        self.output.write(frames)
        self.request_flush()

    def confirm_later(self, channel: Confirming) -> None:
        """Have a channel write its confirms when the output is taken."""
        self._confirming.append(channel)
        self.request_flush()

    def confirm_when_synced(self, channel: Confirming) -> None:
        """Have a channel write its confirms when the store has got further."""
        self._unsynced[channel] = None
        self._wait()

    def withhold(self, channel: int, offset: int, batch: i64) -> None:
        """What a channel says from an offset of the output on says that something is kept: let it
        leave only when that batch of the store is safe."""
        store = self.store
        if store is None or batch <= store.synced:
            return
        if self._withheld is None:
            self._withheld = Withheld()
        self._withheld.mark(offset, channel, batch)
        self._wait()

    def discard_held(self) -> None:
        """What waits says is kept never will be: nothing of it leaves."""
        if self._withheld is not None and self.store is not None:
            leaving = self._withheld.drop(self.output.getvalue(), self.store.synced)
            self._withheld = None
            self._withheld_bytes = 0
            self.output.truncate(0)
            self.output.write(leaving)

    def _wait(self) -> None:
        """Be told when the store has got further."""
        if not self._waiting and self.definition_log is not None:
            self._waiting = True
            self.definition_log.wait(self)

    def store_synced(self) -> None:
        self._waiting = False
        for channel in self._unsynced:
            self._confirming.append(channel)
        self._unsynced = {}
        if self._withheld is not None:
            self._wait()
        self.request_flush()

    def take_output(self) -> bytes:
        """All that is to be sent and may leave, which is the caller's now."""
        self._woken = False
        if self._confirming:
            confirming = self._confirming
            self._confirming = []
            for channel in confirming:
                channel.write_confirms()
        output = self.output
        data = output.getvalue()
        # The next output is likely to be as long: its room is kept until `rest`.
        output.truncate(0)
        self._roomy = self._roomy or len(data) > IDLE_OUTPUT_BUFFER_BYTES
        if self._withheld is not None:
            data = self._leaving(self._withheld, data)
        if data:
            self.sent_since = True
        return data

    def _leaving(self, withheld: Withheld, output: bytes) -> bytes:
        """What of an output may leave, and of what was kept back."""
        data = withheld.leave(output, 0 if self.store is None else self.store.synced)
        self._withheld_bytes = withheld.bytes
        if withheld.is_empty():
            self._withheld = None
        return data

    def rest(self) -> None:
        """Nothing was sent for a while: give back the room of the output."""
        if self._roomy and len(self.output) == 0:
            self._roomy = False
            self.output = BytesWriter()

    def end(self) -> None:
        """The transport is gone: let go of it, and of the channels.

        What refers to each other stays until the garbage collector comes round, and it hardly ever
        looks at what has lived long.
        """
        self._wake = _nobody
        self._confirming = []
        self._withheld = None

    def resume_consumers(self) -> None:
        """Let the consumers that waited for the output have messages again."""
        suspended = self.suspended
        if suspended and self.writable():
            self.suspended = {}
            for consumer, queue in suspended.items():
                queue.resume(consumer)
