"""The medium that is a local directory.

    DIRECTORY/lock        who works on it (lock.py)
    DIRECTORY/head        the head record; head.new while the next one is being written
    DIRECTORY/blobs/NAME  one file a blob

What makes it durable, and why it takes that much:

- Appends go through O_APPEND; `sync` is fdatasync, which covers bytes and size, and for a blob
  whose name may not be durable an fsync of blobs/, since syncing a file says nothing of its name.
- A blob with room set aside (room.py) ends before its file does, and is written to in place.
- The head is written to a new file, synced, renamed over the old one, and the directory synced. It
  is no live data: nothing but its name refers to the file, so after power loss it is the old or the
  new.
- Nothing is mapped: reading a mapped file on a disk in trouble is SIGBUS, not an error.
- A call that finds no room (ENOSPC, EDQUOT, EFBIG, no descriptor) leaves nothing and is MediumFull.
  An append cuts off what it had written: unsynced bytes, which nobody was told of. Every other
  error in writing, and every error of a sync, ends the medium (MediumFailed).

Files in blobs/ whose name is not a blob's are not seen and not touched.
"""

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Final

from leveret_storage.errors import (
    NO_ROOM,
    BlobExists,
    Damaged,
    DirectoryLocked,
    LostEpoch,
    MediumFailed,
    MediumFull,
    NoSuchBlob,
    ReadFailed,
    UnknownVersion,
)
from leveret_storage.format.file_header import HEADER_BYTES_MAX, decode_head, encode_head
from leveret_storage.media.descriptors import Descriptor, Descriptors
from leveret_storage.media.lock import DirectoryLock
from leveret_storage.media.preallocation import Room
from leveret_storage.medium import Medium, check_head, check_name, check_range, is_name

DESCRIPTORS_MAX: Final = 256
"""Files held open: of the 1,024 a process often may have, three quarters stay for connections. It
is far above what is appended to at one time, and opening a file again costs some microseconds."""

HEAD_NAME: Final = "head"
NEW_HEAD_NAME: Final = "head.new"
BLOBS_NAME: Final = "blobs"

_DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class FilesystemMedium(Medium):
    """A directory, locked until `close`; or with `read_only` whatever is in it, locked or not.

    A reader of a directory in use sees what its owner has appended, and a name it was told of may
    be gone when it reads it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        read_only: bool = False,
        descriptors_max: int = DESCRIPTORS_MAX,
    ) -> None:
        """Open a directory, made where it is missing unless `read_only`.

        Raises DirectoryLocked, ReadFailed (it cannot be opened), MediumFailed (it cannot be made).
        """
        self._directory = str(directory)
        self._read_only = read_only
        self._closed = False
        self._failure = ""
        self._epoch = 0
        self._mutex = Lock()
        # Changes of the names in blobs/, counted; a process before may have left one not synced.
        self._name_changes = 1
        self._name_changes_synced = 0
        self._created_by_change: dict[str, int] = {}
        self._rooms: dict[str, Room] = {}
        self._beginning_room = Lock()
        """Held by appends to files without room, whose end must not move while room begins."""
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
        except OSError as error:
            self._close_root()
            raise ReadFailed(f"{directory / BLOBS_NAME}: {error.strerror}") from error
        except (DirectoryLocked, MediumFailed):
            self._close_root()
            raise
        flags = os.O_RDONLY if read_only else os.O_RDWR | os.O_APPEND
        self._files = Descriptors(self._blobs_fd, flags, descriptors_max, self._sync_for_room)

    # --- blobs ------------------------------------------------------------------------------

    def create(self, name: str) -> None:
        check_name(name)
        self._check_writable()
        try:
            with self._files.borrow(name, create=True), self._mutex:
                self._name_changes += 1
                self._created_by_change[name] = self._name_changes
        except FileExistsError:
            raise BlobExists(f"{self._path(name)} exists already") from None
        except OSError as error:
            raise self._not_done("create", name, error) from error

    def append(self, name: str, data: bytes) -> int:
        check_name(name)
        self._check_writable()
        with self._beginning_room:
            room = self._rooms.get(name)
            if room is None:
                return self._append_to_end(name, data)
        offset = room.end
        try:
            room.append(data)
        except OSError as error:
            if error.errno in NO_ROOM:
                self._take_back(name, room.cut)
            raise self._not_done("append to", name, error) from error
        return offset

    def _append_to_end(self, name: str, data: bytes) -> int:
        with self._writing("append to", name) as descriptor:
            offset = os.fstat(descriptor.fd).st_size
            descriptor.unsynced = True
            try:
                written = os.write(descriptor.fd, data)
                if written < len(data):
                    self._append_rest(descriptor.fd, memoryview(data)[written:])
            except OSError as error:
                if error.errno in NO_ROOM:
                    self._take_back(name, partial(os.ftruncate, descriptor.fd, offset))
                raise
        return offset

    def append_synced(self, name: str, data: bytes) -> int:
        check_name(name)
        self._check_writable()
        room = self._rooms.get(name)
        if room is not None and name not in self._created_by_change:
            offset = room.end
            try:
                if room.append_synced(data):
                    return offset
            except OSError as error:
                raise self._failed("append to", name, error) from error
        offset = self.append(name, data)
        self.sync(name)
        return offset

    def reserve(self, name: str, size: int) -> None:
        check_name(name)
        self._check_writable()
        try:
            fd = self._open_in_place(name)
            try:
                self._room(name).extend(fd, size, partial(self._sync_file, name, fd))
            finally:
                os.close(fd)
        except FileNotFoundError:
            raise NoSuchBlob(f"{self._path(name)} does not exist") from None
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise self._failed("write ahead in", name, error) from error

    def _room(self, name: str) -> Room:
        """The room behind a blob, which begins with none."""
        with self._beginning_room:
            room = self._rooms.get(name)
            if room is None:
                room = Room(self._open_in_place(name))
                self._rooms[name] = room
            return room

    def _open_in_place(self, name: str) -> int:
        return os.open(name, os.O_RDWR | os.O_CLOEXEC, dir_fd=self._blobs_fd)

    def sync(self, name: str) -> None:
        check_name(name)
        self._check_writable()
        room = self._rooms.get(name)
        if room is not None:
            self._sync_room(name, room)
        else:
            with self._writing("sync", name) as descriptor:
                self._sync_file(name, descriptor.fd)
                descriptor.unsynced = False
        with self._mutex:
            change = self._created_by_change.get(name, 1)
        if change > self._name_changes_synced:
            self._sync_names()

    def read(self, name: str, offset: int, size: int) -> bytes:
        check_name(name)
        check_range(offset, size)
        self._check_open()
        room = self._rooms.get(name)
        if room is not None:
            size = max(0, min(size, room.end - offset))
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
            raise self._unread(self._path(name), error) from error

    def size(self, name: str) -> int:
        check_name(name)
        self._check_open()
        room = self._rooms.get(name)
        if room is not None:
            return room.end
        try:
            return os.stat(name, dir_fd=self._blobs_fd).st_size
        except FileNotFoundError:
            raise NoSuchBlob(f"{self._path(name)} does not exist") from None
        except OSError as error:
            raise self._unread(self._path(name), error) from error

    def list(self) -> frozenset[str]:
        self._check_open()
        try:
            return frozenset(name for name in os.listdir(self._blobs_fd) if is_name(name))
        except OSError as error:
            raise self._unread(BLOBS_NAME, error) from error

    def delete(self, name: str) -> None:
        check_name(name)
        self._check_writable()
        try:
            os.unlink(name, dir_fd=self._blobs_fd)
        except FileNotFoundError:
            raise NoSuchBlob(f"{self._path(name)} does not exist") from None
        except OSError as error:
            raise self._failed("delete", name, error) from error
        self._files.drop(name)
        room = self._rooms.pop(name, None)
        if room is not None:
            os.close(room.fd)
        with self._mutex:
            self._name_changes += 1
            self._created_by_change.pop(name, None)

    # --- the head ---------------------------------------------------------------------------

    def read_head(self) -> tuple[int, bytes]:
        self._check_open()
        flags = os.O_RDONLY | os.O_CLOEXEC
        try:
            fd = os.open(HEAD_NAME, flags, dir_fd=self._root_fd)
        except FileNotFoundError:
            return 0, b""
        except OSError as error:
            raise self._unread(HEAD_NAME, error) from error
        try:
            data = os.pread(fd, HEADER_BYTES_MAX + 1, 0)
        except OSError as error:
            raise self._unread(HEAD_NAME, error) from error
        finally:
            os.close(fd)
        try:
            return decode_head(data)
        except Damaged as error:
            raise Damaged(f"{self._directory}/{HEAD_NAME}: {error}") from None
        except UnknownVersion as error:
            raise UnknownVersion(f"{self._directory}/{HEAD_NAME}: {error}") from None

    def write_head(self, expected_epoch: int, epoch: int, data: bytes) -> None:
        check_head(expected_epoch, epoch, data)
        self._check_not_failed()
        found, _ = self.read_head()
        if epoch == expected_epoch != self._epoch:
            raise LostEpoch(f"{self._directory}: not taken by this owner, or lost")
        if found != expected_epoch:
            self._epoch = 0
            raise LostEpoch(f"{self._directory}: the owner has epoch {found}, not {expected_epoch}")
        # Names first: who finds this head must not find what was deleted before it.
        if self._name_changes > self._name_changes_synced:
            self._sync_names()
        self._write_new_head(encode_head(epoch, data))
        try:
            os.rename(NEW_HEAD_NAME, HEAD_NAME, src_dir_fd=self._root_fd, dst_dir_fd=self._root_fd)
        except OSError as error:
            raise self._not_done("write", HEAD_NAME, error) from error
        self._sync_directory(HEAD_NAME, self._root_fd)
        self._epoch = epoch

    def _write_new_head(self, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        try:
            fd = os.open(NEW_HEAD_NAME, flags, 0o600, dir_fd=self._root_fd)
        except OSError as error:
            raise self._not_done("create", NEW_HEAD_NAME, error) from error
        try:
            self._append_rest(fd, memoryview(data))
        except OSError as error:
            os.close(fd)
            raise self._not_done("write", NEW_HEAD_NAME, error) from error
        try:
            self._sync_file(NEW_HEAD_NAME, fd)
        finally:
            os.close(fd)

    # --- the directory ----------------------------------------------------------------------

    def free_bytes(self) -> int:
        """What the file system leaves to this user; a quota or a limit of file sizes may be
        nearer."""
        self._check_open()
        try:
            status = os.fstatvfs(self._root_fd)
        except OSError as error:
            raise self._unread(self._directory, error) from error
        return status.f_bavail * status.f_frsize

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._files.close()
        for room in self._rooms.values():
            os.close(room.fd)
        os.close(self._blobs_fd)
        self._close_root()

    def _close_root(self) -> None:
        os.close(self._root_fd)
        if self._lock is not None:
            self._lock.close()

    def _make_directories(self, directory: Path) -> None:
        """Make what is missing of the path, each name durable before anything is put behind it."""
        blobs = directory / BLOBS_NAME
        missing = [path for path in (blobs, *blobs.parents) if not path.exists()]
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

    # --- errors, and what they leave --------------------------------------------------------

    @contextmanager
    def _writing(self, verb: str, name: str) -> Generator[Descriptor, None, None]:
        """A blob's descriptor, for a call that writes; its OSErrors are the medium's."""
        try:
            with self._files.borrow(name) as descriptor:
                # Making room for this descriptor may have found that the medium failed.
                self._check_writable()
                yield descriptor
        except FileNotFoundError:
            raise NoSuchBlob(f"{self._path(name)} does not exist") from None
        except OSError as error:
            raise self._not_done(verb, name, error) from error

    def _take_back(self, name: str, cut: Callable[[], None]) -> None:
        """Take back what an append had written before it found no room."""
        try:
            cut()
        except OSError as error:
            raise self._failed("cut", name, error) from error

    @staticmethod
    def _append_rest(fd: int, rest: memoryview) -> None:
        while rest:
            rest = rest[os.write(fd, rest) :]

    def _sync_names(self) -> None:
        """Make the names in blobs/ durable, as they are now."""
        with self._mutex:
            seen = self._name_changes
        self._sync_directory(BLOBS_NAME, self._blobs_fd)
        with self._mutex:
            self._name_changes_synced = max(self._name_changes_synced, seen)
            durable = [name for name, at in self._created_by_change.items() if at <= seen]
            for name in durable:
                del self._created_by_change[name]

    def _sync_file(self, name: str, fd: int) -> None:
        """Make bytes and size durable; no error of it leaves anything to believe."""
        try:
            os.fdatasync(fd)
        except OSError as error:
            raise self._failed("sync", name, error) from error

    def _sync_room(self, name: str, room: Room) -> None:
        """The same of a blob with room."""
        try:
            room.sync()
        except OSError as error:
            raise self._failed("sync", name, error) from error

    def _sync_directory(self, name: str, fd: int) -> None:
        """The same of the names in a directory."""
        try:
            os.fsync(fd)
        except OSError as error:
            raise self._failed("sync", name, error) from error

    def _sync_for_room(self, descriptor: Descriptor) -> None:
        """What Descriptors calls before it closes one with unsynced bytes."""
        if self._failure:
            return
        try:
            os.fdatasync(descriptor.fd)
        except OSError as error:
            self._failed("sync", descriptor.name, error)

    def _not_done(self, verb: str, name: str, error: OSError) -> MediumFull | MediumFailed:
        """What an error is when the call left nothing behind."""
        if error.errno in NO_ROOM:
            return MediumFull(f"no room to {verb} {self._path(name)}: {error.strerror}")
        return self._failed(verb, name, error)

    def _failed(self, verb: str, name: str, error: OSError) -> MediumFailed:
        """Remember that nothing more may be written, and why."""
        with self._mutex:
            if not self._failure:
                self._failure = f"cannot {verb} {self._path(name)}: {error.strerror}"
            return MediumFailed(self._failure)

    @staticmethod
    def _unread(name: str, error: OSError) -> ReadFailed:
        return ReadFailed(f"cannot read {name}: {error.strerror}")

    def _path(self, name: str) -> str:
        """A name in full, as an operator finds it."""
        if name in (HEAD_NAME, NEW_HEAD_NAME, BLOBS_NAME):
            return f"{self._directory}/{name}"
        return f"{self._directory}/{BLOBS_NAME}/{name}"

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError(f"{self._directory} was closed")

    def _check_not_failed(self) -> None:
        self._check_open()
        if self._read_only:
            raise LostEpoch(f"{self._directory} was opened for reading only")
        if self._failure:
            raise MediumFailed(self._failure)

    def _check_writable(self) -> None:
        self._check_not_failed()
        if self._epoch == 0:
            raise LostEpoch(f"{self._directory}: not taken by this owner, or lost")
