"""The medium on PostgreSQL: the calls of medium.py, for one store.

What a call waits for is in `Database` (each call on a link for itself) or in `Appender` (operations
in order, that are sent again until they are durable). While the database is away, calls wait: none
of them fails for that.

Of the bytes of a blob in front of a gap all are there; what is behind one was never confirmed, is
not read, and is removed before an owner appends. So no zeros are read where bytes were lost.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Lock
from typing import Final

from leveret_storage.errors import (
    BlobExists,
    LostEpoch,
    MediumFailed,
    MediumFull,
    NoSuchBlob,
    ReadFailed,
    StorageError,
)
from leveret_storage.media.postgres import ownership, tables
from leveret_storage.media.postgres.appender import Appender
from leveret_storage.media.postgres.checks import Report
from leveret_storage.media.postgres.database import Database, Job, Result
from leveret_storage.media.postgres.link import Link
from leveret_storage.media.postgres.location import Location
from leveret_storage.media.postgres.operations import (
    Answer,
    AppendRows,
    Barrier,
    NameTable,
    Operation,
)
from leveret_storage.media.postgres.owned_store import OwnedStore
from leveret_storage.media.postgres.ownership import Fence, Ownership, new_token
from leveret_storage.media.postgres.schema import Schema
from leveret_storage.media.postgres.tables import Blob, Catalogue
from leveret_storage.medium import (
    Data,
    Medium,
    check_head,
    check_name,
    check_range,
    joined,
)

COMMITS_IN_FLIGHT_MAX: Final = 16
"""Enough to keep the server busy while commits wait for a standby; fewer are larger."""

LARGE_BODY_BYTES: Final = 16 * 1024
"""Bytes of a body from which on a message may wait: three servers write each of them to their logs
and to their tables, which costs ten times what its delivery does."""

BYTES_IN_FLIGHT: Final = 8 * 1024 * 1024
"""Some 0.1 s of what a primary and its standbys write."""

SPARE_TABLES: Final = 2
"""Tables made ahead: making one takes about ten times as long as naming one."""

READ_ATTEMPTS: Final = 10
"""How often a read is tried that finds less than has been appended."""

FREE_BYTES: Final = 2**50
"""The space of a database is not known to its clients; only that it is full."""


class PostgresMedium(Medium):
    """A handle on one store of a database."""

    commits_in_flight_max = COMMITS_IN_FLIGHT_MAX
    bytes_in_flight = BYTES_IN_FLIGHT
    large_body_bytes = LARGE_BODY_BYTES
    may_be_away = True

    def __init__(
        self, database: Database, store: int, *, holder: str = "", owns_database: bool = False
    ) -> None:
        """
        :param holder: incarnation of the process whose lease of the store it is (coordination.py),
            without which it is not taken; empty outside of a cluster.
        :param owns_database: whether `close` closes the database as well.
        """
        self._database = database
        self._store = store
        self._holder = holder
        self._owns_database = owns_database
        self._where = f"{database.location}, store {store}"
        self._closed = False
        self._owned: OwnedStore | None = None
        self._given_up: StorageError | None = None
        self._catalogue = Catalogue({}, [], [])
        """Of the owner; a reader asks the database."""
        self._catalogue_lock = Lock()
        """For moments: nobody who holds it waits for the database."""
        self._create_lock = Lock()
        self._measured: dict[int, int] = {}
        """Bytes that a reader has found in tables."""

    # --- blobs ------------------------------------------------------------------------------

    def create(self, name: str) -> None:
        check_name(name)
        owned = self._owner()
        with self._create_lock:
            if name in self._catalogue.blobs:
                raise BlobExists(f"{self._where}: {name} exists already")
            table = self._take_spare() or self._make_table(owned)
            try:
                self._submit_and_wait(owned, partial(NameTable, table, name))
            except MediumFull:
                with self._catalogue_lock:
                    self._catalogue.spare.append(table)
                raise
            with self._catalogue_lock:
                self._catalogue.blobs[name] = Blob(table, 0)
        if len(self._catalogue.spare) < SPARE_TABLES:
            self._database.in_background(partial(self._make_spare, owned))

    def _take_spare(self) -> int | None:
        with self._catalogue_lock:
            spare = self._catalogue.spare
            return spare.pop(0) if spare else None

    def _make_table(self, owned: OwnedStore) -> int:
        return self._write(owned, lambda link, _: tables.make_table(link, owned.fence))

    def _make_spare(self, owned: OwnedStore) -> None:
        """Make tables ahead; in the background."""
        while owned is self._owned and len(self._catalogue.spare) < SPARE_TABLES:
            table = self._make_table(owned)
            with self._catalogue_lock:
                self._catalogue.spare.append(table)

    def append(self, name: str, data: Data) -> int:
        return self._append_and_wait(name, data, False)

    def append_synced(self, name: str, data: Data) -> int:
        return self._append_and_wait(name, data, True)

    def _append_and_wait(self, name: str, data: Data, synced: bool) -> int:
        check_name(name)
        owned = self._owner()
        blob = self._blob_to_append(owned, name)
        whole = joined(data)
        start = blob.end
        assert start is not None
        if not whole:
            if synced:
                self.sync(name)
            return start
        blob.end = start + len(whole)
        try:
            self._submit_and_wait(owned, partial(AppendRows, blob.table, start, whole, synced))
        except MediumFull:
            blob.end = start
            raise
        return start

    def append_synced_later(
        self, name: str, data: Data, answer: Callable[[StorageError | None], None]
    ) -> int:
        check_name(name)
        owned = self._owner()
        blob = self._blob_to_append(owned, name)
        whole = joined(data)
        start = blob.end
        assert start is not None
        operation: Operation
        if whole:
            operation = AppendRows(blob.table, start, whole, True, answer)
        else:
            operation = Barrier(True, answer)
        operation.repeats_when_full = True
        owned.appender.submit(operation)
        blob.end = start + len(whole)
        self._database.wake()
        return start

    def append_synced_at_once(
        self, name: str, data: Data, answer: Callable[[StorageError | None], None]
    ) -> bool:
        owned = self._owned
        if owned is None or self._closed or self._given_up is not None or self._database.read_only:
            return False
        with self._catalogue_lock:
            blob = self._catalogue.blobs.get(name)
        if blob is None or blob.end is None:
            return False
        whole = joined(data)
        if not whole:
            return False
        operation = AppendRows(blob.table, blob.end, whole, True, answer)
        operation.repeats_when_full = True
        if not self._database.send_alone(owned.appender, operation):
            return False
        blob.end += len(whole)
        return True

    def _submit_and_wait(self, owned: OwnedStore, make: Callable[[Answer], Operation]) -> None:
        """Submit an operation, and wait for its answer."""
        answers: SimpleQueue[StorageError | None] = SimpleQueue()
        owned.appender.submit(make(answers.put))
        self._database.wake()
        error = answers.get()
        if error is not None:
            raise error

    def _blob_to_append(self, owned: OwnedStore, name: str) -> Blob:
        """A blob, with its end known and nothing behind it."""
        blob = self._owned_blob(name)
        if blob.end is None:
            end = self._measure_owned(owned, blob)
            self._write(owned, lambda link, _: tables.cut(link, owned.fence, blob.table, end))
            blob.end = end
        return blob

    def _measure_owned(self, owned: OwnedStore, blob: Blob) -> int:
        return self._write(owned, lambda link, schema: tables.measure(link, schema, blob.table))

    def sync(self, name: str) -> None:
        check_name(name)
        owned = self._owner()
        self._owned_blob(name)
        # Taking the store was a synchronous commit, behind all that others had written.
        self._submit_and_wait(owned, partial(Barrier, owned.appender.has_undurable))

    def preallocate(self, name: str, size: int) -> None:
        check_name(name)
        self._owner()
        self._owned_blob(name)

    def read(self, name: str, offset: int, size: int) -> bytes:
        check_name(name)
        check_range(offset, size)
        for _ in range(READ_ATTEMPTS):
            table, end = self._extent(name, offset + size)
            wanted = min(size, end - offset)
            if wanted <= 0:
                return b""
            data = self._call(partial(_read, table, offset, wanted))
            if len(data) == wanted:
                return data
            # Another primary has not got what is about to be sent again.
            self._measured.pop(table, None)
        raise ReadFailed(f"{self._where}: {name} ends {wanted - len(data)} bytes before its end")

    def size(self, name: str) -> int:
        check_name(name)
        return self._extent(name, None)[1]

    def _extent(self, name: str, wanted: int | None) -> tuple[int, int]:
        """The table of a blob, and where it ends; a reader is content with an end that is not
        before `wanted`."""
        self._check_open()
        owned = self._owned
        if owned is not None:
            blob = self._owned_blob(name)
            if blob.end is None:
                return blob.table, self._measured_end(blob.table, wanted)
            owned.appender.await_applied(blob.table)
            return blob.table, blob.end
        table = self._call(lambda link, schema: tables.find_table(link, schema, self._store, name))
        return table, self._measured_end(table, wanted)

    def _measured_end(self, table: int, wanted: int | None) -> int:
        end = self._measured.get(table, -1)
        # Nobody else appends to what this handle owns.
        is_enough = end >= 0 if self._owned is not None else wanted is not None and end >= wanted
        if not is_enough:
            end = self._call(lambda link, schema: tables.measure(link, schema, table))
            self._measured[table] = end
        return end

    def list(self) -> frozenset[str]:
        self._check_open()
        if self._owned is not None:
            with self._catalogue_lock:
                return frozenset(self._catalogue.blobs)
        return self._call(lambda link, schema: tables.list_names(link, schema, self._store))

    def delete(self, name: str) -> None:
        check_name(name)
        owned = self._owner()
        blob = self._owned_blob(name)
        owned.appender.await_applied(blob.table)
        owned.appender.void(blob.table)
        dropped = self._drop(owned, blob.table)
        with self._catalogue_lock:
            del self._catalogue.blobs[name]
            if dropped and self._catalogue.to_drop:
                self._database.in_background(partial(self._drop_remaining, owned))
            elif not dropped:
                self._catalogue.to_drop.append(blob.table)

    def _drop(self, owned: OwnedStore, table: int) -> bool:
        return self._write(owned, lambda link, _: tables.drop(link, owned.fence, table))

    def _drop_remaining(self, owned: OwnedStore) -> None:
        """Drop tables of blobs that were deleted before; in the background."""
        with self._catalogue_lock:
            remaining = list(self._catalogue.to_drop)
        for table in remaining:
            if owned is self._owned and self._drop(owned, table):
                with self._catalogue_lock:
                    self._catalogue.to_drop.remove(table)

    # --- the head, and what a salvage sets aside --------------------------------------------

    def read_head(self) -> tuple[int, bytes]:
        self._check_open()
        return self._call(lambda link, schema: ownership.read_head(link, schema, self._store))

    def write_head(self, expected_epoch: int, epoch: int, data: bytes) -> None:
        check_head(expected_epoch, epoch, data)
        self._check_may_own()
        owned = self._owned
        if epoch == expected_epoch:
            if owned is None or owned.owned.epoch != epoch:
                raise LostEpoch(f"{self._where}: not taken by this owner, or lost")
            self._replace_head(owned, data)
            return
        if owned is not None:
            # Another owner in between ends only the earlier ownership of this handle.
            with suppress(LostEpoch):
                if owned.appender.failure is None:
                    self._submit_and_wait(owned, partial(Barrier, True))
            self._lose(owned)
        self._take(expected_epoch, epoch, data)

    def _replace_head(self, owned: OwnedStore, data: bytes) -> None:
        owned.appender.await_applied()
        known = owned.owned
        earlier = list(known.data)
        known.data.append(data)
        try:
            self._write(owned, lambda link, _: ownership.replace_data(link, owned.fence, data))
        except MediumFull:
            known.data = earlier
            raise
        known.data = [data]

    def _take(self, expected_epoch: int, epoch: int, data: bytes) -> None:
        tokens: set[str] = set()
        durability = self._database.durability

        def take(link: Link, schema: Schema) -> tuple[Fence, Catalogue]:
            fence = Fence(schema, self._store, epoch, new_token(), durability)
            earlier = set(tokens)
            tokens.add(fence.token)
            ownership.take(link, fence, expected_epoch, data, earlier, self._holder)
            return fence, tables.load_catalogue(link, schema, self._store)

        fence, self._catalogue = self._call(take)
        known = Ownership(epoch, fence.token, {fence.token}, [data])
        owned = OwnedStore(Appender(fence), known)
        self._owned = owned
        self._measured = {}
        try:
            self._database.own(owned)
        except ReadFailed:
            self._owned = None
            raise
        self._database.in_background(partial(self._drop_remaining, owned))
        self._database.in_background(partial(self._make_spare, owned))

    def watch_owner(self, ended: Callable[[StorageError], None]) -> None:
        if self._owned is not None:
            self._owned.appender.watch(ended)

    def set_aside(self, name: str, data: bytes) -> str:
        check_name(name)
        owned = self._owner()

        def keep(link: Link, _: Schema) -> None:
            with ownership.owner_transaction(link, owned.fence):
                ownership.set_aside(link, owned.fence, name, data)

        self._write(owned, keep)
        return self._salvaged(name)

    def set_head_aside(self, name: str) -> str:
        check_name(name)
        self._check_may_own()
        durability = self._database.durability

        def remove(link: Link, schema: Schema) -> None:
            fence = Fence(schema, self._store, 0, "", durability)
            ownership.remove_head(link, fence, name)

        owned = self._owned
        if owned is not None:
            self._lose(owned)
        self._call(remove)
        return self._salvaged(name)

    def _salvaged(self, name: str) -> str:
        schema = self._database.location.schema
        return f"{self._database.location}: table {schema}.salvaged, store {self._store}, {name}"

    # --- the medium -------------------------------------------------------------------------

    @property
    def location(self) -> Location:
        """Where the database is."""
        return self._database.location

    @property
    def report(self) -> Report | None:
        """What was found at the last connect; None while the database is away."""
        return self._database.report

    def watch(self, changed: Callable[[str], None]) -> None:
        self._database.watch(changed)

    def free_bytes(self) -> int:
        """0 while the database is full, as far as is known; a constant otherwise."""
        self._check_open()
        owned = self._owned
        return 0 if owned is not None and owned.appender.is_full else FREE_BYTES

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        owned, self._owned = self._owned, None
        if owned is not None:
            self._database.end(owned, MediumFailed(f"{self._where} was closed"))
        if self._owns_database:
            self._database.close()

    def give_up(self, error: StorageError) -> None:
        """End every call that waits, and every later one, with an error, from any thread.

        For an owner that may not go on, as its lease has run out, or that ends while the database
        is away. Nothing is answered as durable after this has returned.
        """
        self._given_up = error
        owned = self._owned
        if owned is not None:
            self._database.end(owned, error)
        self._database.end_calls()

    def _call(self, job: Job[Result]) -> Result:
        """Run a job that needs no owner."""
        return self._database.call(job, lambda: self._given_up)

    def _write(self, owned: OwnedStore, job: Job[Result]) -> Result:
        """Run a job of the owner."""
        return self._database.call(job, lambda: owned.appender.failure)

    def _lose(self, owned: OwnedStore) -> None:
        """Own the store no more."""
        self._owned = None
        self._database.end(owned, LostEpoch(f"{self._where}: it was taken again, or lost"))

    def _owner(self) -> OwnedStore:
        self._check_may_own()
        owned = self._owned
        if owned is None:
            raise LostEpoch(f"{self._where}: not taken by this owner, or lost")
        failure = owned.appender.failure
        if failure is not None:
            raise failure
        return owned

    def _owned_blob(self, name: str) -> Blob:
        with self._catalogue_lock:
            blob = self._catalogue.blobs.get(name)
        if blob is None:
            raise NoSuchBlob(f"{self._where}: {name} does not exist")
        return blob

    def _check_may_own(self) -> None:
        self._check_open()
        if self._database.read_only:
            raise LostEpoch(f"{self._where} was opened for reading only")
        owned = self._owned
        if owned is not None and isinstance(failure := owned.appender.failure, MediumFailed):
            raise failure

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError(f"{self._where} was closed")
        if self._given_up is not None:
            raise self._given_up


def _read(table: int, offset: int, size: int, link: Link, schema: Schema) -> bytes:
    return tables.read(link, schema, table, offset, size)
