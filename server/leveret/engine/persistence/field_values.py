"""Field values in msgpack, and back, without losing a type.

msgpack has no decimals, no byte arrays beside byte strings, and no text that is not UTF-8; those
are written as extensions. Timestamps are msgpack's own extension, of type -1.
"""

from decimal import Decimal, InvalidOperation
from typing import Any, Final

from msgspec import ValidationError
from msgspec.msgpack import Ext

from leveret.engine.values.text import octets_of_text, text_of
from leveret_storage.errors import UnknownFormat, not_known

_DECIMAL: Final = 1
_BYTE_ARRAY: Final = 2
_TEXT: Final = 3


def to_plain(value: Any) -> Any:
    """A field value as msgpack can write it."""
    if isinstance(value, dict):
        return {name: to_plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, Decimal):
        return Ext(_DECIMAL, str(value).encode())
    if isinstance(value, bytearray):
        return Ext(_BYTE_ARRAY, bytes(value))
    if isinstance(value, str) and not _is_utf8(value):
        return Ext(_TEXT, octets_of_text(value))
    return value


def from_extension(code: int, data: memoryview) -> Any:
    """The field value that was written as an extension.

    :raises UnknownFormat: for a code that this program does not know.
    :raises ValidationError: for a decimal that is none.
    """
    if code == _DECIMAL:
        try:
            value = Decimal(bytes(data).decode("ascii"))
        except (InvalidOperation, UnicodeDecodeError):
            value = Decimal("NaN")
        if not value.is_finite():
            raise ValidationError(f"no decimal: {bytes(data)!r}")
        return value
    if code == _BYTE_ARRAY:
        return bytearray(data)
    if code == _TEXT:
        return text_of(bytes(data))
    raise UnknownFormat(not_known(f"a definition with an extension of type {code}"))


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
