"""The head record as a file: `head`, and `head.new` while the next one is being written.

The next head is written to a new file, synced, renamed over the old one, and the directory synced.
After power loss the name `head` therefore refers to the old head or to the new one.

A head that cannot be read is moved to DIRECTORY/salvaged, together with what a salvage cuts out of
blobs (salvaged_files.py).
"""

import os
from typing import Final

from leveret_storage.errors import Damaged, UnknownFormat
from leveret_storage.format.file_header import HEADER_BYTES_MAX, decode_head, encode_head
from leveret_storage.media.io_errors import IoErrors, write_all

HEAD_NAME: Final = "head"
NEW_HEAD_NAME: Final = "head.new"

_READ_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC
_WRITE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC


class HeadFile:
    """Reads, replaces and removes the head of one open directory."""

    def __init__(self, directory: str, directory_fd: int, errors: IoErrors) -> None:
        self._directory = directory
        self._directory_fd = directory_fd
        self._errors = errors

    def read(self) -> tuple[int, bytes]:
        """Return epoch and data; (0, b"") if there is no head.

        :raises ReadFailed, Damaged, UnknownFormat:
        """
        data = self.read_bytes()
        if data is None:
            return 0, b""
        try:
            return decode_head(data)
        except Damaged as error:
            raise Damaged(f"{self._directory}/{HEAD_NAME}: {error}") from None
        except UnknownFormat as error:
            raise UnknownFormat(f"{self._directory}/{HEAD_NAME}: {error}") from None

    def read_bytes(self) -> bytes | None:
        """Return the file's bytes, at most one more than a head can have; None if there is no file.

        :raises ReadFailed:
        """
        try:
            fd = os.open(HEAD_NAME, _READ_FLAGS, dir_fd=self._directory_fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._errors.unread(HEAD_NAME, error) from error
        try:
            return os.pread(fd, HEADER_BYTES_MAX + 1, 0)
        except OSError as error:
            raise self._errors.unread(HEAD_NAME, error) from error
        finally:
            os.close(fd)

    def replace(self, epoch: int, data: bytes) -> None:
        """Write a head, durable when this returns.

        :raises MediumFull: if the medium is full; the old head stays.
        :raises MediumFailed:
        """
        self._write_new(encode_head(epoch, data))
        try:
            os.rename(
                NEW_HEAD_NAME,
                HEAD_NAME,
                src_dir_fd=self._directory_fd,
                dst_dir_fd=self._directory_fd,
            )
        except OSError as error:
            raise self._errors.undone("write", HEAD_NAME, error) from error
        self._errors.sync_directory(HEAD_NAME, self._directory_fd)

    def remove(self) -> None:
        """Delete the head, durably when this returns.

        :raises MediumFailed:
        """
        try:
            os.unlink(HEAD_NAME, dir_fd=self._directory_fd)
        except OSError as error:
            raise self._errors.failed("delete", HEAD_NAME, error) from error
        self._errors.sync_directory(HEAD_NAME, self._directory_fd)

    def _write_new(self, data: bytes) -> None:
        try:
            fd = os.open(NEW_HEAD_NAME, _WRITE_FLAGS, 0o600, dir_fd=self._directory_fd)
        except OSError as error:
            raise self._errors.undone("create", NEW_HEAD_NAME, error) from error
        try:
            write_all(fd, data)
        except OSError as error:
            os.close(fd)
            raise self._errors.undone("write", NEW_HEAD_NAME, error) from error
        try:
            self._errors.sync_file(NEW_HEAD_NAME, fd)
        finally:
            os.close(fd)
