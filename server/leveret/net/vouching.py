"""What a broker says of a client whose connection it passes on: a header of the PROXY protocol,
with the user whom it has logged in.

Only a broker that has proved itself is believed (`cluster_listener.py`). TLS of the client is
described as other proxies do it, the rest in values of our own.

(HAProxy: The PROXY protocol, sections 2.2.6 and 2.2.7.)
"""

from typing import Final

from leveret.addresses import shown_address
from leveret.engine.values.text import octets_of_text, text_of
from leveret.net.origin import Origin
from leveret.net.proxy_protocol import (
    ProxyHeader,
    ProxyHeaderError,
    encode_header,
    encode_values,
    typed_values,
)
from leveret.protocol.channels.peer import Peer, TlsPeer, Vouched

SSL: Final = 0x20
SSL_VERSION: Final = 0x21
SSL_COMMON_NAME: Final = 0x22
SSL_CIPHER: Final = 0x23
SSL_HEAD: Final = b"\x07\0\0\0\0"
"""The client connected with TLS, and showed a certificate, which was verified."""
SSL_HEAD_ANONYMOUS: Final = b"\x01\0\0\0\0"

USER: Final = 0xE0
PEER: Final = 0xE1
"""Where the client is, as text: a client of a Unix socket has no address."""
LOCAL: Final = 0xE2
"""Where it connected to, as text."""
FROM_LOOPBACK: Final = 0xE3
"""Present if the client is on the machine of the broker that passes it on."""
INSTANCE: Final = 0xE4
"""The process that passes it on."""

TEXT_BYTES_MAX: Final = 512
"""Bytes of a text that only describes: a longer one is cut."""


def encode(peer: Peer, user: str, instance: bytes) -> bytes:
    """The header for a client that has logged in as a user.

    :param instance: names this process.
    :raises ProxyHeaderError: if the name of the user is too long.
    """
    values = {USER: octets_of_text(user), INSTANCE: instance}
    values[PEER] = _described(peer.address)
    values[LOCAL] = _described(peer.local)
    if peer.from_loopback:
        values[FROM_LOOPBACK] = b""
    if peer.tls is not None:
        head = SSL_HEAD if peer.tls.user else SSL_HEAD_ANONYMOUS
        described = {SSL_VERSION: peer.tls.version, SSL_CIPHER: peer.tls.cipher}
        if peer.tls.user:
            described[SSL_COMMON_NAME] = peer.tls.user
        texts = {kind: _described(text) for kind, text in described.items()}
        values[SSL] = head + encode_values(texts)
    return encode_header(shown_address(peer.address), shown_address(peer.local), values)


def decode(header: ProxyHeader, node: str) -> Origin:
    """What a whole header says.

    :param node: the broker that has sent it.
    :raises ProxyHeaderError: if it is malformed, or names no user.
    """
    proxied, values = header.result(), header.values()
    user = values.get(USER, b"")
    if not user:
        raise ProxyHeaderError("the header names no user")
    client, local = _text(values.get(PEER, b"")), _text(values.get(LOCAL, b""))
    if proxied.client is not None and proxied.server is not None:
        client, local = str(proxied.client), str(proxied.server)
    tls = None
    if SSL in values:
        texts = {kind: _text(each) for kind, each in typed_values(values[SSL][5:]).items()}
        version, cipher = texts.get(SSL_VERSION, ""), texts.get(SSL_CIPHER, "")
        tls = TlsPeer(version, cipher, texts.get(SSL_COMMON_NAME, ""))
    vouched = Vouched(text_of(user), node, values.get(INSTANCE, b""), tls)
    return Origin(client, local, FROM_LOOPBACK in values, {"passed_on_by": node}, vouched)


def _described(text: str) -> bytes:
    return text.encode("utf-8", "replace")[:TEXT_BYTES_MAX]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
