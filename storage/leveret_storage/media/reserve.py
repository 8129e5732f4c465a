"""Disk space that is set aside, so that a full disk can be emptied by consumers.

To free space, settlements have to be written, and a new log segment and a checkpoint. The file
`reserve` in the data directory occupies the space for that. When a write finds no space, the file
is cut by what the write needs, and a little more. It is made whole again when there is space for it
and for as much again as a quarter of it; meanwhile it is short, and publishers should wait.

One process releases at most three quarters of what it found: the next start on the full disk needs
some, too. The file has no content, and nothing depends on its being there.
"""

import errno
import os
from threading import Lock
from typing import Final

RESERVE_NAME: Final = "reserve"

DISK_SHARE: Final = 4
"""The reserve is at most this part of its file system: a small disk is for messages, too."""

LEFT_SHARE: Final = 4
"""This part of what a process found is left to the next one. It is also what has to be free beside
the reserve before the reserve is made whole, so that the next message does not cut it again."""

STEP_BYTES: Final = 256 * 1024
"""Bytes released beyond what a write needs: for blocks of directories and of the file system."""

_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_FLAGS: Final = os.O_RDWR | os.O_CLOEXEC


class Reserve:
    """The file `reserve` of one open directory. For any thread."""

    def __init__(self, directory_fd: int, size: int) -> None:
        """`size` is in bytes, 0 for none; nothing is made before `fill`.

        :raises OSError:
        """
        self._directory_fd = directory_fd
        status = os.fstatvfs(directory_fd)
        self._size = min(size, status.f_blocks * status.f_frsize // DISK_SHARE)
        self._mutex = Lock()
        self._held = self._found()
        self._least = self._held // LEFT_SHARE
        self.short = False
        """Whether a part of it was released, or could not be made for want of space."""

    def fill(self) -> None:
        """Make it whole, or note that it is short.

        A file system that cannot allocate, or a limit of file sizes, leaves the broker without a
        reserve.
        """
        with self._mutex:
            try:
                self._resize()
                self.short = False
            except OSError as error:
                self.short = error.errno in _NO_SPACE
                self._held = self._found()
            self._least = max(self._least, self._held // LEFT_SHARE)

    def refill(self, free: int) -> None:
        """Make it whole again if it is short and `free` bytes of the disk are enough for that."""
        if self.short and free >= self._size - self._held + self._size // LEFT_SHARE:
            self.fill()

    def release(self, refusal: BaseException | None, size: int) -> bool:
        """Release `size` bytes and some more, for a write that failed with `refusal`.

        :returns: whether anything was released, so that the write should be tried again.
        """
        if not isinstance(refusal, OSError) or refusal.errno not in _NO_SPACE:
            return False
        with self._mutex:
            self.short = self._size > 0
            left = max(self._least, self._held - size - STEP_BYTES)
            if left >= self._held:
                return False
            try:
                self._cut(left)
            except OSError:
                return False
            self._held = left
            return True

    def _cut(self, size: int) -> None:
        fd = os.open(RESERVE_NAME, _FLAGS, dir_fd=self._directory_fd)
        try:
            os.ftruncate(fd, size)
        finally:
            os.close(fd)

    def _resize(self) -> None:
        if self._size == 0:
            if self._held:
                os.unlink(RESERVE_NAME, dir_fd=self._directory_fd)
            self._held = 0
            return
        fd = os.open(RESERVE_NAME, _FLAGS | os.O_CREAT, 0o600, dir_fd=self._directory_fd)
        try:
            try:
                os.posix_fallocate(fd, 0, self._size)
            except OSError:
                os.ftruncate(fd, self._held)
                raise
            os.ftruncate(fd, self._size)
        finally:
            os.close(fd)
        self._held = self._size

    def _found(self) -> int:
        try:
            return os.stat(RESERVE_NAME, dir_fd=self._directory_fd).st_size
        except FileNotFoundError:
            return 0
