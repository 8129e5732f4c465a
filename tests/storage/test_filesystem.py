"""The local directory: what it asks of the system, and what it makes of the system's refusals."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from leveret_storage.errors import (
    MediumFailed,
    MediumFull,
    ReadFailed,
)
from leveret_storage.media.filesystem import FilesystemMedium
from leveret_storage.media.gathering import PARTS_MAX
from tests.storage.owning import content, put, take


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "data"


def opened(directory: Path, descriptors_max: int = 8) -> FilesystemMedium:
    """Open and taken."""
    medium = FilesystemMedium(directory, descriptors_max=descriptors_max)
    take(medium)
    return medium


needs_write_and_sync_in_one = pytest.mark.skipif(
    not hasattr(os, "RWF_DSYNC"), reason="this system cannot write and sync in one call"
)


class SyncCalls:
    """Which files were synced and renamed, in order; the calls themselves are made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
        self.made: list[str] = []
        self._directory = directory
        real_fsync, real_fdatasync, real_rename = os.fsync, os.fdatasync, os.rename
        real_pwritev = getattr(os, "pwritev", None)

        def fsync(fd: int) -> None:
            self.made.append(f"fsync {self._path(fd)}")
            real_fsync(fd)

        def fdatasync(fd: int) -> None:
            self.made.append(f"fdatasync {self._path(fd)}")
            real_fdatasync(fd)

        def rename(old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
            self.made.append(f"rename {old} {new}")
            real_rename(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

        def pwritev(fd: int, buffers: list[bytes], offset: int, flags: int = 0) -> int:
            assert real_pwritev is not None
            if flags & os.RWF_DSYNC:
                self.made.append(f"write and sync {self._path(fd)}")
            written: int = real_pwritev(fd, buffers, offset, flags)
            return written

        monkeypatch.setattr(os, "pwritev", pwritev, raising=False)
        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "fdatasync", fdatasync)
        monkeypatch.setattr(os, "rename", rename)

    def _path(self, fd: int) -> str:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        return str(path.relative_to(self._directory))

    def take(self) -> list[str]:
        made, self.made = self.made, []
        return made


class TestDurability:
    """No test can take the power away, so these hold the calls that make things durable."""

    def test_the_first_sync_of_a_blob_makes_its_name_durable_too(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        medium = opened(directory)
        calls = SyncCalls(monkeypatch, directory)
        medium.create("a")
        medium.append("a", b"1")
        assert calls.take() == []
        medium.sync("a")
        assert calls.take() == ["fdatasync blobs/a", "fsync blobs"]
        medium.append("a", b"2")
        medium.sync("a")
        assert calls.take() == ["fdatasync blobs/a"]
        medium.close()

    @needs_write_and_sync_in_one
    def test_what_fits_into_the_preallocated_tail_is_written_and_synced_in_one_call(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        medium = opened(directory)
        put(medium, "a", b"1")
        calls = SyncCalls(monkeypatch, directory)
        medium.preallocate("a", 10)
        assert calls.take() == ["fdatasync blobs/a"]
        medium.append_synced("a", b"not all was synced before")
        assert calls.take() == ["fdatasync blobs/a"]
        medium.preallocate("a", 10)
        calls.take()
        medium.append_synced("a", b"1234")
        assert calls.take() == ["write and sync blobs/a"]
        medium.append("a", b"5")
        medium.append_synced("a", b"6")
        assert calls.take() == ["fdatasync blobs/a"]
        medium.append_synced("a", b"7890")
        assert calls.take() == ["write and sync blobs/a"]
        medium.append_synced("a", b"this does not fit into it")
        assert calls.take() == ["fdatasync blobs/a"]
        assert (
            content(medium, "a") == b"1not all was synced before1234567890this does not fit into it"
        )
        medium.close()

    def test_preallocation_in_a_blob_never_synced_does_not_make_its_name_durable(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        medium = opened(directory)
        medium.create("a")
        medium.preallocate("a", 10)
        calls = SyncCalls(monkeypatch, directory)
        medium.append_synced("a", b"1")
        assert calls.take() == ["fdatasync blobs/a", "fsync blobs"]
        medium.close()

    def test_a_system_that_cannot_write_and_sync_in_one_call_does_both(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        medium = opened(directory)
        put(medium, "a", b"1")
        medium.preallocate("a", 100)
        calls = SyncCalls(monkeypatch, directory)

        write = os.pwritev

        def refuse(fd: int, parts: list[bytes], offset: int, flags: int = 0) -> int:
            if flags:
                raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
            return write(fd, parts, offset)

        monkeypatch.setattr(os, "pwritev", refuse)
        medium.append_synced("a", b"2")
        medium.append_synced("a", b"3")
        assert calls.take() == ["fdatasync blobs/a"] * 2
        assert content(medium, "a") == b"123"
        medium.close()

    def test_what_an_earlier_process_left_is_made_durable_by_the_next_one(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = opened(directory)
        first.create("a")
        first.append("a", b"1")
        first.close()
        medium = FilesystemMedium(directory)
        calls = SyncCalls(monkeypatch, directory)
        take(medium)
        assert calls.take()[:2] == ["fsync blobs", "fdatasync head.new"]
        medium.sync("a")
        assert calls.take() == ["fdatasync blobs/a"]
        medium.close()

    def test_a_head_is_synced_before_it_has_its_name_and_after(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        medium = opened(directory)
        calls = SyncCalls(monkeypatch, directory)
        medium.write_head(1, 1, b"data")
        assert calls.take() == ["fdatasync head.new", "rename head.new head", "fsync ."]
        medium.close()

    def test_a_head_is_written_when_the_deletions_before_it_are_durable(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        medium = opened(directory)
        put(medium, "a", b"1")
        medium.delete("a")
        calls = SyncCalls(monkeypatch, directory)
        medium.write_head(1, 1, b"data")
        assert calls.take()[:2] == ["fsync blobs", "fdatasync head.new"]
        medium.close()

    def test_every_directory_made_is_synced_into_its_parent(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = SyncCalls(monkeypatch, tmp_path)
        FilesystemMedium(tmp_path / "some" / "where").close()
        assert calls.take() == ["fsync .", "fsync some", "fsync some/where"]


class TestFailure:
    def test_after_a_failed_sync_nothing_is_written_any_more(self, directory: Path) -> None:
        """A pipe can be written to and not be synced, on every system."""
        medium = opened(directory)
        put(medium, "a", b"1")
        os.mkfifo(directory / "blobs" / "pipe")
        medium.append("pipe", b"1")
        with pytest.raises(MediumFailed, match=r"cannot sync .*/blobs/pipe: Invalid argument"):
            medium.sync("pipe")
        for change in (
            lambda: medium.create("b"),
            lambda: medium.append("a", b"2"),
            lambda: medium.sync("a"),
            lambda: medium.delete("a"),
            lambda: medium.write_head(1, 1, b""),
        ):
            with pytest.raises(MediumFailed, match=r"cannot sync .*/blobs/pipe"):
                change()
        assert content(medium, "a") == b"1"
        assert medium.read_head() == (1, b"")
        medium.close()

    def test_a_failed_sync_of_an_evicted_descriptor_ends_the_medium(self, directory: Path) -> None:
        medium = opened(directory, descriptors_max=1)
        put(medium, "a", b"1")
        os.mkfifo(directory / "blobs" / "pipe")
        medium.append("pipe", b"1")
        assert medium.read("a", 0, 9) == b"1"
        with pytest.raises(MediumFailed, match=r"cannot sync .*/blobs/pipe"):
            medium.append("a", b"2")
        assert content(medium, "a") == b"1"
        medium.close()

    def test_an_append_is_not_made_when_the_eviction_for_it_failed(self, directory: Path) -> None:
        medium = opened(directory, descriptors_max=1)
        put(medium, "a", b"1")
        os.mkfifo(directory / "blobs" / "pipe")
        medium.append("pipe", b"1")
        with pytest.raises(MediumFailed, match=r"cannot sync .*/blobs/pipe"):
            medium.append("a", b"2")
        assert content(medium, "a") == b"1"
        medium.close()

    @needs_write_and_sync_in_one
    @pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
    def test_a_failure_of_writing_and_syncing_in_one_call_ends_the_medium(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        medium = opened(directory)
        put(medium, "a", b"1")
        medium.preallocate("a", 100)
        medium.append_synced("a", b"2")

        def fail(*_: object) -> int:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(os, "pwritev", fail)
            with pytest.raises(MediumFailed, match=os.strerror(number)):
                medium.append_synced("a", b"3")
        with pytest.raises(MediumFailed, match=os.strerror(number)):
            medium.append_synced("a", b"3")
        medium.close()

    def test_a_preallocation_that_cannot_be_synced_ends_the_medium(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        medium = opened(directory)
        put(medium, "a", b"1")

        def fail(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", fail)
            with pytest.raises(MediumFailed, match="cannot sync"):
                medium.preallocate("a", 100)
        with pytest.raises(MediumFailed, match="cannot sync"):
            medium.append("a", b"2")
        medium.close()

    def test_on_a_full_disk_nothing_is_preallocated_and_appends_go_on(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        medium = opened(directory)
        put(medium, "a", b"1")

        def refuse(*_: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "pwritev", refuse)
            medium.preallocate("a", 100)
            with pytest.raises(MediumFull):
                medium.append("a", b"2")
        assert medium.append_synced("a", b"3") == 1
        assert content(medium, "a") == b"13"
        medium.close()

    def test_what_cannot_be_read_ends_nothing(self, directory: Path) -> None:
        medium = opened(directory)
        put(medium, "a", b"1")
        os.mkfifo(directory / "blobs" / "pipe")
        with pytest.raises(ReadFailed, match=r"cannot read .*/blobs/pipe: Illegal seek"):
            medium.read("pipe", 0, 1)
        assert medium.append("a", b"2") == 1
        medium.close()

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
    def test_a_head_on_a_full_disk_leaves_the_old_one(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        medium = opened(directory)

        def refuse(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", refuse)
            with pytest.raises(MediumFull, match=os.strerror(number)):
                medium.write_head(1, 1, b"new")
        assert medium.read_head() == (1, b"")
        medium.write_head(1, 1, b"new")
        assert medium.read_head() == (1, b"new")
        medium.close()

    def test_a_write_that_takes_less_than_it_was_given_is_gone_on_with(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        medium = opened(directory)
        medium.create("a")
        monkeypatch.setattr(os, "writev", lambda fd, parts: os.write(fd, parts[0][:3]))
        monkeypatch.setattr(
            os, "pwritev", lambda fd, parts, offset, flags=0: os.pwrite(fd, parts[0][:3], offset)
        )
        assert medium.append("a", b"0123456789") == 0
        medium.sync("a")
        medium.preallocate("a", 100)
        assert medium.append_synced("a", [b"abcd", b"", b"efghij"]) == 10
        assert medium.append("a", [b"klmno", b"p"]) == 20
        assert content(medium, "a") == b"0123456789abcdefghijklmnop"
        medium.close()

    def test_more_parts_than_the_system_takes_at_once_are_written(self, directory: Path) -> None:
        medium = opened(directory)
        put(medium, "a", b"")
        parts = [str(number % 10).encode() for number in range(3 * PARTS_MAX + 1)]
        medium.append("a", parts)
        medium.sync("a")
        medium.preallocate("a", 3 * len(parts))
        medium.append_synced("a", parts)
        medium.append("a", parts)
        assert content(medium, "a") == 3 * b"".join(parts)
        medium.close()


FILL_UP = """
import resource, sys
from pathlib import Path
from leveret_storage.errors import MediumFull
from leveret_storage.media.filesystem import FilesystemMedium

medium = FilesystemMedium(Path(sys.argv[1]))
medium.write_head(0, 1, b"")
medium.create("a")
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
for number in range(3):
    medium.append("a", bytes([number]) * 4_000 if number < 2 else b"x" * 1_000)
for attempt in range(2):
    try:
        medium.append("a", b"y" * 4_000)
    except MediumFull as error:
        print(error)
    print(medium.size("a"))
medium.append("a", b"z" * 500)
medium.sync("a")
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
print(medium.append("a", b"y" * 4_000))
medium.sync("a")
"""


class TestFullDisk:
    def test_a_refused_append_leaves_nothing_and_succeeds_once_there_is_space(
        self, directory: Path
    ) -> None:
        """Nothing simulated: the kernel takes a part of the append and refuses the rest."""
        done = subprocess.run(
            [sys.executable, "-c", FILL_UP, str(directory)], capture_output=True, text=True
        )
        assert done.stderr == ""
        full = f"no space to append to {directory}/blobs/a: File too large"
        assert done.stdout.splitlines() == [full, "9000", full, "9000", "9500"]
        medium = FilesystemMedium(directory)
        parts = (b"\0" * 4_000, b"\1" * 4_000, b"x" * 1_000, b"z" * 500, b"y" * 4_000)
        assert content(medium, "a") == b"".join(parts)
        medium.close()
