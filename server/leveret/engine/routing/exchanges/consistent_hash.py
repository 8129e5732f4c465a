"""The consistent hash exchange: a message goes to one binding, equal routing keys to the same one.

The exchange hashes the routing key or, if its arguments say so, a header (`hash-header`) or a
property (`hash-property`) of the message. The key of a binding is a number, its weight: the share
of the messages that it gets (RabbitMQ: Consistent Hash Exchange Type). Making or removing a binding
moves its own share of keys and no other: `rendezvous.py` says how.

If a destination is bound with several weights, they add up, so that one can be replaced by another
without a gap; RabbitMQ uses the first only. A message without the header or property is routed as
if it were empty. Numbers are equal by value, however wide they were sent.
"""

import re
from typing import Final

from leveret.engine.routing.exchanges.base import (
    Binding,
    Destination,
    Exchange,
    ExchangeDeclaration,
)
from leveret.engine.routing.exchanges.hashing import hash_key, hash_octets
from leveret.engine.routing.exchanges.rendezvous import Rendezvous
from leveret.engine.values import encoded_table, properties
from leveret.engine.values.field_table import Table, describe, type_name
from leveret.engine.values.message import Message
from leveret.engine.values.text import octets_of_text
from leveret.errors import AmqpError, ReplyCode

HASH_HEADER: Final = "hash-header"
HASH_PROPERTY: Final = "hash-property"

PROPERTIES: Final = {
    "message_id": encoded_table.MESSAGE_ID,
    "correlation_id": encoded_table.CORRELATION_ID,
    "timestamp": encoded_table.TIMESTAMP,
}
"""What `hash-property` can name, with the flag of the property."""

_INTEGER: Final = re.compile(r"[+-]?[0-9]+")


class ConsistentHashExchange(Exchange):
    """The type `x-consistent-hash`.

    :raises AmqpError: PRECONDITION_FAILED for arguments it cannot have.
    """

    def __init__(self, declared: ExchangeDeclaration) -> None:
        super().__init__(declared)
        header = _text(declared.arguments, HASH_HEADER)
        property_name = _text(declared.arguments, HASH_PROPERTY)
        if header is not None and property_name is not None:
            raise _refused(f"{HASH_HEADER} and {HASH_PROPERTY} are mutually exclusive")
        if property_name is not None and property_name not in PROPERTIES:
            raise _refused(f"Unsupported property: {property_name}")
        self.needs_message = header is not None or property_name is not None
        self._header = None if header is None else octets_of_text(header)
        self._property = 0 if property_name is None else PROPERTIES[property_name]
        self._destinations = Rendezvous()

    def match(self, routing_key: str, message: Message | None, into: list[Destination]) -> None:
        if message is None or not self.needs_message:
            hashed = hash_key(routing_key)
        else:
            hashed = hash_octets(self._hashed(message.header))
        destination = self._destinations.find(hashed)
        if destination is not None:
            into.append(destination)

    def _hashed(self, header: bytes) -> bytes:
        if self._header is None:
            return properties.octets_of(header, self._property) or b""
        value = properties.header_value(header, self._header)
        return b"" if value is None else _octets(value)

    def validate(self, routing_key: str, arguments: Table) -> None:
        """Check that the key is a weight.

        :raises AmqpError: PRECONDITION_FAILED.
        """
        if not _INTEGER.fullmatch(routing_key):
            raise _refused(f"The binding key must be an integer: {describe(routing_key)}")
        weight = int(routing_key)
        if weight < 1:
            raise _refused("The binding key must be greater than 0")

    def _add(self, binding: Binding) -> None:
        self._destinations.add_weight(binding.destination, int(binding.routing_key))

    def _remove(self, binding: Binding) -> None:
        self._destinations.add_weight(binding.destination, -int(binding.routing_key))


def _text(arguments: Table, name: str) -> str | None:
    if name not in arguments:
        return None
    value = arguments[name]
    if not isinstance(value, str):
        raise _refused(f"invalid type '{type_name(value)}' for arg '{name}'")
    return value


def _refused(text: str) -> AmqpError:
    return AmqpError(ReplyCode.PRECONDITION_FAILED, text)


def _octets(value: bytes) -> bytes:
    """The octets to hash of a value as it is encoded in a table, its type letter first."""
    letter = value[:1]
    if letter in properties.INTEGERS:
        return str(properties.integer_of(value)).encode()
    return value[5:] if letter in (b"S", b"x") else value
