"""A snapshot of a data directory, for readers beside the process that owns it.

Nothing is written, created or locked. Every blob is opened at once, so that its bytes stay readable
when the owner deletes it, and has the size that it had then: what the owner appends later is not
seen. Appends to the preallocated tail of a log segment do not make its file longer, so the end of
every log segment is read at once, too. Queue segments are opened before log segments, and later log
segments before earlier ones: so the log is seen up to one instant, and every message that was
flushed to a queue segment is seen in one of the two. Checkpoint segments are opened last, and all
of them that there were since the log was.
"""

import os
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from leveret_storage.errors import LostEpoch, NoSuchBlob, ReadFailed
from leveret_storage.media.filesystem import FilesystemMedium
from leveret_storage.medium import Data, Medium
from leveret_storage.segments.log_segment import PREALLOCATION_BYTES
from leveret_storage.segments.segment_writer import CHECKPOINT_KIND, blob_kind, log_number

ATTEMPTS_MAX: Final = 100
"""Attempts to open all blobs before one of them is deleted. An attempt takes about a millisecond,
and an owner deletes a few a second at most."""


CHANGING_BYTES_MAX: Final = 2 * PREALLOCATION_BYTES
"""Bytes at the end of a log segment that its owner may still change: more than it preallocates."""


class _Opened(NamedTuple):
    """A blob as it was when it was opened."""

    fd: int
    size: int
    end: bytes
    """Its last bytes, as far as they may change."""


class DirectorySnapshot(Medium):
    """The blobs of a directory at the time this was made, read-only.

    Raises ReadFailed, when made, if the directory cannot be read.
    """

    def __init__(self, directory: Path) -> None:
        self._medium: Final = FilesystemMedium(directory, read_only=True)
        self._files: dict[str, _Opened] = {}
        self._blobs = str(directory / "blobs")
        self._head = (0, b"")
        try:
            # Before the blobs: it may speak of a log segment that is deleted meanwhile, and must
            # not of one that is not there yet.
            self._head = self._medium.read_head()
            for _ in range(ATTEMPTS_MAX):
                if self._open_all():
                    return
            raise ReadFailed(f"{directory}: its files change too fast to be opened together")
        except ReadFailed:
            self.close()
            raise

    def _open_all(self) -> bool:
        """Open every blob; False if one was deleted since they were listed."""
        self._close_files()
        listed = self._medium.list()
        first_names = [name for name in listed if blob_kind(name) != CHECKPOINT_KIND]
        if not self._open(sorted(first_names, key=_is_log_then_name, reverse=True)):
            return False
        # Listed again: the log may name a checkpoint segment that was begun since.
        later = self._medium.list()
        checkpoints = {name for name in listed | later if blob_kind(name) == CHECKPOINT_KIND}
        return checkpoints <= later and self._open(sorted(checkpoints))

    def _open(self, names: list[str]) -> bool:
        """Open blobs; False if one was deleted."""
        for name in names:
            try:
                fd = os.open(f"{self._blobs}/{name}", os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return False
            except OSError as error:
                raise ReadFailed(f"cannot read {self._blobs}/{name}: {error.strerror}") from error
            size = os.fstat(fd).st_size
            changing = 0 if log_number(name) is None else min(size, CHANGING_BYTES_MAX)
            self._files[name] = _Opened(fd, size, b"")
            if changing:
                end = self.read(name, size - changing, changing)
                self._files[name] = _Opened(fd, size, end)
        return True

    def _close_files(self) -> None:
        for opened in self._files.values():
            os.close(opened.fd)
        self._files = {}

    def read(self, name: str, offset: int, size: int) -> bytes:
        fd, length, end = self._file(name)
        stop = min(offset + size, length)
        end_at = length - len(end)
        if offset >= end_at:
            return end[offset - end_at : stop - end_at]
        remaining = min(stop, end_at) - offset
        parts = []
        try:
            while remaining > 0 and (part := os.pread(fd, remaining, offset)):
                parts.append(part)
                offset += len(part)
                remaining -= len(part)
        except OSError as error:
            raise ReadFailed(f"cannot read {self._blobs}/{name}: {error.strerror}") from error
        return b"".join((*parts, end[: max(0, stop - end_at)]))

    def size(self, name: str) -> int:
        return self._file(name).size

    def list(self) -> frozenset[str]:
        return frozenset(self._files)

    def foreign_names(self) -> frozenset[str]:
        return self._medium.foreign_names()

    def read_head(self) -> tuple[int, bytes]:
        return self._head

    def free_bytes(self) -> int:
        return self._medium.free_bytes()

    def close(self) -> None:
        self._close_files()
        self._medium.close()

    def _file(self, name: str) -> _Opened:
        found = self._files.get(name)
        if found is None:
            raise NoSuchBlob(f"{self._blobs}/{name} does not exist")
        return found

    # --- calls that write -------------------------------------------------------------------

    def create(self, name: str) -> None:
        self._refuse()

    def append(self, name: str, data: Data) -> int:
        self._refuse()

    def append_synced(self, name: str, data: Data) -> int:
        self._refuse()

    def preallocate(self, name: str, size: int) -> None:
        self._refuse()

    def sync(self, name: str) -> None:
        self._refuse()

    def set_aside(self, name: str, data: bytes) -> str:
        self._refuse()

    def set_head_aside(self, name: str) -> str:
        self._refuse()

    def delete(self, name: str) -> None:
        self._refuse()

    def write_head(self, expected_epoch: int, epoch: int, data: bytes) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise LostEpoch(f"{self._blobs} is open for reading only")


def _is_log_then_name(name: str) -> tuple[bool, str]:
    return log_number(name) is None, name
