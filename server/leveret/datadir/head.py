"""The data in the head of a broker's medium: a msgpack map that names the node whose data it is.

The rules for its fields are those for the fields of definitions (FORMAT.md): one that this program
does not know ends the start, as writing the head again would drop it.
"""

from typing import Final

import msgspec

from leveret_storage.errors import Damaged, UnknownFormat, not_known
from leveret_storage.format.file_header import HEAD_DATA_OFFSET
from leveret_storage.medium import Medium

NODE_NAME: Final = "node"


def encode_head_data(node_name: str) -> bytes:
    """The data of a head."""
    return msgspec.msgpack.encode({NODE_NAME: node_name})


def read_node_name(medium: Medium) -> str | None:
    """The name of the node whose data a medium has; None if it has none.

    :raises UnknownFormat: if a newer program wrote the head.
    :raises Damaged: if it is damaged, or names no node.
    :raises StorageError: if it cannot be read.
    """
    _, data = medium.read_head()
    if not data:
        return None
    try:
        fields = msgspec.msgpack.decode(data, type=dict[str, object])
    except msgspec.MsgspecError:
        raise Damaged("head: it names no node") from None
    for name in fields:
        if name != NODE_NAME:
            raise UnknownFormat(not_known(f"a field {name!r}")).at("head", HEAD_DATA_OFFSET)
    node_name = fields.get(NODE_NAME)
    if not isinstance(node_name, str):
        raise Damaged("head: it names no node")
    return node_name


def check_head(medium: Medium) -> str:
    """What is damaged in the head, or nothing.

    :raises UnknownFormat: if a newer program wrote it.
    :raises StorageError: if it cannot be read.
    """
    try:
        read_node_name(medium)
    except Damaged as error:
        return str(error)
    return ""
