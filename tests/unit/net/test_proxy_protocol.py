"""Headers of the PROXY protocol, as they arrive."""

import socket
import struct

import pytest

from leveret.addresses import Address
from leveret.net.proxy_protocol import (
    BINARY_BYTES_MAX,
    LOCAL_HEADER,
    SIGNATURE,
    TEXT_BYTES_MAX,
    Proxied,
    ProxyHeader,
    ProxyHeaderError,
)

AMQP = b"AMQP\0\0\x09\x01"
V4 = Proxied(Address("192.0.2.7", 40000), Address("198.51.100.1", 5672))
V6 = Proxied(Address("2001:db8::7", 40000), Address("2001:db8::1", 5672))


def binary(command: int, family: int, rest: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest)) + rest


def addresses(family: int, proxied: Proxied) -> bytes:
    assert proxied.client is not None
    assert proxied.server is not None
    hosts = [socket.inet_pton(family, each.host) for each in (proxied.client, proxied.server)]
    return b"".join(hosts) + struct.pack("!HH", proxied.client.port, proxied.server.port)


IPV4 = addresses(socket.AF_INET, V4)
IPV6 = addresses(socket.AF_INET6, V6)


def read(data: bytes) -> tuple[Proxied, bytes]:
    """What the header says, and what follows it."""
    header, at = ProxyHeader(), 0
    while wanted := header.wanted():
        more = data[at : at + wanted]
        if not more:
            raise EOFError
        header.add(more)
        at += len(more)
    return header.result(), data[at:]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 5672\r\n", V4),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 5672\r\n", V6),
        (b"PROXY UNKNOWN\r\n", Proxied(None, None)),
        (b"PROXY UNKNOWN ffff:f:f:f ffff 65535 65535\r\n", Proxied(None, None)),
        (binary(0x21, 0x11, IPV4), V4),
        (binary(0x21, 0x21, IPV6), V6),
        (binary(0x21, 0x11, IPV4 + b"\x04\x00\x03abc"), V4),
        (binary(0x21, 0x31, bytes(216)), Proxied(None, None)),
        (binary(0x21, 0x00, b""), Proxied(None, None)),
        (binary(0x20, 0x11, IPV4), Proxied(None, None, local=True)),
        (LOCAL_HEADER, Proxied(None, None, local=True)),
    ],
)
def test_a_header_is_read_and_nothing_behind_it(header: bytes, said: Proxied) -> None:
    assert read(header + AMQP) == (said, AMQP)


@pytest.mark.parametrize(
    "data",
    [
        AMQP + bytes(20),
        b"\x16\x03\x01" + bytes(20),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 65536\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 -1 5672\r\n",
        b"PROXY TCP4 2001:db8::7 2001:db8::1 40000 5672\r\n",
        b"PROXY TCP4 a.example b.example 40000 5672\r\n",
        b"PROXY TCP5 192.0.2.7 198.51.100.1 40000 5672\r\n",
        b"PROXY TCP4 192.0.2.\xff 198.51.100.1 40000 5672\r\n",
        b"PROXY  TCP4 192.0.2.7\r\n",
        b"PROXY " + b"x" * TEXT_BYTES_MAX,
        binary(0x11, 0x11, IPV4),
        binary(0x22, 0x11, IPV4),
        binary(0x21, 0x11, IPV4[:-1]),
        binary(0x21, 0x11, IPV4 + bytes(BINARY_BYTES_MAX)),
        SIGNATURE[:-1] + b"!" + bytes(20),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ProxyHeaderError):
        read(data)


@pytest.mark.parametrize(
    "header", [b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 5672\r\n", binary(0x21, 0x11, IPV4)]
)
def test_a_part_of_a_header_wants_more(header: bytes) -> None:
    for size in range(len(header)):
        with pytest.raises(EOFError):
            read(header[:size])
