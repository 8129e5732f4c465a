"""The first octets of a connection: the protocol header, or those of a foreign protocol."""

from typing import Final

PROTOCOL_HEADER: Final = b"AMQP\x00\x00\x09\x01"
ACCEPTED_HEADERS: Final = (PROTOCOL_HEADER, b"AMQP\x01\x01\x00\x09")
"""0-9-1, and 0-9, which is answered as 0-9-1."""

HTTP_REQUEST: Final = "an HTTP request"
TLS_HANDSHAKE: Final = "a TLS handshake"
AMQP_1_0: Final = "AMQP 1.0"
STOMP_CLIENT: Final = "a STOMP client"
PROXY_HEADER: Final = "a PROXY protocol header"
MQTT_CLIENT: Final = "an MQTT client"

FOREIGN_HEADERS: Final = {
    b"GET ": HTTP_REQUEST,
    b"POST": HTTP_REQUEST,
    b"HEAD": HTTP_REQUEST,
    b"PUT ": HTTP_REQUEST,
    b"DELETE ": HTTP_REQUEST,
    b"OPTIONS ": HTTP_REQUEST,
    b"PATCH ": HTTP_REQUEST,
    b"TRACE ": HTTP_REQUEST,
    b"CONNECT ": HTTP_REQUEST,
    b"PRI * HT": "an HTTP request (HTTP/2)",
    b"CONNECT": STOMP_CLIENT,
    b"STOMP": STOMP_CLIENT,
    b"PROXY ": PROXY_HEADER,
    b"\r\n\r\n\0\r\nQ": PROXY_HEADER,
    b"SSH-": "an SSH client",
    b"\x16\x03": TLS_HANDSHAKE,
    b"AMQP\0\1": AMQP_1_0,
    b"AMQP\2\1": AMQP_1_0,
    b"AMQP\3\1": AMQP_1_0,
    b"AMQP": "another version of AMQP",
}
"""First octets of foreign protocols that are sent to the wrong port, and their names in the log.

A protocol whose octets begin like those of another comes before it. Those of AMQP 1.0 begin with
the protocol ids of AMQP itself, TLS and SASL (AMQP 1.0, sections 2.2, 5.2 and 5.3); PROXY has a
text and a binary form (HAProxy: The PROXY protocol).
"""

MQTT_CONNECT: Final = 0x10
"""The first octet of an MQTT connection. One to four octets of a length follow, and then the name
of the protocol with its length (MQTT 3.1.1, section 3.1)."""

MQTT_NAMES: Final = (b"\0\4MQ", b"\0\6MQ")
"""The beginnings of `MQTT`, and of `MQIsdp`, which is MQTT 3.1."""


def foreign_protocol(header: bytes) -> str:
    """The name of the foreign protocol that begins with these octets; empty if none is known."""
    for accepted in ACCEPTED_HEADERS:
        if accepted.startswith(header):
            return ""
    for prefix, name in FOREIGN_HEADERS.items():
        if header.startswith(prefix):
            return name
    if header[0] == MQTT_CONNECT and any(name in header for name in MQTT_NAMES):
        return MQTT_CLIENT
    return ""
