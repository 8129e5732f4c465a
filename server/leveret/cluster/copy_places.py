"""Where data are copied from, and to: a directory with one store, or a database that brokers share.

A directory is locked meanwhile. A database is not: no broker may be alive in it, neither before nor
after, and the heads of a source have to be the same as before (`store_copy.py`).
"""

import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from leveret import __version__
from leveret.cluster.placement import hashed_store
from leveret.cluster.shared_definitions import read_records, stored_record
from leveret.cluster.store_copy import CopyFailed, CopyRefused, Place
from leveret.engine.metadata.metadata import Metadata
from leveret_storage.coordination import Member
from leveret_storage.errors import ReadFailed
from leveret_storage.media.filesystem import FilesystemMedium
from leveret_storage.media.locations import client_library, directory_of, is_postgres
from leveret_storage.medium import Medium

STORES_DEFAULT: Final = 16
RECORDS_AT_ONCE: Final = 1000
LEASE_MS: Final = 3000


def open_source(location: str) -> Place:
    """The place at a location, which is there.

    :raises StorageError: if it cannot be opened.
    """
    if is_postgres(location):
        return _SharedDatabase(location, is_source=True, stores=0)
    directory = directory_of(location)
    if not (directory / "blobs").is_dir():
        raise ReadFailed(f"{directory} is no data directory: it has no blobs/")
    return _Directory(directory)


def open_target(location: str, stores: int | None) -> Place:
    """The place at a location, which is made if it is missing.

    :param stores: how many a database gets; None for what it has, or the default.
    :raises StorageError: if it cannot be opened.
    """
    if is_postgres(location):
        return _SharedDatabase(location, is_source=False, stores=stores or 0)
    if stores is not None:
        raise CopyRefused("a directory has one store: leave out --stores")
    return _Directory(directory_of(location))


class _Directory(Place):
    def __init__(self, directory: Path) -> None:
        self._medium = FilesystemMedium(directory)

    def media(self) -> list[Medium]:
        return [self._medium]

    def read_metadata(self) -> Metadata | None:
        return None

    def has_metadata(self) -> bool:
        return False

    def write_metadata(self, metadata: Metadata) -> bool:
        return False

    def store_of(self, vhost: str, pin: int) -> int:
        return 0

    def check_unused(self) -> None:
        """Its lock is held."""

    def close(self) -> None:
        self._medium.close()


class _SharedDatabase(Place):
    def __init__(self, location: str, *, is_source: bool, stores: int) -> None:
        with client_library():
            from leveret_storage.media.postgres.coordination import PostgresCoordination
            from leveret_storage.media.postgres.database import Database
            from leveret_storage.media.postgres.location import parse_location
            from leveret_storage.media.postgres.medium import PostgresMedium
            from leveret_storage.media.postgres.shared_log import PostgresSharedLog

        parsed = parse_location(location)
        with ExitStack() as on_failure:
            self._database: Database = Database(parsed, read_only=is_source)
            on_failure.callback(self._database.close)
            self._coordination = PostgresCoordination(parsed, self._database.durability)
            on_failure.callback(self._coordination.close)
            self._log = PostgresSharedLog(self._database)
            on_failure.callback(self._log.close)
            known = len(self._coordination.look().leases)
            if is_source and not known:
                raise CopyRefused(f"{parsed}: there are no stores")
            if not is_source:
                known = self._found(stores or known or STORES_DEFAULT)
            self._media: list[Medium] = [
                PostgresMedium(self._database, store) for store in range(known)
            ]
            self._on_close = on_failure.pop_all()

    def _found(self, stores: int) -> int:
        """Have the database remember how many stores it has, as the first broker does."""
        self.check_unused()
        name = f"leveret-log-copy-{uuid.uuid4().hex[:8]}"
        member = Member(name, uuid.uuid4().hex, "", __version__, 0, 0, 0, True, True)
        self._coordination.join(member, stores, LEASE_MS)
        self._coordination.leave()
        return stores

    def media(self) -> list[Medium]:
        return self._media

    def read_metadata(self) -> Metadata | None:
        metadata = Metadata()
        for record in read_records(self._log.read(0)):
            metadata.restore(record)
        return metadata

    def has_metadata(self) -> bool:
        return self._log.read(0).version != 0

    def write_metadata(self, metadata: Metadata) -> bool:
        version = 0
        records = [stored_record(each) for each in metadata.records()]
        for at in range(0, len(records), RECORDS_AT_ONCE):
            appended = self._log.append(version, records[at : at + RECORDS_AT_ONCE])
            if appended is None:
                raise CopyFailed("the target is in use: a broker has changed it")
            version = appended
        return True

    def store_of(self, vhost: str, pin: int) -> int:
        stores = len(self._media)
        return pin if 0 <= pin < stores else hashed_store(vhost, stores)

    def check_unused(self) -> None:
        alive = [each.name for each in self._coordination.look().members if each.is_alive]
        if alive:
            raise CopyRefused(
                f"{self._database.location}: in use by the brokers {alive}: stop them"
            )

    def close(self) -> None:
        for medium in self._media:
            medium.close()
        self._on_close.close()
