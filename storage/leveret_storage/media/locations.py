"""The one place that chooses a medium, by the location in `storage.data_dir` or a command line.

A location is a path, or a URL: `file:PATH` is the directory PATH, and
`postgresql://USER@HOST,HOST/DATABASE` a database (postgres/location.py). A path that begins as a
URL does, with a word, a colon and a slash, has to be written `./PATH`.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from leveret_storage.errors import UnknownMedium
from leveret_storage.media.filesystem import DESCRIPTORS_MAX, FilesystemMedium
from leveret_storage.medium import Medium

FILE_SCHEME: Final = "file"
POSTGRES_SCHEMES: Final = ("postgresql", "postgres")

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?=/)(.*)|(file):(.*)", re.DOTALL)


def open_medium(
    location: str,
    *,
    read_only: bool = False,
    reserve_bytes: int = 0,
    files_max: int = DESCRIPTORS_MAX,
) -> Medium:
    """Open the medium at a location; a directory that is missing is made, unless `read_only`.

    :param reserve_bytes: bytes of disk that its owner sets aside, for a full disk.
    :param files_max: files of a directory that are open at a time.
    :raises UnknownMedium: if it is a URL that names no medium.
    :raises StorageError: if it cannot be opened, as FilesystemMedium and Database say.
    """
    if is_postgres(location):
        return _open_postgres(location, read_only)
    return FilesystemMedium(
        directory_of(location),
        read_only=read_only,
        reserve_bytes=reserve_bytes,
        descriptors_max=files_max,
    )


def is_postgres(location: str) -> bool:
    """Whether a location is one of a PostgreSQL database."""
    scheme, separator, _ = location.partition("://")
    return bool(separator) and scheme.lower() in POSTGRES_SCHEMES


def _open_postgres(location: str, read_only: bool) -> Medium:
    with client_library():
        from leveret_storage.media.postgres.opening import open_postgres
    return open_postgres(location, read_only=read_only)


def check_location(location: str) -> None:
    """Check what a location says; nothing is opened.

    :raises UnknownMedium: if it names no medium.
    """
    if not is_postgres(location):
        directory_of(location)
        return
    with client_library():
        from leveret_storage.media.postgres.location import parse_location
    parse_location(location)


@contextmanager
def client_library() -> Iterator[None]:
    """Import what needs the client library of PostgreSQL, which not every installation has.

    :raises UnknownMedium: if it is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "psycopg":
            raise
        raise UnknownMedium(
            "a PostgreSQL database needs psycopg: pip install 'leveret[postgres]'"
        ) from error


def directory_of(location: str) -> Path:
    """The local directory that a location names, absolute.

    :raises UnknownMedium: if it is a URL that names none.
    """
    if "\0" in unquote(location):
        raise UnknownMedium(f"{location!r} has a null character")
    url = _URL.fullmatch(location)
    if url is None:
        return Path(location).absolute()
    scheme, rest = (url[1], url[2]) if url[1] else (url[3], url[4])
    if scheme.lower() != FILE_SCHEME:
        raise UnknownMedium(
            f"no medium has the scheme {scheme!r}; known: postgresql:, file:, or a path"
        )
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host not in ("", "localhost"):
            raise UnknownMedium(f"{location} is on the host {host!r}, not on this one")
        rest = slash + path
    if not rest:
        raise UnknownMedium(f"{location} names no directory")
    return Path(unquote(rest)).absolute()
