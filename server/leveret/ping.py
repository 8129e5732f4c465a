"""`leveret ping`: the first step of the AMQP handshake, to see whether a broker answers.

It goes to any kind of listener: TCP, TLS, a Unix socket, and those for proxies, where it says that
it is the proxy's own check. The certificate of a TLS listener is not checked: nothing is sent that
others must not see, and a broker asks itself under an address that is not in its certificate.
"""

import socket
from collections.abc import Sequence
from typing import Final, NamedTuple

from leveret.addresses import UNIX, Address, reachable
from leveret.config import Config
from leveret.os_errors import plain_words

_PROTOCOL_HEADER: Final = b"AMQP\x00\x00\x09\x01"
_PROXY_LOCAL: Final = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"
"""A PROXY protocol header for a connection of one's own (HAProxy: The PROXY protocol, 2.2)."""
_HEAD_BYTES: Final = 7
"""A frame's type, channel and payload size (AMQP 0-9-1, section 4.2.3)."""
_METHOD_FRAME: Final = b"\x01\x00\x00"
_CONNECTION_START: Final = b"\x00\x0a\x00\x0a"
_START_BYTES_MAX: Final = 64 * 1024
"""Largest accepted payload of connection.start; brokers send less than one kilobyte."""


NO_LISTENER: Final = Address("127.0.0.1", 5672)
"""What completes a host or a port if no listener of the kind is configured."""


class PingError(Exception):
    """No broker answered; the text is the reason in one line."""


class Target(NamedTuple):
    """A listener."""

    address: Address
    path: str = ""
    """Of a Unix socket, instead of the address."""
    tls: bool = False
    proxy_networks: Sequence[str] = ()
    """Where connections begin with a PROXY protocol header."""

    def __str__(self) -> str:
        return f"{UNIX}:{self.path}" if self.path else str(self.address)


def target_of(
    config: Config, host: str | None = None, port: int | None = None, *, tls: bool = False
) -> Target:
    """The listener of a configuration that is simplest to ask: TCP, a Unix socket, or TLS.

    :param host: instead of the configured one.
    :param port: instead of the configured one.
    :param tls: whether it is a TLS listener, if host or port are given.
    """
    amqp = config.amqp
    if host is None and port is None and not tls and not amqp.listen:
        if amqp.unix_socket:
            return Target(Address(UNIX, 0), amqp.unix_socket)
        tls = True
    listen = config.tls.listen if tls else amqp.listen
    address = reachable(listen[0]) if listen else NO_LISTENER
    address = Address(host or address.host, port or address.port)
    return Target(address, tls=tls, proxy_networks=amqp.proxy_networks)


def ping(target: Target, timeout_s: float) -> None:
    """Send the protocol header and wait for connection.start (AMQP 0-9-1, section 2.2.4).

    :param timeout_s: seconds for each step: connecting, writing, and each read.
    :raises PingError: if nothing listens, no answer comes in time, or the answer is not AMQP.
    """
    try:
        with _connect(target, timeout_s) as connection:
            connection.sendall(_PROTOCOL_HEADER)
            _read_start(connection)
    except TimeoutError:
        raise PingError(f"no answer within {timeout_s:g} s") from None
    except OSError as error:
        raise PingError(_reason(error)) from None


def _connect(target: Target, timeout_s: float) -> socket.socket:
    if target.path:
        unix = socket.socket(socket.AF_UNIX)
        unix.settimeout(timeout_s)
        unix.connect(target.path)
        return unix
    connection = socket.create_connection(target.address, timeout_s)
    if target.proxy_networks and _is_in(connection.getsockname()[0], target.proxy_networks):
        connection.sendall(_PROXY_LOCAL)
    if not target.tls:
        return connection
    import ssl  # imported here: most pings do without

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connection)


def _is_in(host: str, networks: Sequence[str]) -> bool:
    from ipaddress import ip_address, ip_network  # imported here: most pings do without

    return any(ip_address(host) in ip_network(each, strict=False) for each in networks)


def _reason(error: OSError) -> str:
    reason = getattr(error, "reason", None)  # of an ssl.SSLError
    if reason is None:
        return plain_words(error)
    reason = reason.lower().replace("_", " ")
    if "certificate required" in reason:
        return "the listener wants a client certificate, which ping has not"
    if reason in ("wrong version number", "record layer failure"):
        return "the listener does not speak TLS"
    return f"the TLS handshake failed: {reason}"


def _read_start(connection: socket.socket) -> None:
    """Read the whole connection.start: a socket closed with unread bytes resets the broker's."""
    head = _read(connection, _HEAD_BYTES)
    if not head:
        raise PingError("the connection was closed without an answer")
    size = int.from_bytes(head[3:])
    if head.startswith(_METHOD_FRAME) and len(head) == _HEAD_BYTES and size <= _START_BYTES_MAX:
        payload = _read(connection, size + 1)
        if len(payload) == size + 1 and payload.startswith(_CONNECTION_START):
            return
    raise PingError("the listener does not speak AMQP 0-9-1")


def _read(connection: socket.socket, size: int) -> bytes:
    """Read `size` bytes, or fewer if the peer closes."""
    received = b""
    while len(received) < size and (more := connection.recv(size - len(received))):
        received += more
    return received
