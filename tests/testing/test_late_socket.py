"""The socket whose output is late: order and ends, around a transport that collects."""

import asyncio

from leveret.testing.late_socket import LateSocket

LONG_S = 3600.0


class Collecting(asyncio.Transport):
    """A transport that collects what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[str] = []
        self.written = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.done.append(bytes(data).decode())
        self.written.set()

    def write_eof(self) -> None:
        self.done.append("end")

    def close(self) -> None:
        self.done.append("closed")

    def abort(self) -> None:
        self.done.append("aborted")

    def is_closing(self) -> bool:
        return "closed" in self.done

    def is_reading(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """It has no buffer."""

    def get_write_buffer_size(self) -> int:
        return 0


class Late:
    """Such a socket around one."""

    def __init__(self) -> None:
        self.inner = Collecting()
        self.full: list[bool] = []
        self.socket = LateSocket(
            self.inner, asyncio.get_running_loop(), self.full.append, lambda data: data
        )
        self.socket.set_write_buffer_limits(4)

    def write(self, data: bytes, delay_s: float) -> None:
        self.socket.set_delay(delay_s)
        self.socket.write(data)


def test_what_has_a_shorter_delay_does_not_overtake() -> None:
    async def run() -> list[str]:
        late = Late()
        late.write(b"a", 0.001)
        late.write(b"b", LONG_S)
        late.write(b"c", 0.0001)
        async with asyncio.timeout(60):
            await late.inner.written.wait()
        late.socket.lost()
        return late.inner.done

    assert asyncio.run(run()) == ["a"]


def test_all_that_is_late_is_sent_before_the_end_and_the_close() -> None:
    async def run() -> list[str]:
        late = Late()
        late.write(b"a", LONG_S)
        late.socket.writelines([b"b", b"c"])
        late.socket.write_eof()
        late.socket.close()
        assert late.socket.is_closing()
        assert late.inner.done == []
        late.socket.set_delay(0)
        return late.inner.done

    assert asyncio.run(run()) == ["a", "bc", "end", "closed"]


def test_nothing_is_sent_after_an_abort() -> None:
    async def run() -> list[str]:
        late = Late()
        late.write(b"a", LONG_S)
        late.socket.abort()
        late.socket.set_delay(0)
        return late.inner.done

    assert asyncio.run(run()) == ["aborted"]


def test_more_than_the_mark_is_told_once_and_so_is_that_it_is_less() -> None:
    async def run() -> list[bool]:
        late = Late()
        for _ in range(6):
            late.write(b"x", LONG_S)
        assert late.full == [True]
        assert late.socket.get_write_buffer_size() == 6
        late.socket.set_delay(0)
        assert late.socket.get_write_buffer_size() == 0
        return late.full

    assert asyncio.run(run()) == [True, False]
