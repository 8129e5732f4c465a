"""What the channels of one connection share: who the peer is, and the way out to it.

The session collects what is to be sent. The first octet after a flush wakes the transport, once;
the transport flushes once a turn of the event loop, so that many deliveries leave in one write.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

from librt.strings import BytesWriter
from mypy_extensions import i64

from leveret.engine.consumer import Consumer
from leveret.engine.keeper import Keeper, Waiter
from leveret.engine.queue import Queue
from leveret.engine.vhost import VirtualHost
from leveret.limits import FRAME_MIN_SIZE, OUTPUT_HIGH_BYTES, OUTPUT_ROOM_BYTES

NO_VHOST: Final = VirtualHost("")
"""The virtual host of a connection that is in none."""


class Confirming(ABC):
    """A channel that has confirms to write before the next flush."""

    @abstractmethod
    def write_confirms(self) -> None:
        """Write what has been confirmed since the last time."""


def _nobody() -> None:
    """Wakes no transport."""


class Session(Waiter):
    """One connection, as its channels and consumers see it."""

    def __init__(self, keeper: Keeper | None, wake: Callable[[], None], log: Any) -> None:
        self.log = log
        """A structlog logger bound to the peer's address."""
        self.keeper = keeper
        self.store = None if keeper is None else keeper.store
        self.output = BytesWriter()
        self.frame_max: i64 = FRAME_MIN_SIZE
        self.vhost = NO_VHOST
        self.user = ""
        self.capabilities: set[str] = set()
        """What the client said it understands: keys of `capabilities` that it set to true."""
        self.exclusive_queues: dict[str, Queue] = {}
        self.publishes = False
        """Whether it ever began to publish: only then an alarm concerns it."""
        self.held = False
        """Whether it publishes faster than consumers can work."""
        self.paused = False
        """Whether the peer does not read what was sent already."""
        self.parked: dict[Consumer, Queue] = {}
        """Consumers to be unparked when the output has gone."""
        self.sent_since = False
        """Whether anything was sent since the connection last looked (heartbeats)."""
        self._roomy = False
        """Whether the output may have grown beyond what a quiet connection needs."""
        self._confirming: list[Confirming] = []
        self._unsynced: dict[Confirming, None] = {}
        """Channels whose confirms wait for the store."""
        self._barrier: i64 = 0
        """The batch of the store before which no output leaves; 0 is none."""
        self._wake = wake
        self._woken = False

    def writable(self) -> bool:
        """Whether deliveries may be written, or had better wait for the peer."""
        return not self.paused and len(self.output) < OUTPUT_HIGH_BYTES

    def touch(self) -> None:
        """Say that there is output: the transport is woken if it does not know yet."""
        if not self._woken:
            self._woken = True
            self._wake()

    def write(self, frames: bytes) -> None:
        """Send whole frames."""
        self.output.write(frames)
        self.touch()

    def confirm_later(self, channel: Confirming) -> None:
        """Have a channel write its confirms when the output is taken."""
        self._confirming.append(channel)
        self.touch()

    def confirm_when_synced(self, channel: Confirming) -> None:
        """Have a channel write its confirms when the store has got further."""
        if not self._unsynced and self.keeper is not None:
            self.keeper.wait(self)
        self._unsynced[channel] = None

    def hold_output(self) -> None:
        """What is written now says that something is kept: let it leave only when it is."""
        keeper = self.keeper
        if keeper is not None and keeper.store.is_open():
            self._barrier = keeper.store.batch
            keeper.store.request()
            keeper.wait(self)

    def drop_held(self) -> None:
        """What the output says is kept never will be: nothing of it leaves."""
        if self._barrier != 0:
            self._barrier = 0
            self.output.truncate(0)

    def store_synced(self) -> None:
        for channel in self._unsynced:
            self._confirming.append(channel)
        self._unsynced = {}
        if self._barrier != 0 and self.store is not None:
            if self._barrier <= self.store.synced:
                self._barrier = 0
            elif self.keeper is not None:
                self.keeper.wait(self)
        self.touch()

    def take_output(self) -> bytes:
        """All that is to be sent and may leave, which is the caller's now."""
        self._woken = False
        if self._barrier != 0:
            return b""
        if self._confirming:
            confirming = self._confirming
            self._confirming = []
            for channel in confirming:
                channel.write_confirms()
        self.sent_since = True
        output = self.output
        data = output.getvalue()
        # The next output is likely to be as long: its room is kept until `rest`.
        output.truncate(0)
        self._roomy = self._roomy or len(data) > OUTPUT_ROOM_BYTES
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

    def unpark_consumers(self) -> None:
        """Let the consumers that waited for the output have messages again."""
        parked = self.parked
        if parked and self.writable():
            self.parked = {}
            for consumer, queue in parked.items():
                queue.unpark(consumer)
