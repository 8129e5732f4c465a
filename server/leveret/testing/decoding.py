"""From the octets of a message in the engine to the values that a test sees."""

from datetime import UTC, datetime
from typing import Any

from leveret.engine.administration.reader import Found
from leveret.engine.values.message import exchange_and_key
from leveret.engine.values.text import text_of
from leveret.protocol.wire.methods import properties
from leveret.testing.values import Message, Properties


def decoded_message(found: Found) -> Message:
    """A message of a queue."""
    exchange, routing_key = exchange_and_key(found.message.route)
    return Message(
        body=bytes(found.message.body),
        exchange=text_of(exchange),
        routing_key=text_of(routing_key),
        properties=decoded_properties(found.message.header),
        redelivered=found.redelivered,
        position=found.position,
    )


def decoded_properties(header: bytes) -> Properties:
    """The properties in the payload of a content header frame."""
    decoded = properties(header)
    return Properties(
        content_type=decoded.content_type,
        content_encoding=decoded.content_encoding,
        headers=dict(decoded.headers or {}),
        delivery_mode=decoded.delivery_mode,
        priority=decoded.priority,
        correlation_id=decoded.correlation_id,
        reply_to=decoded.reply_to,
        expiration=decoded.expiration,
        message_id=decoded.message_id,
        timestamp=_time(decoded.timestamp),
        type=decoded.message_type,
        user_id=decoded.user_id,
        app_id=decoded.app_id,
    )


def _time(decoded: Any) -> datetime | None:
    """A timestamp, which has no time zone in AMQP: it is seconds since 1970 in UTC."""
    if not isinstance(decoded, datetime):
        return None
    return decoded if decoded.tzinfo is not None else decoded.replace(tzinfo=UTC)
