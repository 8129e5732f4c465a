"""Where the control socket of a broker is, and its directory on this machine."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from leveret.config import Config
from leveret_storage.media.locations import directory_of, is_postgres

SOCKET_NAME: Final = "control.sock"
"""Its name in a data directory."""


def local_directory(config: Config) -> Path:
    """The directory of a broker on this machine: that of its data, unless these are in a database.

    :raises UnknownMedium: if it is a URL that names none.
    """
    storage = config.storage
    return directory_of(storage.local_dir if is_postgres(storage.data_dir) else storage.data_dir)


def control_path(config: Config) -> Path:
    """The path of the control socket. A broker that keeps everything in memory has one only if the
    key `control.socket` says where.

    :raises UnknownMedium: if the data directory is a URL that names none.
    """
    if config.control.socket:
        return Path(config.control.socket)
    return local_directory(config) / SOCKET_NAME


@contextmanager
def socket_address(path: Path) -> Generator[str, None, None]:
    """An address of a socket, valid as long as the context, which is short however long the path
    of its directory is: the address of a socket may have 107 bytes.

    :raises OSError: if there is no such directory.
    """
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)
