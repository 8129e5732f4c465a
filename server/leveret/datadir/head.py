"""The data in the head of a broker's medium: a msgpack map that names the node whose data it is,
and says how much of the commit log was durable when it was written.

The rules for its fields are those for the fields of definitions (FORMAT.md): one that this program
does not know ends the start, as writing the head again would drop it.
"""

from typing import Final, NamedTuple

import msgspec

from leveret_storage.errors import Damaged, StorageError, UnknownFormat, not_known
from leveret_storage.format.file_header import HEAD_DATA_OFFSET
from leveret_storage.medium import Medium
from leveret_storage.recovery.log_end import NOT_NOTED, LogEnd

NODE_NAME: Final = "node"
LOG_SEGMENT: Final = "log_segment"
LOG_BYTES: Final = "log_bytes"
INCOMPLETE: Final = "incomplete"
_FIELDS: Final = (NODE_NAME, LOG_SEGMENT, LOG_BYTES, INCOMPLETE)


class IncompleteCopy(StorageError):
    """A copy to the medium was begun, and not finished."""


class HeadData(NamedTuple):
    """The data of a head."""

    node_name: str | None
    """The name of the node whose data a medium has; None if it has none."""
    log_end: LogEnd = NOT_NOTED


def encode_head_data(node_name: str, log_end: LogEnd = NOT_NOTED) -> bytes:
    """The data of a head."""
    fields: dict[str, object] = {NODE_NAME: node_name}
    if log_end.number:
        fields |= {LOG_SEGMENT: log_end.number, LOG_BYTES: log_end.size}
    return msgspec.msgpack.encode(fields)


def encode_incomplete() -> bytes:
    """The data of the head of a medium that is being copied to."""
    return msgspec.msgpack.encode({INCOMPLETE: True})


def read_head_data(medium: Medium) -> HeadData:
    """The data of the head of a medium.

    :raises IncompleteCopy: if a copy to it was not finished.
    :raises UnknownFormat: if a newer program wrote the head.
    :raises Damaged: if it is damaged, or names no node.
    :raises StorageError: if it cannot be read.
    """
    return decode_head_data(medium.read_head()[1])


def decode_head_data(data: bytes) -> HeadData:
    """What the data of a head say. Raises as `read_head_data`."""
    if not data:
        return HeadData(None)
    try:
        fields = msgspec.msgpack.decode(data, type=dict[str, object])
    except msgspec.MsgspecError:
        raise Damaged("head: it names no node") from None
    for name in fields:
        if name not in _FIELDS:
            raise UnknownFormat(not_known(f"a field {name!r}")).at("head", HEAD_DATA_OFFSET)
    if INCOMPLETE in fields:
        raise IncompleteCopy(
            "a copy to it was begun and not finished: remove what is there, and copy again"
        )
    node_name = fields.get(NODE_NAME)
    if not isinstance(node_name, str):
        raise Damaged("head: it names no node")
    number, size = fields.get(LOG_SEGMENT, 0), fields.get(LOG_BYTES, 0)
    if not isinstance(number, int) or not isinstance(size, int) or number < 0 or size < 0:
        raise Damaged("head: impossible fields")
    return HeadData(node_name, LogEnd(number, size))


def take(medium: Medium, epoch: int, node_name: str, log_end: LogEnd) -> int:
    """Become the owner of a medium whose head has an epoch, and return the next one.

    :raises StorageError: as `Medium.write_head`.
    """
    medium.write_head(epoch, epoch + 1, encode_head_data(node_name, log_end))
    return epoch + 1


def note_log_end(medium: Medium, node_name: str, log_end: LogEnd) -> None:
    """Note how much of the log is durable, so that a start finds out if it is missing.

    :raises StorageError: as `Medium.write_head`.
    """
    epoch, _ = medium.read_head()
    medium.write_head(epoch, epoch, encode_head_data(node_name, log_end))


def check_head(medium: Medium) -> str:
    """What is damaged in the head, or nothing.

    :raises UnknownFormat: if a newer program wrote it.
    :raises StorageError: if it cannot be read.
    """
    try:
        read_head_data(medium)
    except Damaged as error:
        return str(error)
    return ""
