"""Where a connection comes from: its two ends, as the log and the lists show them."""

import asyncio
import socket
import struct
from itertools import count
from typing import Any, Final, NamedTuple

from leveret.addresses import UNIX, Address
from leveret.protocol.channels.peer import Vouched

_PEER_CREDENTIALS: Final = struct.Struct("3i")
"""Process, user and group of the peer of a Unix socket (unix(7), SO_PEERCRED)."""

_unix_peers = count(1)


class Origin(NamedTuple):
    """The ends of a connection."""

    peer: str
    local: str
    from_loopback: bool
    """Whether the client is on this machine, as far as the broker can know."""
    details: dict[str, Any]
    """What the log says of the peer beside its address."""
    vouched: Vouched | None = None
    """What another broker of the cluster says of the client, whose connection it passes on."""


def of_socket(transport: asyncio.BaseTransport) -> Origin:
    """The ends of the socket itself."""
    name = transport.get_extra_info("sockname")
    if isinstance(name, str):
        return _of_unix_socket(transport.get_extra_info("socket"), name)
    remote, local = _end(transport.get_extra_info("peername")), _end(name)
    return Origin(str(remote), str(local), is_loopback(remote.host), {})


def _of_unix_socket(sock: socket.socket, path: str) -> Origin:
    """Clients of a Unix socket have no addresses: they are numbered."""
    process, user, _ = _PEER_CREDENTIALS.unpack(
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    )
    address = Address(UNIX, next(_unix_peers))
    return Origin(str(address), path, True, {"pid": process, "uid": user})


def behind_proxy(proxy: Address, client: Address, server: Address | None) -> Origin:
    """The ends that a proxy names.

    :param proxy: where the proxy is.
    """
    return Origin(str(client), str(server or ""), is_loopback(client.host), {"proxy": str(proxy)})


def unknown_behind_proxy(proxy: Address, local: Address) -> Origin:
    """A proxy does not say who its client is: it is not taken to be on this machine."""
    return Origin(str(proxy), str(local), False, {"proxy": str(proxy)})


def is_loopback(host: str) -> bool:
    """Whether a client with this address is on this machine."""
    return host == "::1" or host.startswith(("127.", "::ffff:127."))


def _end(name: tuple[Any, ...] | None) -> Address:
    """The address of one end of a socket. One that was reset before it was accepted has none;
    connection_lost follows."""
    host, port, *_ = name or ("unknown", 0)
    return Address(host, port)
