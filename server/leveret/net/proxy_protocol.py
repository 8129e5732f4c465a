"""The PROXY protocol, versions 1 and 2: what a proxy says of the client behind it.

A `ProxyHeader` takes octets and says how many more are certainly part of the header, so that its
reader takes no octet of what follows: that is AMQP, or a TLS handshake.

What a header of version 2 says beside the addresses are values of numbered types, which brokers of
a cluster use among each other (`vouching.py`).

The header is required where it is enabled, as its specification wants: whoever could leave it out
could give itself the address of the proxy.

(HAProxy: The PROXY protocol, sections 2.1 and 2.2.)
"""

import socket
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import Final, NamedTuple

from leveret.addresses import Address

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
"""The first octets of version 2."""

TEXT_SIGNATURE: Final = b"PROXY "
TEXT_BYTES_MAX: Final = 107
"""Octets of a header of version 1 at most, with its CR LF."""

START_BYTES: Final = 12
"""Octets that every header has: the shortest one, `PROXY UNKNOWN` with CR LF, has 15."""

BINARY_HEAD_BYTES: Final = 16
BINARY_BYTES_MAX: Final = 4096
"""Octets of a header of version 2 at most, with what it says beside the addresses: proxies send
some hundred."""

LOCAL_HEADER: Final = SIGNATURE + b"\x20\x00\x00\x00"
"""What a proxy sends for a connection of its own (version 2, command LOCAL)."""

VERSION_2: Final = 2
LOCAL: Final = 0
PROXY: Final = 1

FAMILIES: Final = {0x11: (socket.AF_INET, 4), 0x21: (socket.AF_INET6, 16)}
"""TCP over IPv4 and over IPv6: family and octets of an address."""

TCP_FAMILIES: Final = {4: 0x11, 6: 0x21}
UNSPECIFIED: Final = 0x00

VALUE_HEAD_BYTES: Final = 3
"""Octets of the type and the length of a value."""

TEXT_PARTS: Final = 6
TEXT_FAMILIES: Final = {"TCP4": 4, "TCP6": 6}


class ProxyHeaderError(Exception):
    """No header, or a malformed one; the text says what is wrong."""


class Proxied(NamedTuple):
    """What a header says."""

    client: Address | None
    """None if the proxy does not say who the client is, or speaks for itself."""
    server: Address | None
    """The address that the client connected to."""
    local: bool = False
    """Whether the connection is the proxy's own: its health check."""


UNKNOWN: Final = Proxied(None, None)


class ProxyHeader:
    """One header, as it arrives."""

    def __init__(self) -> None:
        self._data = b""

    def wanted(self) -> int:
        """How many octets to add at most; 0 if the header is whole.

        :raises ProxyHeaderError: if this is no header.
        """
        data = self._data
        if len(data) < START_BYTES:
            if not (SIGNATURE.startswith(data) or _is_text(data)):
                raise ProxyHeaderError("no PROXY protocol header")
            return START_BYTES - len(data)
        if data.startswith(SIGNATURE):
            return self._wanted_of_binary()
        if not _is_text(data):
            raise ProxyHeaderError("no PROXY protocol header")
        if data.endswith(b"\r\n"):
            return 0
        wanted = 1 if data.endswith(b"\r") else 2
        if len(data) + wanted > TEXT_BYTES_MAX:
            raise ProxyHeaderError("the header does not end")
        return wanted

    def _wanted_of_binary(self) -> int:
        data = self._data
        if len(data) < BINARY_HEAD_BYTES:
            return BINARY_HEAD_BYTES - len(data)
        size = BINARY_HEAD_BYTES + int.from_bytes(data[14:16])
        if size > BINARY_BYTES_MAX:
            raise ProxyHeaderError(f"the header has {size} bytes")
        return size - len(data)

    def add(self, data: bytes) -> None:
        """Add octets: no more than are wanted."""
        self._data += data

    def result(self) -> Proxied:
        """What the header says, when it is whole.

        :raises ProxyHeaderError: if it is malformed.
        """
        if self._data.startswith(SIGNATURE):
            return _binary(self._data)
        return _text(self._data)

    def values(self) -> dict[int, bytes]:
        """What a header of version 2 says beside the addresses, by type, when it is whole.

        :raises ProxyHeaderError: if it is malformed.
        """
        family = self._data[13]
        size = 2 * FAMILIES[family][1] + 4 if family in FAMILIES else 0
        return typed_values(self._data[BINARY_HEAD_BYTES + size :])


def _is_text(data: bytes) -> bool:
    return data.startswith(TEXT_SIGNATURE) or TEXT_SIGNATURE.startswith(data)


def _binary(data: bytes) -> Proxied:
    version, command = divmod(data[12], 16)
    if version != VERSION_2 or command not in (LOCAL, PROXY):
        raise ProxyHeaderError(f"unknown version or command {data[12]:#04x}")
    if command == LOCAL:
        return UNKNOWN._replace(local=True)
    if data[13] not in FAMILIES:
        return UNKNOWN
    family, size = FAMILIES[data[13]]
    addresses = data[BINARY_HEAD_BYTES : BINARY_HEAD_BYTES + 2 * size + 4]
    if len(addresses) < 2 * size + 4:
        raise ProxyHeaderError("the addresses are not whole")
    hosts = [socket.inet_ntop(family, addresses[at : at + size]) for at in (0, size)]
    ports = [int.from_bytes(addresses[at : at + 2]) for at in (2 * size, 2 * size + 2)]
    return Proxied(Address(hosts[0], ports[0]), Address(hosts[1], ports[1]))


def typed_values(data: bytes) -> dict[int, bytes]:
    """Values with their types and lengths (section 2.2, TLV).

    :raises ProxyHeaderError: if the last one is not whole.
    """
    found = {}
    at = 0
    while at < len(data):
        end = at + VALUE_HEAD_BYTES + int.from_bytes(data[at + 1 : at + VALUE_HEAD_BYTES])
        if end > len(data):
            raise ProxyHeaderError("a value is not whole")
        found[data[at]] = data[at + VALUE_HEAD_BYTES : end]
        at = end
    return found


def encode_values(values: Mapping[int, bytes]) -> bytes:
    """Values, each of at most 65,535 octets, with their types and lengths."""
    return b"".join(
        bytes((kind,)) + len(value).to_bytes(2) + value for kind, value in values.items()
    )


def encode_header(client: Address, server: Address, values: Mapping[int, bytes]) -> bytes:
    """A header of version 2.

    :param client: the source; where it and `server` are no IP addresses of one version, the header
        names neither.
    :raises ProxyHeaderError: if it is longer than is accepted.
    """
    family, addresses = UNSPECIFIED, b""
    with suppress(ValueError):
        hosts = [ip_address(each.host.partition("%")[0]) for each in (client, server)]
        if hosts[0].version == hosts[1].version:
            family = TCP_FAMILIES[hosts[0].version]
            ports = [each.port.to_bytes(2) for each in (client, server)]
            addresses = b"".join((*(host.packed for host in hosts), *ports))
    said = addresses + encode_values(values)
    head = bytes((VERSION_2 * 16 + PROXY, family)) + len(said).to_bytes(2)
    header = SIGNATURE + head + said
    if len(header) > BINARY_BYTES_MAX:
        raise ProxyHeaderError(f"the header has {len(header)} bytes")
    return header


def _text(data: bytes) -> Proxied:
    try:
        parts = data[:-2].decode("ascii").split(" ")
    except UnicodeDecodeError:
        raise ProxyHeaderError("the header is no ASCII text") from None
    if parts[1] == "UNKNOWN":
        return UNKNOWN
    if len(parts) != TEXT_PARTS or parts[1] not in TEXT_FAMILIES:
        raise ProxyHeaderError("the header is malformed")
    version = TEXT_FAMILIES[parts[1]]
    client, server = (
        _address(host, port, version) for host, port in zip(parts[2:4], parts[4:6], strict=True)
    )
    return Proxied(client, server)


def _address(host: str, port: str, version: int) -> Address:
    try:
        parsed = ip_address(host)
    except ValueError:
        raise ProxyHeaderError("an address is malformed") from None
    if parsed.version != version or not port.isdigit() or int(port) > 65535:
        raise ProxyHeaderError("an address is malformed")
    return Address(str(parsed), int(port))
