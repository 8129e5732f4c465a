"""Definitions and messages of a data directory as plain objects for JSON.

Values for which JSON has no type are text (decimals, timestamps) or {"base64": TEXT} (bytes).
"""

import base64
import datetime
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

import msgspec

from leveret.engine.lifecycle.exchanges import is_predeclared, predeclare
from leveret.engine.metadata.entities import KIND
from leveret.engine.metadata.metadata import Metadata
from leveret.engine.restore import Restored, SinksByNumber, restore
from leveret.engine.routing.exchanges.base import Binding, Exchange
from leveret.engine.routing.sink import Sink
from leveret.engine.values.message import exchange_and_key
from leveret.engine.values.text import octets_of_text, text_of
from leveret.engine.vhost import VirtualHost
from leveret.errors import AmqpError
from leveret.protocol.wire.methods import PROPERTIES, properties
from leveret_storage.format.entries import StoredDefinition, StoredMessage

Plain = dict[str, Any]


class Definitions(Restored):
    """What the definitions of a data directory make."""

    def __init__(self) -> None:
        super().__init__(Metadata())
        self.vhosts: dict[str, VirtualHost] = {}

    def vhost_named(self, name: str) -> VirtualHost:
        if name not in self.vhosts:
            self.vhosts[name] = VirtualHost(name)
            predeclare(self.vhosts[name])
        return self.vhosts[name]

    def vhost_deleted(self, name: str) -> VirtualHost | None:
        return self.vhosts.pop(name, None)


def restored(found: list[StoredDefinition]) -> tuple[Definitions, dict[int, Sink]]:
    """What definitions make, and what takes messages there, by its number.

    :raises StorageError: UnknownFormat or Damaged, naming blob and offset.
    """
    definitions = Definitions()
    made: SinksByNumber = {}
    for _ in restore(definitions, found, made):
        pass
    return definitions, {number: sink for number, sink in made.items() if not sink.deleted}


SECRETS: Final = ("password_hash", "session_key")
"""Fields that are not shown."""


def plain_definitions(definitions: Definitions) -> Iterator[Plain]:
    """Every entity of the metadata, then every exchange, queue and binding of all virtual hosts."""
    for record in definitions.metadata.records():
        fields = {KIND: record.__struct_config__.tag, **msgspec.structs.asdict(record)}
        yield {name: plain(value) for name, value in fields.items() if name not in SECRETS}
    vhosts = definitions.vhosts
    for vhost in vhosts.values():
        for exchange in vhost.exchanges.values():
            if not is_predeclared(exchange.name):
                yield {
                    "kind": "exchange",
                    "vhost": vhost.name,
                    "name": plain(exchange.name),
                    "type": exchange.type,
                    "auto_delete": exchange.auto_delete,
                    "internal": exchange.internal,
                    "arguments": plain(exchange.arguments),
                }
    for vhost in vhosts.values():
        for queue in vhost.queues.values():
            yield {
                "kind": "queue",
                "vhost": vhost.name,
                "name": plain(queue.name),
                "auto_delete": queue.auto_delete,
                "arguments": plain(queue.arguments),
            }
    for vhost in vhosts.values():
        for exchange in vhost.exchanges.values():
            for binding in exchange.bindings():
                yield _plain_binding(vhost.name, binding)


def _plain_binding(vhost: str, binding: Binding) -> Plain:
    to_exchange = isinstance(binding.destination, Exchange)
    return {
        "kind": "binding",
        "vhost": vhost,
        "source": plain(binding.source.name),
        "destination_type": "exchange" if to_exchange else "queue",
        "destination": plain(binding.destination.name),
        "routing_key": plain(binding.routing_key),
        "arguments": plain(binding.arguments),
    }


def plain_message(vhost: str, queue: str, position: int, message: StoredMessage) -> Plain:
    """A message in its queue; its body as text where it is UTF-8, else in base64."""
    exchange, routing_key = exchange_and_key(message.route)
    found: Plain = {
        "kind": "message",
        "vhost": vhost,
        "queue": plain(queue),
        "position": position,
        "exchange": plain(text_of(exchange)),
        "routing_key": plain(text_of(routing_key)),
        "properties": _plain_properties(message.header),
        "persistent": message.persistent,
        "size": len(message.body),
    }
    for name, milliseconds in (("arrived", message.arrived), ("expires_at", message.expires_at)):
        if milliseconds:
            found[name] = _time(milliseconds)
    try:
        found["body"] = message.body.decode()
    except UnicodeDecodeError:
        found["body_base64"] = base64.b64encode(message.body).decode()
    return found


def _plain_properties(header: bytes) -> Plain:
    try:
        found = properties(header)
    except AmqpError:
        return {"undecoded": plain(header)}
    values = {name: getattr(found, name) for name, _, _ in PROPERTIES}
    # pamqp says "" of a cluster id that is not there.
    return {
        name: plain(value)
        for name, value in values.items()
        if value is not None and (name != "cluster_id" or value)
    }


def _time(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    try:
        return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%FT%T}.{rest:03}+00:00"
    except (OverflowError, ValueError):
        return f"{milliseconds} ms since 1970"


def plain(value: Any) -> Any:
    """A field value as JSON can write it."""
    if isinstance(value, dict):
        return {str(plain(name)): plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, bytes | bytearray):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, str):
        # Surrogates carry what is not UTF-8; a reader of JSON would choke on them.
        return octets_of_text(value).decode("utf-8", "backslashreplace")
    return value
