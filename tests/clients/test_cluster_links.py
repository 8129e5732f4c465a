"""Links between brokers: who gets one, what it carries, and what becomes of everybody else."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from leveret.addresses import parse_address
from leveret.management.http_server import HttpServer
from leveret.net import cluster_listener
from leveret.net import peer_http as peer_http_module
from leveret.net.link_proof import AMQP, HTTP, Dialer
from leveret.net.links import LinkError
from leveret.net.peer_http import PeerHttp, PeerUnreachable
from tests.support.brokers import wait_until
from tests.support.cluster_servers import SECRET, ClusterServers

TIMEOUT_S = 60.0
LARGE = 3_000_000


@pytest.fixture
def two() -> Iterator[ClusterServers]:
    with ClusterServers("a", "b") as servers:
        yield servers


async def echo(scope: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
    """An application that says who asks for what."""
    headers = dict(scope["headers"])
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            break
    asker = headers[b"x-asker"]
    path = scope["raw_path"] + b"?" + scope["query_string"]
    await send({"type": "http.response.start", "status": 203, "headers": [(b"X-Seen", path)]})
    await send({"type": "http.response.body", "body": asker + b":", "more_body": True})
    await send({"type": "http.response.body", "body": body})


def serve_http(servers: ClusterServers, node: str) -> list[str]:
    """Serve HTTP to other brokers; the names of those that have dialed."""
    dialers: list[str] = []

    def make(dialer: str) -> asyncio.Protocol:
        dialers.append(dialer)
        return http.protocol()

    http = HttpServer(echo, 100)
    servers.at_exit.append(http.stop)
    listener = servers.servers[node].cluster_listener
    assert listener is not None
    listener.http = make
    return dialers


async def ask(
    peers: PeerHttp, servers: ClusterServers, asker: str = "", **options: Any
) -> tuple[int, Mapping[str, str], bytes]:
    address, headers = servers.addresses["b"], {"X-Asker": asker}
    found = await peers.request("b", address, "PUT", "/api/x%2F?q=1", headers, **options)
    try:
        return found.status, found.headers, b"".join([each async for each in found.pieces()])
    finally:
        await found.close()


def peer_http(servers: ClusterServers, node: str) -> PeerHttp:
    links = servers.servers[node].links
    assert links is not None
    peers = PeerHttp(links)
    servers.at_exit.append(peers.close)
    return peers


def test_a_broker_asks_the_http_api_of_another(two: ClusterServers) -> None:
    dialers = serve_http(two, "b")
    peers = peer_http(two, "a")
    body = b"x" * LARGE
    for _ in range(3):
        status, headers, answer = two.run(ask(peers, two, "somebody", body=body))
        assert (status, headers["x-seen"]) == (203, "/api/x%2F?q=1")
        assert answer == b"somebody:" + body
    # The link is used again.
    assert dialers == ["a"]


def test_requests_at_the_same_time_have_a_bounded_number_of_links(
    two: ClusterServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_http_module, "CONNECTIONS_MAX", 16)
    monkeypatch.setattr(peer_http_module, "IDLE_MAX", 16)
    dialers = serve_http(two, "b")
    peers = peer_http(two, "a")

    async def all_at_once() -> list[tuple[int, Mapping[str, str], bytes]]:
        return await asyncio.gather(*(ask(peers, two, str(n)) for n in range(50)))

    answers = two.run(all_at_once())
    assert [answer for _, _, answer in answers] == [b"%d:" % n for n in range(50)]
    assert 1 <= len(dialers) <= 16


def test_a_broker_without_http_or_that_is_gone_is_not_reached(two: ClusterServers) -> None:
    peers = peer_http(two, "a")
    with pytest.raises(PeerUnreachable, match="b is not reached"):
        two.run(ask(peers, two))
    two.kill("b")
    with pytest.raises(PeerUnreachable, match="b is not reached"):
        two.run(ask(peers, two))


def test_a_broker_that_is_silent_is_not_reached() -> None:
    with ClusterServers("a") as one, socket.create_server(("127.0.0.1", 0)) as silent:
        one.addresses["b"] = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(PeerUnreachable, match="no answer"):
            one.run(ask(peer_http(one, "a"), one, timeout_s=0.2))


def test_another_secret_gets_no_link() -> None:
    with ClusterServers("a", "b", secrets={"a": "another secret, as long"}) as servers:
        links = servers.servers["a"].links
        assert links is not None
        address = parse_address(servers.addresses["b"])
        with pytest.raises(LinkError):
            servers.call(partial(links.dial, address, "b", AMQP, 1.0))


def test_a_wrong_name_gets_no_link(two: ClusterServers) -> None:
    links = two.servers["a"].links
    assert links is not None
    with pytest.raises(LinkError, match="calls itself 'b'"):
        two.call(links.dial, parse_address(two.addresses["b"]), "c", AMQP, TIMEOUT_S)


@pytest.mark.parametrize("what", [b"AMQP\0\0\x09\x01", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 5000])
def test_what_is_no_broker_is_told_nothing(
    two: ClusterServers, what: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_listener, "FAILED_DELAY_S", 0.05)
    monkeypatch.setattr(cluster_listener, "PROOF_TIMEOUT_S", 1.0)
    with socket.create_connection(("127.0.0.1", two.cluster_port("b")), TIMEOUT_S) as sock:
        sock.sendall(what)
        answer = received(sock)
        # The greeting alone: who it is, and a nonce.
        assert len(answer) == 8 + 32 + 2


def received(sock: socket.socket) -> bytes:
    """Everything until the socket is closed."""
    answer = b""
    try:
        while data := sock.recv(65536):
            answer += data
    except ConnectionResetError:
        pass
    return answer


def test_a_proof_that_is_replayed_is_refused(
    two: ClusterServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_listener, "FAILED_DELAY_S", 0.05)
    address = ("127.0.0.1", two.cluster_port("b"))
    with socket.create_connection(address, TIMEOUT_S) as sock:
        request, _ = Dialer(SECRET.encode(), "a", "b", HTTP).receive(sock.recv(1000))
        sock.sendall(request)
        assert len(sock.recv(1000)) == 32
    with socket.create_connection(address, TIMEOUT_S) as sock:
        sock.recv(1000)
        sock.sendall(request)
        assert received(sock) == b""


def test_silent_peers_are_bounded_in_time(
    two: ClusterServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_listener, "PROOF_TIMEOUT_S", 0.2)
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", two.cluster_port("b")), TIMEOUT_S) as sock:
        received(sock)
    assert time.monotonic() - began > 0.15


def test_silent_peers_are_bounded_in_number_and_keep_no_broker_out(
    two: ClusterServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_listener, "UNPROVEN_MAX", 10)
    serve_http(two, "b")
    address = ("127.0.0.1", two.cluster_port("b"))
    with ExitStack() as undo:
        silent = []
        for _ in range(30):
            sock = undo.enter_context(socket.create_connection(address, TIMEOUT_S))
            sock.recv(1000)
            silent.append(sock)
        peers = peer_http(two, "a")
        assert two.run(ask(peers, two))[0] == 203
        for sock in silent[:20]:
            assert received(sock) == b""
        listener = two.servers["b"].cluster_listener
        assert listener is not None
        wait_until(lambda: two.call(listener.unproven) <= 10)
