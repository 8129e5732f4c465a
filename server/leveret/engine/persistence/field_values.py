"""Field values in msgpack, and back, without losing a type.

msgpack has no decimals, no bytes that differ from other bytes, and no text that is not UTF-8; those
go as extensions.
"""

from decimal import Decimal
from typing import Any, Final

from msgspec.msgpack import Ext

_DECIMAL: Final = 1
_BINARY: Final = 2
_TEXT: Final = 3


def to_plain(value: Any) -> Any:
    """A field value as msgpack can write it."""
    if isinstance(value, dict):
        return {name: to_plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [to_plain(item) for item in value]
    if isinstance(value, Decimal):
        return Ext(_DECIMAL, str(value).encode())
    if isinstance(value, bytearray):
        return Ext(_BINARY, bytes(value))
    if isinstance(value, str) and not _is_utf8(value):
        return Ext(_TEXT, value.encode("utf-8", "surrogateescape"))
    return value


def from_plain(value: Any) -> Any:
    """The field value that `to_plain` was given."""
    if isinstance(value, dict):
        return {name: from_plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    if isinstance(value, Ext):
        if value.code == _DECIMAL:
            return Decimal(bytes(value.data).decode())
        if value.code == _BINARY:
            return bytearray(value.data)
        return bytes(value.data).decode("utf-8", "surrogateescape")
    return value


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
