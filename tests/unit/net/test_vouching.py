"""What a broker says of a client whose connection it passes on, and what the other one reads."""

import pytest

from leveret.net.proxy_protocol import ProxyHeader, ProxyHeaderError
from leveret.net.vouching import decode, encode
from leveret.protocol.channels.peer import Peer, TlsPeer

INSTANCE = b"0123456789abcdef"
TLS = TlsPeer("TLSv1.3", "TLS_AES_256_GCM_SHA384", "CN=somebody")


def whole(data: bytes) -> ProxyHeader:
    """A header that has come octet by octet, and takes nothing of what follows."""
    header, at = ProxyHeader(), 0
    while header.wanted():
        header.add(data[at : at + 1])
        at += 1
    assert at == len(data)
    return header


@pytest.mark.parametrize(
    ("peer", "local"),
    [
        ("192.0.2.1:50000", "192.0.2.2:5672"),
        ("[2001:db8::1]:50000", "[2001:db8::2]:5672"),
        ("unix:7", "/run/leveret.sock"),
        ("[2001:db8::1]:50000", "192.0.2.2:5672"),
        ("192.0.2.1:50000", ""),
    ],
)
@pytest.mark.parametrize("tls", [None, TLS, TlsPeer("TLSv1.2", "X", "")])
@pytest.mark.parametrize("from_loopback", [False, True])
def test_what_is_said_is_read(
    peer: str, local: str, tls: TlsPeer | None, from_loopback: bool
) -> None:
    said = Peer(peer, local, from_loopback=from_loopback, tls=tls)
    origin = decode(whole(encode(said, "größe", INSTANCE)), "a")
    assert (origin.peer, origin.local) == (peer, local)
    assert origin.from_loopback is from_loopback
    assert origin.vouched == ("größe", "a", INSTANCE, tls)


def test_a_long_description_is_cut_and_a_user_is_not() -> None:
    peer = Peer("192.0.2.1:1", "192.0.2.2:2", tls=TLS._replace(user="x" * 5000))
    user = "u" * 255
    origin = decode(whole(encode(peer, user, INSTANCE)), "a")
    assert origin.vouched is not None
    assert origin.vouched.user == user
    assert origin.vouched.tls is not None
    assert origin.vouched.tls.user == "x" * 512
    with pytest.raises(ProxyHeaderError):
        encode(peer, "u" * 5000, INSTANCE)


def test_a_header_without_a_user_is_refused() -> None:
    with pytest.raises(ProxyHeaderError, match="names no user"):
        decode(whole(encode(Peer("192.0.2.1:1", "192.0.2.2:2"), "", INSTANCE)), "a")


def test_a_value_that_is_not_whole_is_refused() -> None:
    data = bytearray(encode(Peer("192.0.2.1:1", "192.0.2.2:2"), "somebody", INSTANCE))
    # The length of the first value, behind the addresses.
    data[16 + 12 + 1] = 0xFF
    with pytest.raises(ProxyHeaderError, match="not whole"):
        decode(whole(bytes(data)), "a")
