"""Turns errors of the operating system into errors of the medium, for the local directory.

The first failed write or sync is remembered: it ends the medium, and every later call that changes
something raises the same MediumFailed.
"""

import os
from threading import Lock

from leveret_storage.errors import FULL_ERRNOS, MediumFailed, MediumFull, ReadFailed


class IoErrors:
    """Turns each OSError into a StorageError. One for each open directory, for any thread."""

    def __init__(self, directory: str) -> None:
        self.failure = ""
        """Text of the first failed write or sync; "" while there was none."""
        self._directory = directory
        self._mutex = Lock()

    def check(self) -> None:
        """Raise MediumFailed if a write or a sync has failed."""
        if self.failure:
            raise MediumFailed(self.failure)

    def failed(self, verb: str, path: str, error: OSError) -> MediumFailed:
        """The error of a call whose effect is not known; it ends the medium."""
        with self._mutex:
            if not self.failure:
                self.failure = f"cannot {verb} {self._directory}/{path}: {error.strerror}"
            return MediumFailed(self.failure)

    def undone(self, verb: str, path: str, error: OSError) -> MediumFull | MediumFailed:
        """The error of a call that had no effect: MediumFull if a resource is used up."""
        if error.errno in FULL_ERRNOS:
            return MediumFull(f"no space to {verb} {self._directory}/{path}: {error.strerror}")
        return self.failed(verb, path, error)

    def unread(self, path: str, error: OSError) -> ReadFailed:
        """The error of a call that only reads."""
        return ReadFailed(f"cannot read {self._directory}/{path}: {error.strerror}")

    def sync_file(self, path: str, fd: int) -> None:
        """Make a file's bytes and size durable.

        :raises MediumFailed: for every error, since it is unknown then what is durable.
        """
        try:
            os.fdatasync(fd)
        except OSError as error:
            raise self.failed("sync", path, error) from error

    def sync_directory(self, path: str, fd: int) -> None:
        """Make the names in a directory durable.

        :raises MediumFailed: for every error.
        """
        try:
            os.fsync(fd)
        except OSError as error:
            raise self.failed("sync", path, error) from error


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Append all of `data`, however little one call takes.

    :raises OSError: as os.write does.
    """
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
