"""A relay that only copies bytes from one socket to another: the cost of uvloop without a broker.

It pairs the first connection with the second, the third with the fourth, and so on. If one side
does not read, the relay stops reading the other side, so that its memory is bounded. It prints
`relay ready PORT` and serves until SIGTERM.
"""

import asyncio
import signal
import sys
from typing import cast

import uvloop

HOST = "127.0.0.1"


class Side(asyncio.Protocol):
    """One connection of a pair; `waiting` contains the side that has no peer yet."""

    def __init__(self, waiting: list["Side"]) -> None:
        self._waiting = waiting
        self._peer: Side | None = None
        self._early = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports implement asyncio.Transport without being subclasses.
        self._transport = cast("asyncio.Transport", transport)
        if self._waiting:
            self._peer = self._waiting.pop()
            self._peer._peer = self
            if self._peer._early:
                self._transport.write(self._peer._early)
            self._peer.resume()
        else:
            self._waiting.append(self)

    def data_received(self, data: bytes) -> None:
        if self._peer is None:
            # uvloop starts to read after connection_made, even if that paused it.
            self._early += data
            self.pause()
        elif self._peer._transport:
            self._peer._transport.write(data)

    def pause_writing(self) -> None:
        if self._peer:
            self._peer.pause()

    def resume_writing(self) -> None:
        if self._peer:
            self._peer.resume()

    def pause(self) -> None:
        """Stop reading until resume(), unless this side is closed."""
        if self._transport:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again, unless this side is closed."""
        if self._transport:
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self in self._waiting:
            self._waiting.remove(self)
        if self._peer and self._peer._transport:
            self._peer._transport.close()


async def serve() -> None:
    """Relay on a free port until SIGTERM."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    waiting: list[Side] = []
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    server = await loop.create_server(lambda: Side(waiting), HOST, 0)
    print(f"relay ready {server.sockets[0].getsockname()[1]}", flush=True)
    await ended.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(serve())
    sys.exit(0)
