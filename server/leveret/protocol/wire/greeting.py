"""The first octets of a connection: the protocol header, or what else they look like."""

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
"""First octets of what is sent to the wrong port, and what to call it in the log."""


def foreign_protocol(header: bytes) -> str:
    """What the first octets of something that is no AMQP 0-9-1 look like; "" if like nothing."""
    for accepted in ACCEPTED_HEADERS:
        if accepted.startswith(header):
            return ""
    for prefix, what in FOREIGN_HEADERS.items():
        if header.startswith(prefix):
            return what
    return ""
