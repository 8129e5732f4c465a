"""The content header of a message whose properties come from JSON."""

import struct
from typing import Annotated, Any

import msgspec
from pamqp.commands import Basic

from leveret.engine.administration.values import check_short, check_value
from leveret.management.http import BadRequest, table
from leveret.protocol.wire.methods import encode_header


class PropertiesBody(msgspec.Struct):
    """The properties of a message."""

    content_type: str = ""
    content_encoding: str = ""
    headers: dict[str, Any] | list[Any] = {}
    delivery_mode: Annotated[int, msgspec.Meta(ge=0, le=255)] = 1
    priority: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0
    correlation_id: str = ""
    reply_to: str = ""
    expiration: str = ""
    message_id: str = ""
    timestamp: Annotated[int, msgspec.Meta(ge=0)] = 0
    type: str = ""
    user_id: str = ""
    app_id: str = ""
    cluster_id: str = ""


def content_header(given: dict[str, Any], body_bytes: int) -> bytes:
    """The encoded header of a message with these properties.

    :raises BadRequest: if they are none.
    :raises Refused: if AMQP cannot have them.
    """
    check_value("properties", given)
    for name, value in given.items():
        if isinstance(value, str):
            check_short(name, value)
    properties = dict(given)
    try:
        msgspec.convert(properties, PropertiesBody)
        if "headers" in properties:
            properties["headers"] = table(properties["headers"], "headers")
        return encode_header(Basic.Properties(**properties), body_bytes)
    except (TypeError, ValueError, struct.error) as error:
        raise BadRequest(f"properties: {error}") from None
