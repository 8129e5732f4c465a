"""The files of DIRECTORY/salvaged: damaged bytes that a salvage took out of the head or a blob.

The broker writes them and never reads them. They are for an operator, who may delete them.
"""

import os
from typing import Final

from leveret_storage.media.io_errors import IoErrors, write_all

SALVAGED_NAME: Final = "salvaged"

_DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_WRITE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


def write_salvaged(directory_fd: int, errors: IoErrors, name: str, data: bytes) -> str:
    """Write a file of `salvaged/`, replacing one of the same name; durable, name included.

    :returns: its path, relative to the data directory.
    :raises MediumFull: if the medium is full.
    :raises MediumFailed:
    """
    path = f"{SALVAGED_NAME}/{name}"
    try:
        if SALVAGED_NAME not in os.listdir(directory_fd):
            os.mkdir(SALVAGED_NAME, 0o700, dir_fd=directory_fd)
        folder_fd = os.open(SALVAGED_NAME, _DIRECTORY_FLAGS, dir_fd=directory_fd)
    except OSError as error:
        raise errors.undone("create", SALVAGED_NAME, error) from error
    try:
        fd = os.open(name, _WRITE_FLAGS, 0o600, dir_fd=folder_fd)
        try:
            write_all(fd, data)
            errors.sync_file(path, fd)
        finally:
            os.close(fd)
        errors.sync_directory(SALVAGED_NAME, folder_fd)
        errors.sync_directory(SALVAGED_NAME, directory_fd)
    except OSError as error:
        raise errors.undone("write", path, error) from error
    finally:
        os.close(folder_fd)
    return path
