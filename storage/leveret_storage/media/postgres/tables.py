"""Blobs as tables: named, read, and dropped.

The rows of a blob follow each other: each begins where the one before it ends. Behind a gap nothing
counts: what was there was never confirmed, for an operation is answered when all before it are.
"""

from dataclasses import dataclass
from typing import Final

from leveret_storage.errors import NoSuchBlob
from leveret_storage.media.postgres.link import DatabaseError, Link, number, text
from leveret_storage.media.postgres.operations import ROW_BYTES_MAX
from leveret_storage.media.postgres.ownership import Fence, owner_transaction
from leveret_storage.media.postgres.schema import Schema

DROP_WAIT_MS: Final = 300
"""Milliseconds that a table is waited for which somebody reads (pg_dump, say) before it is left to
be dropped later."""

_UNDEFINED_TABLE: Final = "42P01"
_LOCK_NOT_AVAILABLE: Final = "55P03"


@dataclass
class Blob:
    """A blob of the owner."""

    table: int
    end: int | None = None
    """Where the next append begins; None if nobody has looked."""


@dataclass
class Catalogue:
    """The tables of a store."""

    blobs: dict[str, Blob]
    spare: list[int]
    """Tables made ahead."""
    to_drop: list[int]
    """Tables of deleted blobs, which could not be dropped."""


def load_catalogue(link: Link, schema: Schema, store: int) -> Catalogue:
    """All tables of a store."""
    rows = link.execute(
        f"select table_number, name, dropped from {schema.name}.blob where store = $1::int"
        " order by table_number",
        (store,),
    )
    catalogue = Catalogue({}, [], [])
    for table, name, dropped in rows:
        if dropped == b"t":
            catalogue.to_drop.append(number(table))
        elif name is None:
            catalogue.spare.append(number(table))
        else:
            catalogue.blobs[name.decode()] = Blob(number(table))
    return catalogue


def find_table(link: Link, schema: Schema, store: int, name: str) -> int:
    """The table of a blob. :raises NoSuchBlob: if there is none."""
    rows = link.execute(
        f"select table_number from {schema.name}.blob where store = $1::int and name = $2::text",
        (store, name),
    )
    if not rows:
        raise NoSuchBlob(f"{name} does not exist")
    return number(rows[0][0])


def list_names(link: Link, schema: Schema, store: int) -> frozenset[str]:
    """The names of all blobs of a store."""
    rows = link.execute(
        f"select name from {schema.name}.blob where store = $1::int and name is not null", (store,)
    )
    return frozenset(text(name) for (name,) in rows)


def measure(link: Link, schema: Schema, table: int) -> int:
    """The bytes in front of the first gap. :raises NoSuchBlob: if the table was dropped."""
    name = schema.table(table)
    try:
        rows = link.execute(
            "with each as (select start, start + octet_length(data) as finish,"
            f" lead(start) over (order by start) as next from {name})"
            " select case when (select min(start) from each) = 0 then (select finish from each"
            " where next is distinct from finish order by start limit 1) else 0 end"
        )
    except DatabaseError as error:
        raise _of_table(error) from error
    return number(rows[0][0])


def read(link: Link, schema: Schema, table: int, offset: int, size: int) -> bytes:
    """Bytes of a blob in front of the first gap. :raises NoSuchBlob: if the table was dropped."""
    name = schema.table(table)
    try:
        rows = link.execute(
            "select greatest(start, $1::bigint),"
            " substring(data from (greatest($1::bigint - start, 0) + 1)::int"
            f" for least($2::bigint - greatest(start, $1::bigint), {ROW_BYTES_MAX})::int)"
            f" from {name} where start < $2::bigint and start >= coalesce((select max(start)"
            f" from {name} where start <= $1::bigint), 0) order by start",
            (offset, offset + size),
            binary=True,
        )
    except DatabaseError as error:
        raise _of_table(error) from error
    parts: list[bytes] = []
    for start, data in rows:
        assert start is not None
        assert data is not None
        if int.from_bytes(start, "big") != offset:
            break
        parts.append(data)
        offset += len(data)
    return b"".join(parts)


def cut(link: Link, fence: Fence, table: int, end: int) -> None:
    """Remove what lies behind a gap, so that an append can begin at `end`."""
    name = fence.schema.table(table)
    if link.execute(f"select 1 from {name} where start >= $1::bigint limit 1", (end,)):
        with owner_transaction(link, fence):
            link.execute(f"delete from {name} where start >= $1::bigint", (end,))


def make_table(link: Link, fence: Fence) -> int:
    """Make a table for a blob that is to come, durably."""
    schema = fence.schema
    with owner_transaction(link, fence):
        rows = link.execute(f"select nextval('{schema.name}.table_number')")
        table = number(rows[0][0])
        for statement in schema.create_table(table):
            link.execute(statement)
        link.execute(
            f"insert into {schema.name}.blob values ($1::bigint, $2::int, null, false)",
            (table, fence.store),
        )
    return table


def drop(link: Link, fence: Fence, table: int) -> bool:
    """Delete a blob durably, and drop its table. Returns whether that could be: otherwise the blob
    is gone, and its table is there."""
    schema = fence.schema
    try:
        with owner_transaction(link, fence):
            link.execute(f"set local lock_timeout = {DROP_WAIT_MS}")
            link.execute(f"drop table if exists {schema.table(table)}")
            link.execute(
                f"delete from {schema.name}.blob where table_number = $1::bigint", (table,)
            )
    except DatabaseError as error:
        if error.state != _LOCK_NOT_AVAILABLE:
            raise
    else:
        return True
    with owner_transaction(link, fence):
        link.execute(
            f"update {schema.name}.blob set name = null, dropped = true"
            " where table_number = $1::bigint",
            (table,),
        )
    return False


def _of_table(error: DatabaseError) -> Exception:
    """NoSuchBlob, if the table was dropped since its number was read."""
    return NoSuchBlob("it was deleted") if error.state == _UNDEFINED_TABLE else error
