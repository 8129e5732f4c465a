"""The standbys of a database, as its primary lists them, for operators.

Whether enough of them have what was committed is measured elsewhere (`checks.py`): the primary
lists one that was lost for a while, but then its last reply is old.
"""

from typing import Final

from leveret_storage.media.postgres.database import Database
from leveret_storage.media.postgres.link import Link, number, text
from leveret_storage.media.postgres.schema import Schema

_STANDBYS: Final = (
    "select application_name, coalesce(host(client_addr), ''), coalesce(state, ''),"
    " coalesce(sync_state, ''),"
    " coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), flush_lsn)::bigint, -1),"
    " coalesce((extract(epoch from clock_timestamp() - reply_time) * 1000)::bigint, -1)"
    " from pg_stat_replication order by application_name, 2"
)


def find_standbys(database: Database) -> list[tuple[str, str, str, str, int, int]]:
    """Name, address, state, synchronous state, bytes that are not flushed there, and milliseconds
    since the last reply of each; -1 for a number that is not known. Waits while the database is
    away.

    :raises StorageError: if it was closed.
    """

    def look(link: Link, _: Schema) -> list[tuple[str, str, str, str, int, int]]:
        return [
            (
                text(name),
                text(address),
                text(state),
                text(sync_state),
                number(behind),
                number(silent_ms),
            )
            for name, address, state, sync_state, behind, silent_ms in link.execute(_STANDBYS)
        ]

    return database.call(look, lambda: None)
