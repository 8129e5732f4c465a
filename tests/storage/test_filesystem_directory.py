"""The local directory: its descriptors, its files, and readers of a directory in use."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from leveret_storage.errors import (
    Damaged,
    LostEpoch,
    MediumFailed,
    NoSuchBlob,
    ReadFailed,
    UnknownFormat,
)
from leveret_storage.media.filesystem import FilesystemMedium
from tests.storage.owning import content, put, take
from tests.storage.test_filesystem import SyncCalls, opened


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "data"


class TestDescriptors:
    def files_open(self) -> int:
        return len(os.listdir("/proc/self/fd"))

    def test_many_blobs_are_written_and_read_through_few_descriptors(self, directory: Path) -> None:
        medium = opened(directory, descriptors_max=4)
        before = self.files_open()
        names = [f"blob-{number}" for number in range(50)]
        for name in names:
            medium.create(name)
        most = 0
        for turn in (b"one", b"two"):
            for name in names:
                medium.append(name, name.encode() + turn)
                most = max(most, self.files_open())
        for name in names:
            assert content(medium, name) == f"{name}one{name}two".encode()
            medium.sync(name)
            most = max(most, self.files_open())
        assert most <= before + 4
        medium.close()

    def test_unsynced_bytes_are_synced_before_their_descriptor_is_closed(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        medium = opened(directory, descriptors_max=1)
        medium.create("a")
        calls = SyncCalls(monkeypatch, directory)
        medium.append("a", b"1")
        medium.create("b")
        assert calls.take() == ["fdatasync blobs/a"]
        medium.create("c")
        assert calls.take() == []
        medium.close()

    def test_more_readers_than_descriptors_all_get_their_bytes(self, directory: Path) -> None:
        medium = opened(directory, descriptors_max=2)
        names = [f"blob-{number}" for number in range(12)]
        for name in names:
            put(medium, name, name.encode() * 1000)
        before = self.files_open()

        def read_all(turn: int) -> int:
            for number in range(200):
                name = names[(number * turn) % len(names)]
                assert content(medium, name) == name.encode() * 1000
            return self.files_open()

        with ThreadPoolExecutor(max_workers=6) as readers:
            open_then = list(readers.map(read_all, range(1, 7)))
        # Each thread also has the listing of the directory open while it counts.
        assert max(open_then) <= before + 6
        medium.close()

    def test_deleting_gives_the_descriptor_back(self, directory: Path) -> None:
        medium = opened(directory)
        before = self.files_open()
        put(medium, "a", b"1")
        assert self.files_open() == before + 1
        medium.delete("a")
        assert self.files_open() == before
        medium.close()

    def test_deleting_and_closing_release_preallocated_files(self, directory: Path) -> None:
        before = self.files_open()
        medium = opened(directory)
        for name in ("a", "b"):
            put(medium, name, b"1")
            medium.preallocate(name, 10)
        medium.delete("a")
        medium.close()
        assert self.files_open() == before

    def test_closing_gives_everything_back(self, directory: Path) -> None:
        before = self.files_open()
        medium = opened(directory)
        put(medium, "a", b"1")
        medium.close()
        assert self.files_open() == before

    def test_a_failed_opening_gives_everything_back(self, tmp_path: Path) -> None:
        before = self.files_open()
        (tmp_path / "lock").mkdir()
        with pytest.raises(MediumFailed, match="no lock file"):
            FilesystemMedium(tmp_path)
        with pytest.raises(ReadFailed):
            FilesystemMedium(tmp_path / "nowhere", read_only=True)
        assert self.files_open() == before


class TestDirectory:
    def test_files_that_are_no_blobs_are_left_alone(self, directory: Path) -> None:
        medium = opened(directory)
        foreign = directory / "blobs" / ".nfs0001"
        foreign.write_text("not ours")
        put(medium, "a", b"1")
        assert medium.list() == {"a"}
        assert foreign.read_text() == "not ours"
        medium.close()

    def test_what_is_in_it_is_for_its_owner_alone(self, directory: Path) -> None:
        medium = opened(directory)
        put(medium, "a", b"1")
        medium.close()
        for path in (directory, *directory.rglob("*")):
            assert path.stat().st_mode & 0o077 == 0, path

    def test_a_directory_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        long = "x" * 300
        with pytest.raises(MediumFailed, match=f"{long} cannot be reached: File name too long"):
            FilesystemMedium(tmp_path / long)
        with pytest.raises(MediumFailed, match="file/data cannot be made: Not a directory"):
            FilesystemMedium(tmp_path / "file" / "data")

    def test_a_head_begun_and_not_finished_does_not_count(self, directory: Path) -> None:
        medium = opened(directory)
        medium.write_head(1, 1, b"good")
        medium.close()
        (directory / "head.new").write_bytes(b"LEVERET\n\0\1 and then the power went")
        medium = FilesystemMedium(directory)
        assert medium.read_head() == (1, b"good")
        take(medium, b"next")
        assert medium.read_head() == (2, b"next")
        medium.close()

    def test_every_flipped_bit_and_every_cut_of_a_head_is_found(self, directory: Path) -> None:
        medium = opened(directory)
        medium.write_head(1, 1, b"data")
        path = directory / "head"
        good = path.read_bytes()
        spoilt = [good[:size] for size in range(len(good))] + [good + b"\0"]
        number = int.from_bytes(good, "big")
        spoilt += [(number ^ 1 << bit).to_bytes(len(good), "big") for bit in range(8 * len(good))]
        for data in spoilt:
            path.write_bytes(data)
            with pytest.raises(Damaged, match="data/head: "):
                medium.read_head()
        medium.close()

    def test_a_head_of_a_later_version_is_refused_by_name(self, directory: Path) -> None:
        medium = opened(directory)
        (directory / "head").write_bytes(HEAD_OF_VERSION_4)
        with pytest.raises(
            UnknownFormat, match="data/head: offset 8: written in format version 4;"
        ):
            medium.read_head()
        with pytest.raises(UnknownFormat):
            medium.write_head(1, 1, b"")
        assert (directory / "head").read_bytes() == HEAD_OF_VERSION_4
        medium.close()


class TestSetAside:
    def test_what_was_set_aside_is_in_a_file_of_its_own(self, directory: Path) -> None:
        medium = opened(directory)
        where = medium.set_aside("a-7.bin", b"damaged")
        assert where == f"{directory}/salvaged/a-7.bin"
        assert Path(where).read_bytes() == b"damaged"
        medium.close()

    def test_a_head_that_cannot_be_read_can_be_set_aside_by_who_has_not_taken_it(
        self, directory: Path
    ) -> None:
        opened(directory).close()
        (directory / "head").write_bytes(b"no head")
        medium = FilesystemMedium(directory)
        where = medium.set_head_aside("head-0.bin")
        assert Path(where).read_bytes() == b"no head"
        assert not (directory / "head").exists()
        assert take(medium) == 1
        medium.close()


class TestReadOnly:
    def test_a_directory_in_use_can_be_read_and_not_written(self, directory: Path) -> None:
        owner = opened(directory)
        put(owner, "a", b"1")
        reader = FilesystemMedium(directory, read_only=True)
        owner.append("a", b"2")
        assert content(reader, "a") == b"12"
        assert reader.read_head() == (1, b"")
        for change in (
            lambda: reader.append("a", b"3"),
            lambda: reader.create("b"),
            lambda: reader.sync("a"),
            lambda: reader.delete("a"),
            lambda: reader.write_head(1, 2, b""),
        ):
            with pytest.raises(LostEpoch, match="opened for reading only"):
                change()
        owner.delete("a")
        with pytest.raises(NoSuchBlob):
            reader.size("a")
        reader.close()
        owner.close()

    def test_nothing_is_made_for_a_reader(self, tmp_path: Path) -> None:
        with pytest.raises(ReadFailed, match="No such file"):
            FilesystemMedium(tmp_path / "data", read_only=True)
        assert list(tmp_path.iterdir()) == []


HEAD_OF_VERSION_4 = bytes.fromhex("4c4556455245540a 0004 0019 a56291e8 01 0000000000000001")
