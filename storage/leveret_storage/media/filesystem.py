"""The medium that is a local directory.

    DIRECTORY/lock        which process works on it (lock.py)
    DIRECTORY/head        the head record (head_file.py)
    DIRECTORY/blobs/NAME  one file a blob
    DIRECTORY/salvaged/   what a salvage set aside (salvaged_files.py)
    DIRECTORY/reserve     disk space for a full disk (reserve.py)

How it becomes durable:

- Appends go through O_APPEND. `sync` is fdatasync, which covers bytes and size, and for a blob
  whose name may not be durable also an fsync of blobs/, since syncing a file does not sync its name
  (blob_names.py).
- The file of a blob with a preallocated tail (preallocation.py) is longer than the blob, and is
  written to in place.
- Nothing is mapped: reading a mapped file on a failing disk is SIGBUS, not an error.
- A call that finds no space (ENOSPC, EDQUOT, EFBIG, no descriptor) has no effect and raises
  MediumFull; an append cuts off what it had written. Before that, what is released of the reserve
  may give it space. Every other error in writing, and every error of a sync, ends the medium
  (io_errors.py).

Files in blobs/ whose name is not a blob's are ignored; `foreign_names` has them.
"""

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Final

from leveret_storage.errors import (
    FULL_ERRNOS,
    BlobExists,
    DirectoryLocked,
    LostEpoch,
    MediumFailed,
    MediumFull,
    NoSuchBlob,
    ReadFailed,
)
from leveret_storage.media.blob_names import BLOBS_NAME, BlobNames
from leveret_storage.media.descriptors import Descriptor, Descriptors
from leveret_storage.media.gathering import append_parts
from leveret_storage.media.head_file import HeadFile
from leveret_storage.media.io_errors import IoErrors
from leveret_storage.media.lock import DirectoryLock
from leveret_storage.media.preallocation import PreallocatedFile
from leveret_storage.media.reserve import Reserve
from leveret_storage.media.salvaged_files import write_salvaged
from leveret_storage.medium import (
    Data,
    Medium,
    check_head,
    check_name,
    check_range,
    is_name,
    parts_of,
)

DESCRIPTORS_MAX: Final = 256
"""Files open at one time, unless the owner allows more: of the 1,024 that a process often may open,
three quarters remain for connections. Opening one again costs some microseconds, and a sync if it
was appended to."""

_DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class FilesystemMedium(Medium):
    """A directory, locked until `close`; with `read_only` it is opened whether locked or not.

    A reader of a directory in use sees what its owner has appended. A blob that it has listed may
    be deleted before it is read.
    """

    def __init__(
        self,
        directory: Path,
        *,
        read_only: bool = False,
        descriptors_max: int = DESCRIPTORS_MAX,
        reserve_bytes: int = 0,
    ) -> None:
        """Open a directory, made where it is missing unless `read_only`.

        An owner sets `reserve_bytes` of disk aside.
        Raises DirectoryLocked, ReadFailed (it cannot be opened), MediumFailed (it cannot be made).
        """
        self._directory = str(directory)
        self._read_only = read_only
        self._closed = False
        self._errors = IoErrors(self._directory)
        self._epoch = 0
        self._preallocated: dict[str, PreallocatedFile] = {}
        self._append_lock = Lock()
        """Held by appends to files without a preallocated tail, whose end must not move while a
        preallocation begins."""
        self._lock: DirectoryLock | None = None
        if not read_only:
            self._make_directories(directory)
        try:
            self._root_fd = os.open(directory, _DIRECTORY_FLAGS)
        except OSError as error:
            raise ReadFailed(f"{directory}: {error.strerror}") from error
        try:
            if not read_only:
                self._lock = DirectoryLock(self._root_fd, self._directory)
            self._blobs_fd = os.open(BLOBS_NAME, _DIRECTORY_FLAGS, dir_fd=self._root_fd)
            self._reserve = Reserve(self._root_fd, reserve_bytes)
        except OSError as error:
            self._close_root()
            raise ReadFailed(f"{directory / BLOBS_NAME}: {error.strerror}") from error
        except (DirectoryLocked, MediumFailed):
            self._close_root()
            raise
        self._head = HeadFile(self._directory, self._root_fd, self._errors)
        self._names = BlobNames(self._blobs_fd, self._errors)
        flags = os.O_RDONLY if read_only else os.O_RDWR | os.O_APPEND
        self._files = Descriptors(self._blobs_fd, flags, descriptors_max, self._sync_evicted)

    # --- blobs ------------------------------------------------------------------------------

    def create(self, name: str) -> None:
        check_name(name)
        self._check_writable()
        try:
            self._create(name)
        except MediumFull as refusal:
            if not self._reserve.release(refusal.__cause__, 0):
                raise
            self._create(name)

    def _create(self, name: str) -> None:
        try:
            with self._files.borrow(name, create=True):
                self._names.created(name)
        except FileExistsError:
            raise BlobExists(f"{self._path(name)} exists already") from None
        except OSError as error:
            raise self._errors.undone("create", _blob_path(name), error) from error

    def append(self, name: str, data: Data) -> int:
        check_name(name)
        self._check_writable()
        parts = parts_of(data)
        try:
            return self._append(name, parts)
        except MediumFull as refusal:
            if not self._reserve.release(refusal.__cause__, sum(map(len, parts))):
                raise
            return self._append(name, parts)

    def _append(self, name: str, parts: list[bytes]) -> int:
        with self._append_lock:
            file = self._preallocated.get(name)
            if file is None:
                return self._append_to_end(name, parts)
        offset = file.end
        try:
            file.append(parts)
        except OSError as error:
            if error.errno in FULL_ERRNOS:
                self._cut_failed_append(name, file.cut)
            raise self._errors.undone("append to", _blob_path(name), error) from error
        return offset

    def _append_to_end(self, name: str, parts: list[bytes]) -> int:
        with self._writing("append to", name) as descriptor:
            offset = os.fstat(descriptor.fd).st_size
            descriptor.unsynced = True
            try:
                append_parts(descriptor.fd, parts)
            except OSError as error:
                if error.errno in FULL_ERRNOS:
                    self._cut_failed_append(name, partial(os.ftruncate, descriptor.fd, offset))
                raise
        return offset

    def append_synced(self, name: str, data: Data) -> int:
        check_name(name)
        self._check_writable()
        file = self._preallocated.get(name)
        if file is not None and self._names.is_durable(name):
            offset = file.end
            try:
                if file.append_synced(parts_of(data)):
                    return offset
            except OSError as error:
                raise self._errors.failed("append to", _blob_path(name), error) from error
        offset = self.append(name, data)
        self.sync(name)
        return offset

    def preallocate(self, name: str, size: int) -> None:
        check_name(name)
        self._check_writable()
        if self._reserve.short:
            return
        path = _blob_path(name)
        try:
            fd = self._open_in_place(name)
            try:
                file = self._preallocated_file(name)
                file.extend(fd, size, partial(self._errors.sync_file, path, fd))
            finally:
                os.close(fd)
        except FileNotFoundError:
            raise NoSuchBlob(f"{self._path(name)} does not exist") from None
        except OSError as error:
            if error.errno not in FULL_ERRNOS:
                raise self._errors.failed("write ahead in", path, error) from error

    def _preallocated_file(self, name: str) -> PreallocatedFile:
        """The file of a blob, to be written in place from its end on."""
        with self._append_lock:
            file = self._preallocated.get(name)
            if file is None:
                file = PreallocatedFile(self._open_in_place(name))
                self._preallocated[name] = file
            return file

    def _open_in_place(self, name: str) -> int:
        return os.open(name, os.O_RDWR | os.O_CLOEXEC, dir_fd=self._blobs_fd)

    def sync(self, name: str) -> None:
        check_name(name)
        self._check_writable()
        file = self._preallocated.get(name)
        if file is not None:
            try:
                file.sync()
            except OSError as error:
                raise self._errors.failed("sync", _blob_path(name), error) from error
        else:
            with self._writing("sync", name) as descriptor:
                self._errors.sync_file(_blob_path(name), descriptor.fd)
                descriptor.unsynced = False
        self._names.sync(name)

    def read(self, name: str, offset: int, size: int) -> bytes:
        check_name(name)
        check_range(offset, size)
        self._check_open()
        file = self._preallocated.get(name)
        if file is not None:
            size = max(0, min(size, file.end - offset))
        try:
            with self._files.borrow(name) as descriptor:
                data = os.pread(descriptor.fd, size, offset)
                while len(data) < size:
                    # One read returns at most 2 GiB, and may return less than is there.
                    more = os.pread(descriptor.fd, size - len(data), offset + len(data))
                    if not more:
                        break
                    data += more
                return data
        except FileNotFoundError:
            raise NoSuchBlob(f"{self._path(name)} does not exist") from None
        except OSError as error:
            raise self._errors.unread(_blob_path(name), error) from error

    def size(self, name: str) -> int:
        check_name(name)
        self._check_open()
        file = self._preallocated.get(name)
        if file is not None:
            return file.end
        try:
            return os.stat(name, dir_fd=self._blobs_fd).st_size
        except FileNotFoundError:
            raise NoSuchBlob(f"{self._path(name)} does not exist") from None
        except OSError as error:
            raise self._errors.unread(_blob_path(name), error) from error

    def list(self) -> frozenset[str]:
        self._check_open()
        try:
            return frozenset(name for name in os.listdir(self._blobs_fd) if is_name(name))
        except OSError as error:
            raise self._errors.unread(BLOBS_NAME, error) from error

    def foreign_names(self) -> frozenset[str]:
        self._check_open()
        try:
            return frozenset(name for name in os.listdir(self._blobs_fd) if not is_name(name))
        except OSError as error:
            raise self._errors.unread(BLOBS_NAME, error) from error

    def delete(self, name: str) -> None:
        check_name(name)
        self._check_writable()
        try:
            os.unlink(name, dir_fd=self._blobs_fd)
        except FileNotFoundError:
            raise NoSuchBlob(f"{self._path(name)} does not exist") from None
        except OSError as error:
            raise self._errors.failed("delete", _blob_path(name), error) from error
        self._files.drop(name)
        file = self._preallocated.pop(name, None)
        if file is not None:
            os.close(file.fd)
        self._names.deleted(name)

    # --- the head, and what a salvage sets aside --------------------------------------------

    def read_head(self) -> tuple[int, bytes]:
        self._check_open()
        return self._head.read()

    def write_head(self, expected_epoch: int, epoch: int, data: bytes) -> None:
        check_head(expected_epoch, epoch, data)
        self._check_not_failed()
        found, _ = self.read_head()
        if epoch == expected_epoch != self._epoch:
            raise LostEpoch(f"{self._directory}: not taken by this owner, or lost")
        if found != expected_epoch:
            self._epoch = 0
            raise LostEpoch(f"{self._directory}: the owner has epoch {found}, not {expected_epoch}")
        # A process that finds the new head must not find blobs that were deleted before it.
        self._names.sync_all()
        try:
            self._head.replace(epoch, data)
        except MediumFull as refusal:
            if not self._reserve.release(refusal.__cause__, len(data)):
                raise
            self._head.replace(epoch, data)
        self._epoch = epoch
        if epoch != expected_epoch:
            self._reserve.fill()

    def set_aside(self, name: str, data: bytes) -> str:
        check_name(name)
        self._check_writable()
        path = write_salvaged(self._root_fd, self._errors, name, data)
        return f"{self._directory}/{path}"

    def set_head_aside(self, name: str) -> str:
        check_name(name)
        self._check_not_failed()
        data = self._head.read_bytes()
        path = write_salvaged(self._root_fd, self._errors, name, data or b"")
        self._epoch = 0
        if data is not None:
            self._head.remove()
        return f"{self._directory}/{path}"

    # --- the directory ----------------------------------------------------------------------

    def free_bytes(self) -> int:
        """The free bytes of the file system for this user, 0 while the reserve is short.

        A quota or a limit of file sizes may be lower. Makes the reserve whole if it can be.
        """
        self._check_open()
        try:
            free = self._free_of_file_system()
            if self._reserve.short:
                self._reserve.refill(free)
                free = 0 if self._reserve.short else self._free_of_file_system()
        except OSError as error:
            raise self._errors.unread("", error) from error
        return free

    def _free_of_file_system(self) -> int:
        status = os.fstatvfs(self._root_fd)
        return status.f_bavail * status.f_frsize

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._files.close()
        for file in self._preallocated.values():
            os.close(file.fd)
        os.close(self._blobs_fd)
        self._close_root()

    def _close_root(self) -> None:
        os.close(self._root_fd)
        if self._lock is not None:
            self._lock.close()

    def _make_directories(self, directory: Path) -> None:
        """Make the missing directories of the path, each durable before the next one is made."""
        blobs = directory / BLOBS_NAME
        try:
            missing = [path for path in (blobs, *blobs.parents) if not path.exists()]
        except OSError as error:
            raise MediumFailed(f"{directory} cannot be reached: {error.strerror}") from error
        for path in reversed(missing):
            try:
                path.mkdir(mode=0o700, exist_ok=True)
                parent_fd = os.open(path.parent, _DIRECTORY_FLAGS)
                try:
                    os.fsync(parent_fd)
                finally:
                    os.close(parent_fd)
            except OSError as error:
                raise MediumFailed(f"{path} cannot be made: {error.strerror}") from error

    # --- errors -----------------------------------------------------------------------------

    @contextmanager
    def _writing(self, verb: str, name: str) -> Generator[Descriptor, None, None]:
        """A blob's descriptor for a call that writes; OSErrors become StorageErrors."""
        try:
            with self._files.borrow(name) as descriptor:
                # Evicting another descriptor for this one may have failed, and ended the medium.
                self._check_writable()
                yield descriptor
        except FileNotFoundError:
            raise NoSuchBlob(f"{self._path(name)} does not exist") from None
        except OSError as error:
            raise self._errors.undone(verb, _blob_path(name), error) from error

    def _cut_failed_append(self, name: str, cut: Callable[[], None]) -> None:
        """Remove what an append had written before it found no space."""
        try:
            cut()
        except OSError as error:
            raise self._errors.failed("cut", _blob_path(name), error) from error

    def _sync_evicted(self, descriptor: Descriptor) -> None:
        """Sync a descriptor that Descriptors is about to close."""
        if self._errors.failure:
            return
        try:
            os.fdatasync(descriptor.fd)
        except OSError as error:
            self._errors.failed("sync", _blob_path(descriptor.name), error)

    def _path(self, name: str) -> str:
        """The path of a blob for operators."""
        return f"{self._directory}/{_blob_path(name)}"

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError(f"{self._directory} was closed")

    def _check_not_failed(self) -> None:
        self._check_open()
        if self._read_only:
            raise LostEpoch(f"{self._directory} was opened for reading only")
        self._errors.check()

    def _check_writable(self) -> None:
        self._check_not_failed()
        if self._epoch == 0:
            raise LostEpoch(f"{self._directory}: not taken by this owner, or lost")


def _blob_path(name: str) -> str:
    """A blob's path in the directory."""
    return f"{BLOBS_NAME}/{name}"
