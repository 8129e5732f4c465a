"""Opening the medium that a `postgresql://` location names."""

from leveret_storage.media.postgres.database import Database
from leveret_storage.media.postgres.location import parse_location
from leveret_storage.media.postgres.medium import PostgresMedium


def open_postgres(location: str, *, read_only: bool = False) -> PostgresMedium:
    """Open the store that a location names, with connections of its own.

    :raises UnknownMedium: if it names none.
    :raises StorageError: as Database does.
    """
    parsed = parse_location(location)
    database = Database(parsed, read_only=read_only)
    return PostgresMedium(database, parsed.store, owns_database=True)
