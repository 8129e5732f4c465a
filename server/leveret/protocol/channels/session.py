"""What the channels of one connection share: the peer's identity, and the output to it.

The session collects what is to be sent. The first octet after a flush wakes the transport, once;
the transport flushes once an iteration of the event loop, so that many deliveries leave in one
write, and large bodies in a gathering write without a copy (output_parts.py). Frames that promise
durability wait behind the durability gate (durability_gate.py).
"""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from librt.strings import BytesWriter
from mypy_extensions import i64

from leveret.engine.access.rights import Rights
from leveret.engine.persistence.definition_log import CommitWaiter, DefinitionLog
from leveret.engine.queues.consumer import Consumer
from leveret.engine.queues.queue import Queue
from leveret.engine.routing.sink import Sink
from leveret.engine.values.counters import TrafficCounters
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.engine.vhost import VirtualHost
from leveret.limits import (
    FRAME_MIN_SIZE,
    IDLE_OUTPUT_BUFFER_BYTES,
    OUTPUT_HIGH_WATER_BYTES,
    OUTPUT_REPLIES_BYTES_MAX,
)
from leveret.protocol.channels.durability_gate import DurabilityGate
from leveret.protocol.channels.peer import Peer
from leveret.protocol.wire.output_parts import OutputParts, Part

NO_VHOST: Final = VirtualHost("")
"""The virtual host of a connection that is not open."""

NO_RIGHTS: Final = Rights("", "")
"""The rights of a connection that is not open."""


class ConfirmWriter(ABC):
    """The publisher confirms of one channel."""

    @abstractmethod
    def write_confirms(self) -> None:
        """Write the confirms that are due. Called before a flush, and only if asked for."""


def _no_transport() -> None:
    """Wake nothing: the socket is closed."""


class Session(CommitWaiter):
    """One connection, as its channels and consumers see it."""

    def __init__(
        self,
        wake: Callable[[], None],
        logger: Any,
        peer: Peer | None = None,
        time_slice: TimeSlice | None = None,
    ) -> None:
        """:param wake: tells the transport that there is output."""
        self.time_slice = time_slice or TimeSlice()
        self.traffic = TrafficCounters()
        self.work: Work | None = None
        """The work that the last frame began and that is not done. No further frame is read
        meanwhile."""
        self.logger = logger
        """A structlog logger bound to the peer's address."""
        self.definition_log: DefinitionLog | None = None
        self.store = NO_VHOST.store
        """Of the virtual host, if what is durable there outlives the process."""
        self.output = BytesWriter()
        """What is to be sent, behind the parts of `parts`."""
        self.parts = OutputParts()
        """Large bodies that are to be sent, with the frames before and between them."""
        self.frame_max: i64 = FRAME_MIN_SIZE
        self.vhost = NO_VHOST
        self.rights = NO_RIGHTS
        """What its user may do in the virtual host."""
        self.user = ""
        self.user_id: str | None = ""
        """What the property `user-id` has to be where it is set; None for an impersonator."""
        self.peer = peer or Peer()
        self.exclusive_queues: dict[str, Queue] = {}
        self.has_published = False
        """Whether basic.publish or a part of a body came since the last alarm began: an alarm
        blocks such connections only."""
        self.receives = False
        """Whether any basic.consume or basic.get came: what it publishes may wait for what it
        acknowledges. Set for a client that is gone, too, what is left of whose input is bounded."""
        self.throttled_by: list[Sink] | None = None
        """Where it publishes faster than the consumers or the disk take it; None if it does not.
        Set by a publish: the transport then reads the connection no further for a moment, and until
        `is_throttled` returns False."""
        self.write_paused = False
        """Whether the write buffer of the socket is full: the peer does not read."""
        self.suspended: OrderedDict[Consumer, Queue] = OrderedDict()
        """Consumers that wait for the output to drain, the longest waiting first: a dictionary
        whose first entry is as quick to remove as any other."""
        self.sent_since_tick = False
        """Whether anything was sent since the last tick of the connection (heartbeats)."""
        self._client_label = ""
        self._buffer_grown = False
        """Whether the buffer of the output may be larger than an idle connection needs."""
        self._confirm_at_flush: list[ConfirmWriter] = []
        self._confirm_at_sync: dict[ConfirmWriter, None] = {}
        self._gate: DurabilityGate | None = None
        """None while nothing is held, which spares splitting the output into frames."""
        self._held_bytes: i64 = 0
        self._awaits_sync = False
        """Whether `store_synced` will be called after the next commit."""
        self._wake = wake
        self._flush_requested = False

    def enter(self, vhost: VirtualHost, rights: Rights) -> None:
        """Use a virtual host, with these rights, and the store that carries it."""
        self.vhost = vhost
        self.rights = rights
        self.definition_log = vhost.definition_log
        self.store = vhost.store

    # --- work -------------------------------------------------------------------------------

    def begin(self, work: Work) -> None:
        """Run the work that a frame asks for, as far as it comes in this slice. The rest is run in
        later slices, before the next frame is read.

        :raises AmqpError: what the work raises, for an error of the peer. In a later slice the
            connection answers it as an error of the frame that began the work.
        """
        if not work.run(self.time_slice):
            self.work = work

    def go_on(self) -> bool:
        """Go on with the work that was begun.

        :returns: whether it is done, and began no other.
        :raises AmqpError: as `begin`.
        """
        work = self.work
        if work is not None:
            self.work = None
            if not work.run(self.time_slice):
                self.work = work
        return self.work is None

    # --- output -----------------------------------------------------------------------------

    @property
    def client_label(self) -> str:
        """The client, as log lines and the declarations of queues name it."""
        if not self._client_label:
            # One object for all queues that it declares.
            self._client_label = f"{self.user} from {self.peer.address}"
        return self._client_label

    def writable(self) -> bool:
        """Whether deliveries may be written, rather than wait for the peer to read."""
        return (
            not self.write_paused
            and self.output_size() + self._held_bytes < OUTPUT_HIGH_WATER_BYTES
        )

    def output_size(self) -> i64:
        """Bytes that were written since the last flush."""
        return self.parts.size + len(self.output)

    def is_throttled(self) -> bool:
        """Whether a throttled publisher has to wait longer.

        One that receives messages waits but once: what holds it may be what it has to acknowledge.
        """
        sinks = self.throttled_by
        if sinks is None:
            return False
        if not self.receives:
            for sink in sinks:
                if sink.throttles():
                    return True
        self.throttled_by = None
        return False

    def unsent_bytes(self) -> int:
        """Bytes of frames that wait for a flush or for the store."""
        return int(self.output_size() + self._held_bytes)

    def holds_output(self) -> bool:
        """Whether frames wait behind the durability gate."""
        return self._gate is not None

    def holds_too_much(self) -> bool:
        """Whether so many replies wait for their commit that the peer may make no more requests."""
        return self._held_bytes > OUTPUT_REPLIES_BYTES_MAX

    def request_flush(self) -> None:
        """Wake the transport, unless it was woken since the last flush."""
        if not self._flush_requested:
            self._flush_requested = True
            self._wake()

    def write(self, frames: bytes) -> None:
        """Send whole frames."""
        self.output.write(frames)
        self.request_flush()

    # --- durability -------------------------------------------------------------------------

    def confirm_at_flush(self, confirms: ConfirmWriter) -> None:
        """Have confirms written before the next flush, which is requested."""
        self._confirm_at_flush.append(confirms)
        self.request_flush()

    def confirm_at_sync(self, confirms: ConfirmWriter) -> None:
        """Have confirms written before the first flush after the next commit."""
        self._confirm_at_sync[confirms] = None
        self._await_sync()

    def hold_until(self, batch: i64, channel: int, offset: int) -> None:
        """Hold what a channel sends from an offset of the output on, which promises that a batch is
        durable, until that batch is synced."""
        store = self.store
        if store is None or batch <= store.synced:
            return
        if self._gate is None:
            self._gate = DurabilityGate()
        self._gate.hold_until(batch, channel, offset)
        self._await_sync()

    def discard_held(self) -> None:
        """Drop the frames that wait for their commit, which will never come."""
        if self._gate is not None and self.store is not None:
            output = b"".join(self.parts.take(self.output))
            leaving = self._gate.discard(self.store.synced, output)
            self._gate = None
            self._held_bytes = 0
            self.output.write(leaving)

    def _await_sync(self) -> None:
        if not self._awaits_sync and self.definition_log is not None:
            self._awaits_sync = True
            self.definition_log.wait(self)

    def store_synced(self) -> None:
        self._awaits_sync = False
        for confirms in self._confirm_at_sync:
            self._confirm_at_flush.append(confirms)
        self._confirm_at_sync = {}
        if self._gate is not None:
            self._await_sync()
        self.request_flush()

    # --- the transport ----------------------------------------------------------------------

    def take_output(self) -> bytes:
        """Take all that may be sent, for one write to the socket."""
        if self.parts.size != 0:
            return b"".join(self.take_parts())
        self._write_confirms()
        output = self.output
        data = output.getvalue()
        # The next output is likely to be as long: its buffer is kept until `shrink_buffer`.
        output.truncate(0)
        self._buffer_grown = self._buffer_grown or len(data) > IDLE_OUTPUT_BUFFER_BYTES
        if self._gate is not None:
            data = self._release(self._gate, data)
        if data:
            self.sent_since_tick = True
        return data

    def take_parts(self) -> list[Part]:
        """As `take_output`, for a gathering write of output that refers to large bodies.

        It is joined only while frames are held, which is rare together with large bodies.
        """
        self._write_confirms()
        self._buffer_grown = True
        parts = self.parts.take(self.output)
        if self._gate is not None:
            parts = [self._release(self._gate, b"".join(parts))]
        self.sent_since_tick = True
        return parts

    def _write_confirms(self) -> None:
        """Write the confirms that wait for the flush, which is under way."""
        self._flush_requested = False
        if self._confirm_at_flush:
            due = self._confirm_at_flush
            self._confirm_at_flush = []
            for confirms in due:
                confirms.write_confirms()

    def _release(self, gate: DurabilityGate, output: bytes) -> bytes:
        data = gate.release(0 if self.store is None else self.store.synced, output)
        self._held_bytes = gate.held_bytes
        if gate.is_empty():
            self._gate = None
        return data

    def shrink_buffer(self) -> None:
        """Free the buffer of the output. Called when nothing was sent for a while."""
        if self._buffer_grown and self.output_size() == 0:
            self._buffer_grown = False
            self.output = BytesWriter()

    def close(self) -> None:
        """Drop the references to the transport and the channels: the socket is closed.

        They would be reference cycles, and the garbage collector hardly ever looks at old objects.
        """
        self._wake = _no_transport
        self._confirm_at_flush = []
        self._gate = None

    def resume_consumers(self) -> None:
        """Resume the consumers that wait for the output to drain, once it has, until the time slice
        is over: call it again while there are `suspended` ones and the output is `writable`."""
        suspended = self.suspended
        while suspended and self.writable():
            consumer, queue = suspended.popitem(last=False)
            queue.resume(consumer)
            if self.time_slice.is_over():
                break
