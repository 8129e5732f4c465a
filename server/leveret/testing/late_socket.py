"""The socket of a connection whose output may come late.

It is put around a transport of the event loop, which does the work. What is written is sent as many
seconds later as the delay says, in order. Until then it counts as output that the peer has not
read, with the same marks: the broker stops to deliver to a peer whose output is late.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from itertools import takewhile
from typing import Any


class LateSocket(asyncio.Transport):
    """A transport of asyncio around another one."""

    def __init__(
        self,
        inner: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        filled: Callable[[bool], None],
        passes: Callable[[bytes], bytes],
    ) -> None:
        """
        :param filled: told whether more output is late than may be.
        :param passes: what of the output is sent; called with each write.
        """
        super().__init__()
        self._inner = inner
        self._loop = loop
        self._filled = filled
        self._passes = passes
        self.delay_s = 0.0
        self._late: deque[tuple[float, bytes]] = deque()
        """When each write is due, in seconds of the monotonic clock, and its octets. The time of an
        event loop is that of the last poll, so it may be late by any time."""
        self._late_bytes = 0
        self._high = 0
        self._full = False
        """Whether `filled` was told so last."""
        self._timer: asyncio.TimerHandle | None = None
        self._ends_output = False
        """Whether the output ends when all that is late was sent."""
        self._closing = False
        """Whether the socket is closed then."""

    # --- the delay --------------------------------------------------------------------------

    def set_delay(self, seconds: float) -> None:
        """Send what is written from here on as much later; with 0 at once, and what is late, too.

        :param seconds: from 0.
        """
        self.delay_s = seconds
        if not seconds:
            self._send_late(len(self._late))

    def lost(self) -> None:
        """The connection is lost: send nothing any more."""
        self._late.clear()
        self._late_bytes = 0
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if self._late:
            wait_s = self._late[0][0] - time.monotonic()
            self._timer = self._loop.call_later(max(wait_s, 0.0), self._send_due)

    def _send_due(self) -> None:
        now = time.monotonic()
        self._send_late(sum(1 for _ in takewhile(lambda write: write[0] <= now, self._late)))

    def _send_late(self, count: int) -> None:
        """Send the first writes that are late."""
        for _ in range(count):
            _, data = self._late.popleft()
            self._late_bytes -= len(data)
            self._inner.write(data)
        self._set_timer()
        if self._full and self._late_bytes <= self._high // 4:
            self._full = False
            self._filled(False)
        if not self._late:
            if self._ends_output and not self._inner.is_closing():
                self._inner.write_eof()
            if self._closing:
                self._inner.close()

    # --- a transport of asyncio -------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        passing = self._passes(bytes(data))
        if not self.delay_s and not self._late:
            self._inner.write(passing)
            return
        self._late.append((time.monotonic() + self.delay_s, passing))
        self._late_bytes += len(passing)
        if self._timer is None:
            self._set_timer()
        if self._late_bytes > self._high and not self._full:
            self._full = True
            self._filled(True)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return self._inner.can_write_eof()

    def write_eof(self) -> None:
        if self._late:
            self._ends_output = True
        else:
            self._inner.write_eof()

    def close(self) -> None:
        """Close the socket when all that was written is sent."""
        if self._late and not self._closing:
            self._closing = True
            if self._inner.is_reading():
                self._inner.pause_reading()
        elif not self._late:
            self._inner.close()

    def abort(self) -> None:
        self.lost()
        self._inner.abort()

    def is_closing(self) -> bool:
        return self._closing or self._inner.is_closing()

    def is_reading(self) -> bool:
        return self._inner.is_reading()

    def pause_reading(self) -> None:
        self._inner.pause_reading()

    def resume_reading(self) -> None:
        self._inner.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = high or 0
        self._inner.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._inner.get_write_buffer_size() + self._late_bytes

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._inner.get_write_buffer_limits()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._inner.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._inner.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._inner.get_protocol()
