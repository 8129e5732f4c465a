"""Sockets that say something before AMQP, as they are opened."""

import asyncio
import socket
import ssl

import pytest

from leveret.addresses import Address
from leveret.net.listening import listen_on_address
from leveret.net.opening import Opening

CLIENTS = 20
TIMEOUT_S = 60.0


def test_a_handshake_begins_in_an_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many clients begin at once, others wait for one handshake at a time."""
    begun: list[int] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        iteration = 0
        done = asyncio.Event()

        def count() -> None:
            nonlocal iteration
            iteration += 1
            loop.call_soon(count)

        async def handshake(_protocol: object, sock: socket.socket, **_tls: object) -> None:
            begun.append(iteration)
            sock.close()
            if len(begun) == CLIENTS:
                done.set()

        monkeypatch.setattr(loop, "connect_accepted_socket", handshake)
        opening = Opening([], TIMEOUT_S, lambda _opening: True, lambda _origin: asyncio.Protocol())
        (listening,) = listen_on_address(Address("127.0.0.1", 0))
        clients = [socket.create_connection(listening.getsockname()) for _ in range(CLIENTS)]
        for client in clients:
            client.sendall(b"\x16")
        opening.listen(listening, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        count()
        async with asyncio.timeout(TIMEOUT_S):
            await done.wait()
        opening.stop()
        for client in clients:
            client.close()

    asyncio.run(run())
    assert len(set(begun)) == CLIENTS


@pytest.mark.parametrize("most", [0, 3])
def test_no_more_sockets_are_opening_than_may_be(most: int) -> None:
    async def run() -> None:
        seen: list[int] = []
        done = asyncio.Event()

        def may_open(opening: int) -> bool:
            seen.append(opening)
            if len(seen) == most + 2:
                done.set()
            return opening < most

        opening = Opening([], TIMEOUT_S, may_open, lambda _origin: asyncio.Protocol())
        (listening,) = listen_on_address(Address("127.0.0.1", 0))
        clients = [socket.create_connection(listening.getsockname()) for _ in range(most + 2)]
        opening.listen(listening, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        async with asyncio.timeout(TIMEOUT_S):
            await done.wait()
        opening.stop()
        assert max(seen) == most
        for client in clients:
            client.close()

    asyncio.run(run())
