"""Whether a store has ever had two owners at once, from everything that a database has of it.

Every row of a store has the epoch of the owner that appended it, and with `track_commit_timestamp`
the database knows when it was committed.
"""

from typing import Final, NamedTuple

from psycopg.errors import UndefinedTable

from tests.support.postgres import PostgresCluster

SETTINGS: Final = {"track_commit_timestamp": "on"}


class Rows(NamedTuple):
    """The rows that a table has of one epoch."""

    store: int
    epoch: int
    table: int
    rows: int
    first_at: float
    last_at: float
    """When the first and the last of them were committed."""
    out_of_order: int
    """Of them, behind one of a later epoch."""


def _tables(database: PostgresCluster, schema: str) -> list[tuple[int, int]]:
    rows = database.owner(
        f"select store, table_number from {schema}.blob where name is not null order by 1, 2"
    )
    return [(int(str(store)), int(str(table))) for store, table in rows]


def _rows_of(database: PostgresCluster, statement: str) -> list[tuple[object, ...]]:
    """What a statement finds; nothing if the table was dropped meanwhile."""
    try:
        return database.owner(statement)
    except UndefinedTable:
        return []


def epochs(database: PostgresCluster, schema: str = "leveret") -> list[Rows]:
    """The rows of all tables, by their epochs."""
    found: list[Rows] = []
    for store, table in _tables(database, schema):
        rows = _rows_of(
            database,
            "select epoch, count(*), min(at), max(at), count(*) filter (where epoch < highest)"
            " from (select epoch, extract(epoch from pg_xact_commit_timestamp(xmin))::float8 as at,"
            f" max(epoch) over (order by start) as highest from {schema}.b{table}) as rows"
            " group by epoch order by epoch",
        )
        for epoch, count, first_at, last_at, out_of_order in rows:
            found.append(
                Rows(
                    store,
                    int(str(epoch)),
                    table,
                    int(str(count)),
                    float(str(first_at)),
                    float(str(last_at)),
                    int(str(out_of_order)),
                )
            )
    return found


def double_owners(database: PostgresCluster, schema: str = "leveret") -> list[str]:
    """What shows that a store had two owners at once."""
    rows = epochs(database, schema)
    wrong = [
        f"store {each.store}, table {each.table}: {each.out_of_order} rows of epoch {each.epoch}"
        " lie behind one of a later epoch"
        for each in rows
        if each.out_of_order
    ]
    wrong += [
        f"store {earlier.store}: a row of epoch {earlier.epoch} was committed"
        f" {earlier.last_at - later.first_at:.6f} s after one of epoch {later.epoch}"
        for earlier in rows
        for later in rows
        if earlier.store == later.store
        and earlier.epoch < later.epoch
        and earlier.last_at > later.first_at
    ]
    return wrong
