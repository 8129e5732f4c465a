"""Two sockets whose octets are passed on to each other, as they come: those of a client, and of the
link to the broker that serves it.

Bounded in memory and in time: a side is read no further while the other one does not take what has
come, and after a read that fills the buffer, or when its share of the time is used, it is read
again when its turn comes (`loop_scheduler.py`).

All sides read into one buffer. What has come is written to the other socket before anything else is
read, and only what that does not take is copied: it waits in the transport. So a connection that
says nothing holds no memory here. Over TLS everything is copied, for it is encrypted later.

The end of one side is the end of the other: an end of file is passed on, a lost connection closes
the other side once what has come is sent, or after CLOSE_TIMEOUT_S.

Deliberately elsewhere: what the octets mean. Heartbeats go through like everything else.
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from leveret.limits import CLOSE_TIMEOUT_S, OUTPUT_HIGH_WATER_BYTES
from leveret.net.loop_scheduler import LoopScheduler

BUFFER_BYTES: Final = 256 * 1024
"""Bytes that a side reads in its turn: some 0.1 ms, most of it for the kernel's copies."""


class Splice:
    """One client, and the link that its connection is passed on over."""

    def __init__(
        self,
        scheduler: LoopScheduler,
        buffer: memoryview,
        client: asyncio.Transport,
        owner: asyncio.Transport,
        ended: Callable[["Splice"], None],
    ) -> None:
        """
        :param buffer: what both are read into, which all splices of an event loop may share.
        :param ended: called when both sockets are closed.
        """
        self.scheduler = scheduler
        self.buffer = buffer
        self._client = _Side(self, client)
        self._owner = _Side(self, owner)
        self._client.other, self._owner.other = self._owner, self._client
        self._ended = ended
        self._open_sides = 2
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, to_client: bytes, to_owner: bytes) -> None:
        """Send what there is for each, and read both from now on."""
        self._owner.begin(to_owner)
        self._client.begin(to_client)

    def abort(self) -> None:
        """Close both sockets at once."""
        self._client.transport.abort()
        self._owner.transport.abort()

    def descriptor(self) -> int:
        """The file descriptor of the client's socket; negative if it is closed."""
        number: int = self._client.transport.get_extra_info("socket").fileno()
        return number

    # --- called by the sides ------------------------------------------------------------------

    def begin_end(self) -> None:
        """One side has ended: the other one has CLOSE_TIMEOUT_S."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(CLOSE_TIMEOUT_S, self.abort)

    def side_lost(self) -> None:
        """A socket is closed."""
        self._open_sides -= 1
        if self._open_sides == 0:
            if self._timer is not None:
                self._timer.cancel()
            self._ended(self)


class _Side(asyncio.BufferedProtocol):
    """One of the two sockets."""

    other: "_Side"

    def __init__(self, splice: Splice, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.used_ns = 0
        """Nanoseconds that it has used, on the scheduler's account."""
        self._splice = splice
        self._scheduler = splice.scheduler
        self._buffer = splice.buffer
        self._descriptor = _writable_descriptor(transport)
        self._awaits_turn = False
        self._awaits_other = False
        """Whether the other side does not take what has come."""
        self.ended = False
        """Whether its peer has sent its last octet."""

    def begin(self, data: bytes) -> None:
        """Be the protocol of the socket, and send first octets."""
        self.transport.set_protocol(self)
        self.transport.set_write_buffer_limits(high=OUTPUT_HIGH_WATER_BYTES)
        if data:
            self.transport.write(data)
        self._read_on()

    # --- called by asyncio ------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        scheduler, other = self._scheduler, self.other
        if other.transport.is_closing():
            return
        scheduler.begin_slice()
        other.send(self._buffer[:nbytes])
        scheduler.end_slice(self)
        if nbytes == len(self._buffer) or not scheduler.may_process_at_once(self):
            self._await_turn()

    def pause_writing(self) -> None:
        self.other.await_other()

    def resume_writing(self) -> None:
        self.other.other_is_ready()

    def eof_received(self) -> bool:
        self.ended = True
        self._splice.begin_end()
        target = self.other.transport
        if self.other.ended or not target.can_write_eof():
            # Of TLS both directions end together.
            target.close()
        elif not target.is_closing():
            target.write_eof()
        return not self.other.ended and self.transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self._splice.begin_end()
        self.other.transport.close()
        self._splice.side_lost()

    # --- writing ----------------------------------------------------------------------------

    def send(self, data: memoryview) -> None:
        """Write to the socket what it takes, and have the transport write a copy of the rest."""
        sent = 0
        if self._descriptor is not None and not self.transport.get_write_buffer_size():
            # If it takes nothing, or is broken, so it is to the transport.
            with suppress(OSError):
                sent = os.write(self._descriptor, data)
        if sent < len(data):
            self.transport.write(bytes(data[sent:]))

    # --- reading ----------------------------------------------------------------------------

    def await_other(self) -> None:
        """Read no further until the other side has taken what has come."""
        self._awaits_other = True
        self._pause()

    def other_is_ready(self) -> None:
        """The other side has taken enough."""
        self._awaits_other = False
        self._read_on()

    def _await_turn(self) -> None:
        if not self._awaits_turn:
            self._awaits_turn = True
            self._pause()
            self._scheduler.schedule_input(self)

    def _pause(self) -> None:
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def _read_on(self) -> None:
        if not (self._awaits_turn or self._awaits_other or self.transport.is_closing()):
            self.transport.resume_reading()

    # --- called by the scheduler --------------------------------------------------------------

    def process_input(self) -> None:
        self._awaits_turn = False
        self._read_on()

    def flush(self) -> bool:
        return False

    def resume(self) -> bool:
        return False

    def may_end_throttling(self) -> bool:
        return True


def _writable_descriptor(transport: asyncio.Transport) -> int | None:
    """The file descriptor of a socket that takes what is to be sent as it is; None for TLS."""
    if transport.get_extra_info("sslcontext") is not None:
        return None
    number: int = transport.get_extra_info("socket").fileno()
    return number
