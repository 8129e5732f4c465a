"""The first octets of a connection: the protocol header, or those of a foreign protocol."""

from typing import Final

PROTOCOL_HEADER: Final = b"AMQP\x00\x00\x09\x01"
ACCEPTED_HEADERS: Final = (PROTOCOL_HEADER, b"AMQP\x01\x01\x00\x09")
"""0-9-1, and 0-9, which is answered as 0-9-1."""

FOREIGN_HEADERS: Final = {
    b"GET ": "an HTTP request",
    b"POST": "an HTTP request",
    b"HEAD": "an HTTP request",
    b"\x16\x03\x01": "a TLS handshake",
    b"\x16\x03\x03": "a TLS handshake",
    b"AMQP": "another version of AMQP",
}
"""First octets of foreign protocols that are sent to the wrong port, and their names in the log."""


def foreign_protocol(header: bytes) -> str:
    """The name of the foreign protocol that begins with these octets; empty if none is known."""
    for accepted in ACCEPTED_HEADERS:
        if accepted.startswith(header):
            return ""
    for prefix, name in FOREIGN_HEADERS.items():
        if header.startswith(prefix):
            return name
    return ""
