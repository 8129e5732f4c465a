"""The lock on a data directory, so that two processes never write to one.

It is `flock` on the file `lock`, which the kernel releases when the holder dies, however it dies.
The file's content (process id and host name) only names the holder in the error of the next
process: after kill -9 it is stale, and the next holder overwrites it, if the disk has space for it.
The file is never deleted, because then two processes could each hold a lock on a file of that name.
"""

import fcntl
import os
from typing import Final

from leveret_storage.errors import FULL_ERRNOS, DirectoryLocked, MediumFailed

LOCK_NAME: Final = "lock"

HOLDER_BYTES_MAX: Final = 300
"""Bytes read of the holder's line: a process id, and a host name of at most 255."""


class DirectoryLock:
    """Held from construction to `close`. A forked child that does not exec holds it too."""

    def __init__(self, directory_fd: int, directory: str) -> None:
        """Take the lock. Raises DirectoryLocked, and MediumFailed where there can be no lock."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            self._fd = os.open(LOCK_NAME, flags, 0o600, dir_fd=directory_fd)
        except OSError as error:
            raise MediumFailed(f"{directory}: no lock file: {error.strerror}") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._write_holder()
        except BlockingIOError:
            holder = self._read_holder()
            os.close(self._fd)
            raise DirectoryLocked(f"{directory} is in use by {holder}") from None
        except OSError as error:
            os.close(self._fd)
            raise MediumFailed(f"{directory}: cannot be locked: {error.strerror}") from error

    def close(self) -> None:
        """Release the lock."""
        os.close(self._fd)

    def _write_holder(self) -> None:
        line = f"{os.getpid()} {os.uname().nodename}\n".encode("utf-8", "replace")
        try:
            # What is written over needs no more space.
            os.pwrite(self._fd, line, 0)
            os.ftruncate(self._fd, len(line))
        except OSError as error:
            if error.errno not in FULL_ERRNOS:
                raise

    def _read_holder(self) -> str:
        """The holder as the file names it; it may not have written the file yet."""
        text = os.pread(self._fd, HOLDER_BYTES_MAX, 0).decode("utf-8", "replace")
        pid, _, host = text.strip().partition(" ")
        if not pid.isdigit():
            return "another process"
        return f"process {pid} on {host}"
