"""The peer of a connection: where it is, what it says of itself, and how it logged in."""

from typing import Final, NamedTuple

import msgspec
from pamqp.common import FieldTable

from leveret.engine.values.json_values import to_json

CLIENT_PROPERTIES_BYTES_MAX: Final = 4096
"""Bytes of the client properties in JSON from which on they are not kept."""


class TlsPeer(NamedTuple):
    """A client as TLS knows it."""

    version: str
    cipher: str
    user: str
    """The user that its certificate names, which was checked; empty without."""


class Vouched(NamedTuple):
    """A client whose connection another broker of the cluster passes on, as that broker says."""

    user: str
    """Whom it has logged in."""
    node: str
    """The name of the broker."""
    instance: bytes
    """Which process that is."""
    tls: TlsPeer | None
    """The client as TLS knows it; None without TLS."""


class Peer:
    """One peer, from its first octet to its last."""

    def __init__(
        self,
        address: str = "",
        local: str = "",
        *,
        from_loopback: bool = False,
        tls: TlsPeer | None = None,
        vouched: Vouched | None = None,
    ) -> None:
        self.address = address
        self.local = local
        """The address that it connected to."""
        self.from_loopback = from_loopback
        self.tls = tls
        self.vouched = vouched
        """None for a client that has connected to this broker itself."""
        self.mechanism = ""
        """The login mechanism."""
        self.name = ""
        """What it calls itself, if it does (RabbitMQ: Connections, `connection_name`)."""
        self.client_id = ""
        """`client_id` of the client properties, for topic permissions."""
        self.properties = b""
        """The client properties in JSON, which takes less memory than a table; empty if they are
        long."""
        self.capabilities: set[str] = set()
        """Keys of `capabilities` that it set to true."""
        self.follows_specification = False
        """Whether it expects basic.qos as specified, rather than as on RabbitMQ."""

    def introduce(self, mechanism: str, properties: FieldTable, product: str) -> None:
        """Take what connection.start-ok says.

        :param product: what the broker calls itself. py-amqp, the client of kombu, takes a broker
            to have basic.qos as specified unless that is RabbitMQ (`qos_semantics_matches_spec`).
        """
        self.mechanism = mechanism
        self.name = _text(properties, "connection_name")
        self.client_id = _text(properties, "client_id")
        packed = msgspec.json.encode(to_json(properties))
        self.properties = packed if len(packed) <= CLIENT_PROPERTIES_BYTES_MAX else b"{}"
        capabilities = properties.get("capabilities")
        if isinstance(capabilities, dict):
            self.capabilities = {name for name, value in capabilities.items() if value is True}
        self.follows_specification = (
            properties.get("product") == "py-amqp" and product != "RabbitMQ"
        )


def _text(properties: FieldTable, name: str) -> str:
    """A text among the client properties, or an empty one."""
    value = properties.get(name)
    return value if isinstance(value, str) else ""
