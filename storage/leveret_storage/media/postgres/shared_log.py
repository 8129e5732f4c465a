"""The shared log in a database (`shared_log.py` of the storage).

An append is one call of a function in the database, which locks the only row of `shared_log` and
compares its version. A process numbers its appends, and the function notes the last number of each:
so an append whose outcome is unknown is made again, and happens once. Deletions are remembered up
to a number; a reader that is behind the oldest one reads everything.

Who appends notifies the others, in a transaction of its own: one that has a notification holds up
all other commits of the database. They listen on a connection that is for nothing else, and look
every second, since notifications get lost with their connection.
"""

import uuid
from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import Final

from leveret_storage.errors import DataLost, MediumFailed, StorageError
from leveret_storage.media.postgres.database import Database
from leveret_storage.media.postgres.link import (
    DatabaseError,
    Interrupt,
    Link,
    LinkBroken,
    number,
)
from leveret_storage.media.postgres.ownership import make_durable
from leveret_storage.media.postgres.schema import Schema
from leveret_storage.shared_log import Reading, SharedLog, SharedRecord

POLL_S: Final = 1.0
"""Seconds after which somebody who listens looks without a notification."""

ANSWER_S: Final = 3.0
"""Seconds that the database may take to answer a look."""

AGAIN_S: Final = 0.2
"""Seconds until a new connection to listen on is tried, after one that failed."""

_LOCK_NOT_AVAILABLE: Final = "55P03"


class PostgresSharedLog(SharedLog):
    """The shared log of a cluster, for one broker."""

    def __init__(self, database: Database) -> None:
        """Nothing is asked yet.

        :param database: with a schema.
        """
        self._database = database
        self._writer = str(uuid.uuid4())
        self._appends = 0
        self._seen = 0
        """The version that was read or appended last."""
        self._closed = Event()
        self._interrupt = Interrupt()
        self._watchers: list[Callable[[], None]] = []
        self._listener: Thread | None = None

    @property
    def reason(self) -> str:
        return self._database.reason

    def _ended(self) -> StorageError | None:
        return MediumFailed("the shared log was closed") if self._closed.is_set() else None

    # --- reading ------------------------------------------------------------------------------

    def read(self, after_version: int) -> Reading:
        def job(link: Link, schema: Schema) -> Reading:
            return _read(link, schema, after_version)

        reading = self._database.call(job, self._ended)
        self._check(reading.version)
        return reading

    def _check(self, version: int) -> None:
        """Check that the log does not go back, and note how far it is."""
        if version < self._seen:
            raise DataLost(
                f"{self._database.location}: the shared log has version {version}, which is older"
                f" than version {self._seen}, which was there"
            )
        self._seen = version

    # --- appending ----------------------------------------------------------------------------

    def append(self, expected_version: int, records: Sequence[SharedRecord]) -> int | None:
        if expected_version < self._seen:
            return None
        # The records of an append are seen together, so of each key the last one counts.
        last = {record.key: record for record in records}
        self._appends += 1
        parameters = (
            expected_version,
            self._writer,
            self._appends,
            self._database.durability,
            _array([record.key for record in last.values()]),
            _array([record.data for record in last.values()]),
        )

        def job(link: Link, schema: Schema) -> tuple[int, bool]:
            return _append(link, schema, parameters)

        version, is_appended = self._database.call(job, self._ended)
        self._check(version)
        return version if is_appended else None

    # --- watching -----------------------------------------------------------------------------

    def watch(self, changed: Callable[[], None]) -> None:
        self._watchers.append(changed)
        if self._listener is None:
            self._listener = Thread(
                target=self._listen, name="leveret-postgres-listener", daemon=True
            )
            self._listener.start()

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                link, schema = self._database.connect(self._interrupt, self._ended)
            except StorageError:
                return  # everything is closed
            except LinkBroken:
                # The database is away, which it says itself.
                self._closed.wait(AGAIN_S)
                continue
            try:
                self._listen_on(link, schema)
            except (LinkBroken, DatabaseError):
                # What was missed meanwhile is found by the first look on the next connection.
                self._closed.wait(AGAIN_S)
            finally:
                link.close()

    def _listen_on(self, link: Link, schema: Schema) -> None:
        link.timeout_s = ANSWER_S
        link.execute(f'listen "{_channel(schema)}"')
        seen = -1
        while True:
            version = _version(link, schema)
            if version != seen:
                seen = version
                for changed in self._watchers:
                    changed()
            link.await_notification(POLL_S)

    def close(self) -> None:
        self._closed.set()
        self._interrupt.set()
        if self._listener is not None:
            self._listener.join()


def _channel(schema: Schema) -> str:
    """The name that notifications have; a name in PostgreSQL has at most 63 bytes."""
    return f"{schema.plain_name}_shared_log"[:63]


def _version(link: Link, schema: Schema) -> int:
    return number(link.execute(f"select version from {schema.name}.shared_log")[0][0])


def _read(link: Link, schema: Schema, after: int) -> Reading:
    if after and _version(link, schema) == after:
        return Reading(after, (), False)
    # One statement, so that version and records are of one instant.
    rows = link.execute(
        "select log.version, log.oldest, record.key, record.data"
        f" from {schema.name}.shared_log log left join {schema.name}.shared_record record"
        " on case when $1::bigint < log.oldest then record.data is not null"
        " else record.version > $1::bigint end order by record.version",
        (after,),
        binary=True,
    )
    version, oldest = (int.from_bytes(value or b"", "big") for value in rows[0][:2])
    records = tuple(
        SharedRecord(key, data) for _version, _oldest, key, data in rows if key is not None
    )
    return Reading(version, records, after == 0 or after < oldest)


def _append(link: Link, schema: Schema, parameters: Sequence[int | str | None]) -> tuple[int, bool]:
    """The version of the log, and whether it is that of this append."""
    try:
        rows = link.execute(
            f"select version, is_appended from {schema.name}.append_shared("
            "$1::bigint, $2::uuid, $3::bigint, $4::text, $5::bytea[], $6::bytea[])",
            parameters,
        )
    except DatabaseError as error:
        if error.state == _LOCK_NOT_AVAILABLE:
            _terminate_stopped(link, schema)
        raise
    make_durable(link, schema, str(parameters[3]))
    version, is_appended = number(rows[0][0]), rows[0][1] == b"t"
    if is_appended:
        link.execute(
            "select set_config('synchronous_commit', 'off', true), pg_notify($1, '')",
            (_channel(schema),),
        )
    return version, is_appended


def _terminate_stopped(link: Link, schema: Schema) -> None:
    """End sessions that hold the lock of the log and whose client sends nothing: it was stopped in
    the middle of an append."""
    link.execute(
        "select pg_terminate_backend(activity.pid) from pg_stat_activity activity"
        " join pg_locks lock on lock.pid = activity.pid"
        f" where lock.relation = '{schema.name}.shared_log'::regclass and lock.granted"
        " and lock.mode in ('RowShareLock', 'RowExclusiveLock')"
        " and activity.wait_event = 'ClientRead' and activity.pid <> pg_backend_pid()"
    )


def _array(values: Sequence[bytes | None]) -> str:
    """Byte strings as an array in text."""
    items = ("NULL" if value is None else f'"\\\\x{value.hex()}"' for value in values)
    return "{" + ",".join(items) + "}"
