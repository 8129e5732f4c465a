"""Hostile clients that never log in: they are cut, leave nothing behind, and others are served."""

import contextlib
from collections.abc import Callable, Iterator

import pytest
from pamqp import commands

from tests.clients.peers import MEGABYTE, Peer, Peers, resident_bytes, sockets
from tests.support.brokers import HOST, Leveret, wait_until
from tests.support.wire import PROTOCOL_HEADER, ClosedByServerError, make_start_ok, raw_frame

TIMEOUT_S = 3.0
CLIENTS = 300
GROWTH_BYTES_MAX = 16 * MEGABYTE
"""Memory that the broker may keep once all are gone: what an allocator holds for later, and far
less than what they sent or announced."""

ENDLESS_FRAME = b"\x01\0\0\xff\xff\xff\xff"
"""The head of a frame of 4 GiB."""


@pytest.fixture(scope="module")
def broker() -> Iterator[Leveret]:
    with Leveret(env={"LEVERET_AMQP_HANDSHAKE_TIMEOUT": str(TIMEOUT_S)}) as leveret:
        yield leveret


def nothing(_peer: Peer) -> None:
    """Say nothing, ever."""


def one_octet(peer: Peer) -> None:
    """Send one octet of a start-ok."""
    peer.send_bytes(b"\x01")


def header_and_start_ok(peer: Peer) -> None:
    """Send as much as may come before login, without its end."""
    peer.send_bytes(PROTOCOL_HEADER + raw_frame(1, 0, b"\0\x0a\0\x0b" + b"\0" * 4000)[:-1])


def oversized(peer: Peer) -> None:
    """Announce a frame of 4 GiB."""
    peer.send_bytes(PROTOCOL_HEADER + ENDLESS_FRAME + b"\0" * 1000)


def wrong_password(peer: Peer) -> None:
    """Log in with a password that is wrong, without reading the answer."""
    peer.send_bytes(PROTOCOL_HEADER)
    peer.read_one(commands.Connection.Start)
    peer.send(make_start_ok(response="\0guest\0wrong"))


@pytest.mark.parametrize(
    ("at_first", "again"),
    [
        (nothing, nothing),
        (one_octet, one_octet),
        (header_and_start_ok, nothing),
        (oversized, nothing),
        (wrong_password, nothing),
    ],
)
def test_clients_that_never_log_in_are_cut_and_leave_nothing(
    broker: Leveret, at_first: Callable[[Peer], None], again: Callable[[Peer], None]
) -> None:
    _are_cut(broker, broker.port, at_first, again)


def _are_cut(
    broker: Leveret, port: int, at_first: Callable[[Peer], None], again: Callable[[Peer], None]
) -> None:
    """Connect many, serve another meanwhile, and see that all are cut and nothing is left."""
    with Peers(broker) as others:
        good = _logged_in(others)
        good.declare("served")
        wait_until(lambda: sockets(broker) >= 1)
        before, memory = sockets(broker), resident_bytes(broker)
        hostile = [Peer(HOST, port) for _ in range(CLIENTS)]
        for each in hostile:
            with contextlib.suppress(ClosedByServerError):
                at_first(each)
        good.publish("served", b"meanwhile")

        def all_cut() -> bool:
            for each in list(hostile):
                with contextlib.suppress(ClosedByServerError):
                    again(each)
                if each.is_closed():
                    each.close_socket()
                    hostile.remove(each)
            return not hostile

        wait_until(all_cut, what="all being cut")
        wait_until(lambda: sockets(broker) <= before, what="their sockets being closed")
        assert resident_bytes(broker) - memory < GROWTH_BYTES_MAX
        good.call(commands.Basic.Get(queue="served", no_ack=True), commands.Basic.GetOk)
        good.read_body()
        good.delete("served")
    assert "Traceback" not in broker.log_text()


def _logged_in(peers: Peers) -> Peer:
    """A client that logs in, on a machine that may stand still for longer than the timeout."""
    opened: list[Peer] = []

    def logs_in() -> bool:
        with contextlib.suppress(ClosedByServerError):
            opened.append(peers.log_in())
        return bool(opened)

    wait_until(logs_in, what="a login within the timeout")
    return opened[0]
