"""The proof with which a link begins: a connection between two brokers of a cluster.

The broker that listens sends the first message, a nonce; the one that dials answers with a nonce of
its own and a proof of the secret, and gets the listener's proof. Nothing else is said before both
have been checked:

    listener: MAGIC, nonce (32 octets), length and text of its name
    dialer:   purpose (1 octet), nonce (32), length and text of its name, proof (32)
    listener: proof (32)

A proof is HMAC-SHA256, with the secret as the key, over everything that both have said: the role of
who proves, the purpose, both nonces, and both names. So the secret is never sent, a proof is worth
nothing on another connection, for another purpose, from the other side, or at a broker with another
name, and who cannot prove the secret gets nothing made with it to try secrets on. Names are unique
in a cluster: a dialer that is answered with a name it did not dial, or its own, is being deceived.

With TLS both sides have shown a certificate before; then the secret may be empty.

Without a socket: octets in, octets out. Deliberately elsewhere: time, and how many may try
(`links.py`, `cluster_listener.py`).
"""

import hmac
import secrets
from typing import Final

MAGIC: Final = b"LEVERET\x01"
"""What a listener says first: the last octet is the version of this."""

NONCE_BYTES: Final = 32
PROOF_BYTES: Final = 32
NAME_BYTES_MAX: Final = 255

AMQP: Final = b"A"
"""Purpose of a link that carries one client's connection."""
HTTP: Final = b"H"
"""Purpose of a link that carries requests to the HTTP API."""
CLOSE: Final = b"C"
"""Purpose of a link that asks to close what this dialer has passed on."""
PURPOSES: Final = (AMQP, HTTP, CLOSE)

CONTEXT: Final = b"leveret cluster link 1"
"""What is proved: an HMAC with the same secret for something else proves nothing here."""
DIALER: Final = b"dialer"
LISTENER: Final = b"listener"

HEAD_BYTES: Final = len(MAGIC) + NONCE_BYTES + 1
REQUEST_HEAD_BYTES: Final = 1 + NONCE_BYTES + 1


class ProofError(Exception):
    """The other side has not proved that it is a broker of the cluster; the text says why."""


class Dialer:
    """The side that has connected."""

    def __init__(self, secret: bytes, name: str, listener: str, purpose: bytes) -> None:
        """
        :param name: of this broker.
        :param listener: the name of the broker that is dialed.
        """
        self._secret = secret
        self._name = encoded_name(name)
        self._listener = encoded_name(listener)
        self._purpose = purpose
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        self._data = b""
        self._expected = b""
        """The proof of the listener; empty before it has said its nonce."""

    def receive(self, data: bytes) -> tuple[bytes, bool]:
        """Take octets of the listener.

        :returns: what to send, and whether the listener is proved.
        :raises ProofError: if it is not.
        """
        self._data += data
        reply = b""
        if not self._expected:
            if not MAGIC.startswith(self._data[: len(MAGIC)]):
                raise ProofError("no broker of this version listens there")
            if len(self._data) < HEAD_BYTES:
                return b"", False
            end = HEAD_BYTES + self._data[HEAD_BYTES - 1]
            if len(self._data) < end:
                return b"", False
            reply = self._answer(
                self._data[len(MAGIC) : HEAD_BYTES - 1], self._data[HEAD_BYTES:end]
            )
            self._data = self._data[end:]
        if len(self._data) > PROOF_BYTES:
            raise ProofError("the listener has said more than its proof")
        if len(self._data) < PROOF_BYTES:
            return reply, False
        if not hmac.compare_digest(self._data, self._expected):
            raise ProofError("the listener does not know the secret of the cluster")
        return reply, True

    def _answer(self, nonce: bytes, name: bytes) -> bytes:
        if name != self._listener:
            shown = name.decode("utf-8", "replace")
            raise ProofError(f"the broker that listens there calls itself {shown!r}")
        if name == self._name:
            raise ProofError("the broker that listens there has the name of this one")
        said = (self._purpose, nonce, self._nonce, name, self._name)
        self._expected = _proof(self._secret, LISTENER, *said)
        proof = _proof(self._secret, DIALER, *said)
        return b"".join((self._purpose, self._nonce, _short(self._name), proof))


class Listener:
    """The side that has accepted."""

    def __init__(self, secret: bytes, name: str) -> None:
        """:param name: of this broker."""
        self._secret = secret
        self._name = encoded_name(name)
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        self._data = b""
        self.purpose = b""
        """What the link is for, once the dialer is proved."""
        self.dialer = ""
        """The name of the broker that has dialed, once it is proved."""

    def begin(self) -> bytes:
        """What is sent first."""
        return MAGIC + self._nonce + _short(self._name)

    def receive(self, data: bytes) -> tuple[bytes, bool]:
        """Take octets of the dialer.

        :returns: what to send, and whether the dialer is proved.
        :raises ProofError: if it is not: nothing more is said to it.
        """
        self._data += data
        data = self._data
        if data[:1] and data[:1] not in PURPOSES:
            raise ProofError("it is no broker of this version")
        if len(data) < REQUEST_HEAD_BYTES:
            return b"", False
        named = REQUEST_HEAD_BYTES + data[REQUEST_HEAD_BYTES - 1]
        if len(data) < named + PROOF_BYTES:
            return b"", False
        if len(data) > named + PROOF_BYTES:
            raise ProofError("it has said more than its proof")
        purpose, name = data[:1], data[REQUEST_HEAD_BYTES:named]
        said = (purpose, self._nonce, data[1 : 1 + NONCE_BYTES], self._name, name)
        if not hmac.compare_digest(data[named:], _proof(self._secret, DIALER, *said)):
            raise ProofError("it does not know the secret of the cluster, or dialed another broker")
        if name == self._name:
            raise ProofError("it has the name of this broker")
        self.purpose, self.dialer = purpose, name.decode("utf-8", "replace")
        return _proof(self._secret, LISTENER, *said), True


def encoded_name(name: str) -> bytes:
    """A name as it is sent, cut where it is too long."""
    return name.encode()[:NAME_BYTES_MAX]


def _short(data: bytes) -> bytes:
    return bytes((len(data),)) + data


def _proof(
    secret: bytes,
    role: bytes,
    purpose: bytes,
    listener_nonce: bytes,
    dialer_nonce: bytes,
    listener: bytes,
    dialer: bytes,
) -> bytes:
    said = b"".join(
        (
            _short(CONTEXT),
            _short(role),
            purpose,
            listener_nonce,
            dialer_nonce,
            _short(listener),
            _short(dialer),
        )
    )
    return hmac.digest(secret, said, "sha256")
