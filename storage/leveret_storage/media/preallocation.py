"""A preallocated, zero-filled tail of a file, which appends overwrite.

A sync of bytes that make a file longer waits for the file system's journal as well. A sync of bytes
that replace others, whose blocks and size are durable already, waits for these bytes alone: on the
disk this was measured on (ext4, virtio), 0.1 ms instead of 0.3 for 20 KB. Blocks that were only
allocated (fallocate) gain a third of that, since the journal has to note what was written to.

Zeros are written by another thread than the one that appends. Bytes that do not fit into the
preallocated tail are appended as to any file. Errors are raised as OSError; the caller turns them
into StorageErrors.
"""

import errno
import os
from collections.abc import Callable
from threading import Lock
from typing import Final

from leveret_storage.errors import FULL_ERRNOS
from leveret_storage.media.gathering import write_parts_at, write_parts_synced_at

ZEROS_BYTES: Final = 256 * 1024
"""Bytes of zeros written at a time: a sync on the same disk waits no longer than for these."""

_ZEROS: Final = bytes(ZEROS_BYTES)
_DSYNC_UNSUPPORTED: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS})
"""The errors of systems that cannot write and sync in one call (Linux before 4.7, gVisor)."""


class PreallocatedFile:
    """A file, the offset at which its bytes end, and up to where durable zeros follow them."""

    def __init__(self, fd: int) -> None:
        """Take over a descriptor that was not opened for appending."""
        self.fd = fd
        self.end = os.fstat(fd).st_size
        """Offset at which the next append begins."""
        self.unsynced = True
        """Whether bytes before `end` may not be durable."""
        self._zeros_end = self.end
        self._size_lock = Lock()
        """Held while the size of the file changes."""
        self._dsync_supported = hasattr(os, "RWF_DSYNC")

    def append(self, parts: list[bytes]) -> None:
        """Put bytes at the end. After a failure `cut` removes what was written of them."""
        self.unsynced = True
        end = self.end + sum(map(len, parts))
        if end <= self._zeros_end:
            write_parts_at(self.fd, parts, self.end)
        else:
            with self._size_lock:
                write_parts_at(self.fd, parts, self.end)
                self._zeros_end = max(self._zeros_end, end)
        self.end = end

    def append_synced(self, parts: list[bytes]) -> bool:
        """The same, durable when it returns. False, and nothing is done, if the bytes do not fit
        into the preallocated tail or earlier ones are not synced.

        A failed write cannot be distinguished from a failed sync.
        """
        if self.unsynced or not self._dsync_supported:
            return False
        size = sum(map(len, parts))
        if self.end + size > self._zeros_end:
            return False
        try:
            write_parts_synced_at(self.fd, parts, self.end, size)
        except OSError as error:
            if error.errno in _DSYNC_UNSUPPORTED:
                self._dsync_supported = False
                return False
            raise
        self.end += size
        return True

    def sync(self) -> None:
        """Make durable all that was appended before."""
        os.fdatasync(self.fd)
        self.unsynced = False

    def cut(self) -> None:
        """Cut off what a failed append has written, and the preallocated tail with it."""
        with self._size_lock:
            os.ftruncate(self.fd, self.end)
            self._zeros_end = self.end

    def extend(self, fd: int, size: int, sync: Callable[[], None]) -> None:
        """Write zeros until `size` bytes are preallocated, or the disk is full.

        `fd` is another descriptor of the file, and `sync` syncs through it: the kernel reports an
        error in writing once to each descriptor, and this call must not take that of an append.
        """
        zeros_end = self.end + size
        while self._zeros_end < zeros_end:
            with self._size_lock:
                zeros = _ZEROS[: max(0, zeros_end - self._zeros_end)]
                try:
                    write_parts_at(fd, [zeros], self._zeros_end)
                except OSError as error:
                    if error.errno not in FULL_ERRNOS:
                        raise
                    os.ftruncate(fd, self._zeros_end)
                    return
                sync()
                self._zeros_end += len(zeros)
