"""Values of field tables as values for JSON."""

import base64
from datetime import datetime
from decimal import Decimal
from typing import Any


def to_json(value: Any) -> Any:
    """A value as JSON has it: bytes that are no UTF-8 in base64, a decimal as text, a time in
    seconds since 1970."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return {_text(str(name)): to_json(each) for name, each in value.items()}
    if isinstance(value, list):
        return [to_json(each) for each in value]
    if isinstance(value, bytes | bytearray):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return int(value.timestamp())
    return str(value) if isinstance(value, Decimal) else value


def _text(value: str) -> str:
    """Text without the surrogates that stand for bytes that are no UTF-8."""
    if value.isascii():
        return value
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
