"""The disk space that the local directory sets aside, on a disk that is simulated."""

import errno
import os
from pathlib import Path
from typing import NamedTuple

import pytest

from leveret_storage.errors import DirectoryLocked, MediumFull
from leveret_storage.media import filesystem, gathering, head_file, reserve
from leveret_storage.media.filesystem import FilesystemMedium
from leveret_storage.media.io_errors import write_all

RESERVE_BYTES = 4_000_000
CAPACITY_BYTES = 20_000_000
MEGABYTE = 1_000_000


class Status(NamedTuple):
    """Of what statvfs returns, what the medium reads."""

    f_blocks: int
    f_bavail: int
    f_frsize: int = 1


class SmallDisk:
    """Has the files of a directory be on a disk of few bytes, as far as the medium sees."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.capacity_bytes = CAPACITY_BYTES
        self.others_bytes = 0
        self.can_allocate = True
        real_append, real_pwrite = gathering.append_parts, os.pwrite

        def append_parts(fd: int, parts: list[bytes]) -> None:
            self.need(sum(map(len, parts)))
            real_append(fd, parts)

        def write_head(fd: int, data: bytes | memoryview) -> None:
            self.need(len(data))
            write_all(fd, data)

        def allocate(fd: int, offset: int, size: int) -> None:
            if not self.can_allocate:
                raise OSError(errno.EOPNOTSUPP, "cannot allocate")
            self.need(offset + size - os.fstat(fd).st_size)
            os.ftruncate(fd, offset + size)

        def write_holder(fd: int, data: bytes, offset: int) -> int:
            self.need(len(data))
            return real_pwrite(fd, data, offset)

        patch.setattr(os, "pwrite", write_holder)
        patch.setattr(filesystem, "append_parts", append_parts)
        patch.setattr(head_file, "write_all", write_head)
        patch.setattr(os, "posix_fallocate", allocate)
        patch.setattr(os, "fstatvfs", lambda _fd: Status(self.capacity_bytes, self.free()))

    def free(self) -> int:
        used = sum(path.stat().st_size for path in self.directory.rglob("*") if path.is_file())
        return max(0, self.capacity_bytes - self.others_bytes - used)

    def need(self, size: int) -> None:
        if size > self.free():
            raise OSError(errno.ENOSPC, "no space")

    def reserve_bytes(self) -> int:
        path = self.directory / "reserve"
        return path.stat().st_size if path.exists() else 0

    def open(self, reserve_bytes: int = RESERVE_BYTES) -> FilesystemMedium:
        """A medium on it that is taken."""
        medium = FilesystemMedium(self.directory, reserve_bytes=reserve_bytes)
        epoch, _ = medium.read_head()
        medium.write_head(epoch, epoch + 1, b"head")
        return medium

    def fill(self, medium: FilesystemMedium) -> None:
        """Append until the medium is full."""
        medium.create("filling")
        while medium.free_bytes():
            medium.append("filling", bytes(MEGABYTE))


def append_for_ever(medium: FilesystemMedium) -> None:
    while True:
        medium.append("filling", bytes(MEGABYTE))


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallDisk:
    return SmallDisk(tmp_path, monkeypatch)


def test_an_owner_sets_disk_aside(disk: SmallDisk) -> None:
    medium = disk.open()
    assert disk.reserve_bytes() == RESERVE_BYTES
    assert medium.free_bytes() == disk.free() > 0
    assert medium.list() == medium.foreign_names() == frozenset()


def test_it_is_at_most_a_share_of_the_disk(disk: SmallDisk) -> None:
    disk.open(CAPACITY_BYTES)
    assert disk.reserve_bytes() == CAPACITY_BYTES // reserve.DISK_SHARE


def test_a_write_that_finds_no_space_takes_of_it_and_no_byte_counts_as_free(
    disk: SmallDisk,
) -> None:
    medium = disk.open()
    disk.others_bytes += disk.free()
    medium.create("log")
    assert medium.append("log", bytes(100)) == 0
    medium.sync("log")
    assert 0 < disk.reserve_bytes() < RESERVE_BYTES
    assert medium.free_bytes() == 0
    disk.others_bytes += disk.free()
    medium.write_head(1, 1, b"next")
    assert medium.read_head() == (1, b"next")


def test_nothing_is_preallocated_meanwhile(disk: SmallDisk) -> None:
    medium = disk.open()
    medium.create("log")
    disk.others_bytes += disk.free()
    medium.append("log", bytes(100))
    medium.preallocate("log", 1000)
    assert (disk.directory / "blobs" / "log").stat().st_size == 100


def test_it_is_made_again_when_there_is_space(disk: SmallDisk) -> None:
    medium = disk.open()
    disk.fill(medium)
    assert disk.reserve_bytes() < RESERVE_BYTES
    medium.delete("filling")
    assert medium.free_bytes() == disk.free() > 0
    assert disk.reserve_bytes() == RESERVE_BYTES


def test_a_process_leaves_some_of_it_to_the_next_which_starts_on_the_full_disk(
    disk: SmallDisk,
) -> None:
    medium = disk.open()
    disk.fill(medium)
    with pytest.raises(MediumFull):
        append_for_ever(medium)
    assert disk.reserve_bytes() == RESERVE_BYTES // reserve.LEFT_SHARE
    medium.close()
    disk.others_bytes += disk.free()

    medium = disk.open()
    assert medium.free_bytes() == 0
    medium.create("log")
    medium.append_synced("log", bytes(1000))
    assert 0 < disk.reserve_bytes() < RESERVE_BYTES // reserve.LEFT_SHARE
    disk.others_bytes = 0
    medium.delete("filling")
    assert medium.free_bytes() > 0
    assert disk.reserve_bytes() == RESERVE_BYTES


def test_the_lock_is_taken_though_there_is_no_space_to_name_its_holder(disk: SmallDisk) -> None:
    disk.open().close()
    (disk.directory / "lock").unlink()
    disk.others_bytes += disk.free()
    medium = disk.open()
    with pytest.raises(DirectoryLocked, match="in use by another process"):
        disk.open()
    medium.close()


def test_without_one_a_full_disk_refuses(disk: SmallDisk) -> None:
    disk.open().close()
    medium = disk.open(0)
    assert disk.reserve_bytes() == 0
    medium.create("log")
    disk.others_bytes += disk.free()
    with pytest.raises(MediumFull):
        medium.append("log", bytes(100))


def test_a_file_system_that_cannot_allocate_is_used_without_one(disk: SmallDisk) -> None:
    disk.can_allocate = False
    medium = disk.open()
    assert medium.free_bytes() == disk.free() > 0


def test_a_reader_leaves_it_alone(disk: SmallDisk) -> None:
    disk.open().close()
    FilesystemMedium(disk.directory, read_only=True).close()
    FilesystemMedium(disk.directory).close()
    assert disk.reserve_bytes() == RESERVE_BYTES
