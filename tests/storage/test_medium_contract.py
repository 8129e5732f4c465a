"""What medium.py says of its calls, held against every medium there is, when nothing goes wrong."""

from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

from leveret.testing.fillable_medium import FillableMedium
from leveret_storage.errors import BlobExists, LostEpoch, NoSuchBlob, StorageError
from leveret_storage.media.filesystem import FilesystemMedium
from leveret_storage.media.postgres.opening import open_postgres
from leveret_storage.medium import EPOCH_MAX, HEAD_BYTES_MAX, NAME_BYTES_MAX, Medium
from tests.storage.faulty import FaultyMedium
from tests.storage.owning import content, put, take
from tests.support.postgres import new_location


class Disk:
    """One medium, that one process after another opens."""

    def __init__(self, first: Callable[[], Medium], following: Callable[[Medium], Medium]) -> None:
        self._following = following
        self.medium = first()

    def restart(self) -> Medium:
        """The process ends and another one opens the medium."""
        self.medium = self._following(self.medium)
        return self.medium


def filesystem(directory: Path) -> Disk:
    def following(medium: Medium) -> Medium:
        medium.close()
        return FilesystemMedium(directory)

    return Disk(lambda: FilesystemMedium(directory), following)


def faulty(_: Path) -> Disk:
    def following(medium: Medium) -> Medium:
        assert isinstance(medium, FaultyMedium)
        return medium.kill()

    return Disk(lambda: FaultyMedium(seed=1), following)


def fillable(directory: Path) -> Disk:
    def following(medium: Medium) -> Medium:
        medium.close()
        return FillableMedium(FilesystemMedium(directory))

    return Disk(lambda: FillableMedium(FilesystemMedium(directory)), following)


def in_postgres(location: str) -> Disk:
    def following(medium: Medium) -> Medium:
        medium.close()
        return open_postgres(location)

    return Disk(lambda: open_postgres(location), following)


IN_A_DIRECTORY = {"filesystem": filesystem, "faulty": faulty, "fillable, not full": fillable}


@pytest.fixture(params=[*IN_A_DIRECTORY, "postgres"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    if request.param == "postgres":
        disk = in_postgres(new_location(request.getfixturevalue("postgres")))
    else:
        disk = IN_A_DIRECTORY[request.param](tmp_path / "data")
    yield disk
    disk.medium.close()


@pytest.fixture
def medium(disk: Disk) -> Medium:
    """Taken, with nothing in it."""
    take(disk.medium)
    return disk.medium


class TestBlobs:
    def test_a_created_blob_is_empty_and_listed(self, medium: Medium) -> None:
        medium.create("a")
        assert medium.list() == {"a"}
        assert medium.size("a") == 0
        assert medium.read("a", 0, 10) == b""

    def test_appends_follow_each_other_and_return_where_they_begin(self, medium: Medium) -> None:
        medium.create("a")
        assert medium.append("a", b"one") == 0
        assert medium.append("a", b"") == 3
        assert medium.append("a", b"two") == 3
        assert content(medium, "a") == b"onetwo"

    def test_a_read_returns_the_range_and_less_only_at_the_end(self, medium: Medium) -> None:
        put(medium, "a", b"0123456789")
        assert medium.read("a", 0, 4) == b"0123"
        assert medium.read("a", 3, 4) == b"3456"
        assert medium.read("a", 8, 4) == b"89"
        assert medium.read("a", 10, 4) == b""
        assert medium.read("a", 99, 4) == b""
        assert medium.read("a", 3, 0) == b""

    def test_an_append_with_its_sync_is_an_append(self, medium: Medium) -> None:
        medium.create("a")
        assert medium.append_synced("a", b"one") == 0
        assert medium.append("a", b"two") == 3
        assert medium.append_synced("a", b"three") == 6
        assert content(medium, "a") == b"onetwothree"

    def test_an_append_at_once_is_a_whole_one_or_none(self, medium: Medium) -> None:
        put(medium, "a", b"one")
        answers: SimpleQueue[StorageError | None] = SimpleQueue()
        if medium.append_synced_at_once("a", b"two", answers.put):
            if isinstance(medium, FaultyMedium):
                medium.answer(0)
            assert answers.get() is None
        else:
            assert answers.empty()
            assert medium.append_synced("a", b"two") == 3
        assert medium.append_synced("a", b"three") == 6
        assert content(medium, "a") == b"onetwothree"

    def test_no_append_at_once_to_what_is_not_there(self, medium: Medium) -> None:
        assert not medium.append_synced_at_once("a", b"one", lambda _: None)
        put(medium, "a", b"one")
        medium.delete("a")
        assert not medium.append_synced_at_once("a", b"two", lambda _: None)
        assert medium.list() == frozenset()

    def test_preallocation_changes_nothing_of_what_a_blob_holds(self, medium: Medium) -> None:
        put(medium, "a", b"one")
        medium.preallocate("a", 8)
        assert content(medium, "a") == b"one"
        assert medium.read("a", 2, 100) == b"e"
        assert medium.append_synced("a", b"two") == 3
        assert medium.append("a", b"longer than the tail") == 6
        medium.sync("a")
        medium.preallocate("a", 100)
        assert medium.append_synced("a", b"three") == 26
        assert content(medium, "a") == b"onetwolonger than the tailthree"

    def test_behind_a_preallocated_blob_the_next_process_finds_zeros(self, disk: Disk) -> None:
        take(disk.medium)
        put(disk.medium, "a", b"one")
        disk.medium.preallocate("a", 100)
        disk.medium.append_synced("a", b"two")
        medium = disk.restart()
        assert content(medium, "a").rstrip(b"\0") == b"onetwo"
        assert medium.size("a") <= 103

    def test_a_name_may_be_used_again_by_a_blob_without_preallocation(self, medium: Medium) -> None:
        put(medium, "a", b"one")
        medium.preallocate("a", 100)
        medium.delete("a")
        put(medium, "a", b"two")
        assert content(medium, "a") == b"two"

    def test_an_append_of_many_pages_is_read_back_whole(self, medium: Medium) -> None:
        data = bytes(range(256)) * 40_000
        put(medium, "a", data)
        assert content(medium, "a") == data

    def test_a_deleted_blob_is_gone_and_its_neighbours_are_not(self, medium: Medium) -> None:
        put(medium, "a", b"1")
        put(medium, "b", b"2")
        medium.delete("a")
        assert medium.list() == {"b"}
        assert content(medium, "b") == b"2"

    def test_no_call_but_create_knows_a_blob_that_is_not_there(self, medium: Medium) -> None:
        calls: list[Callable[[], object]] = [
            lambda: medium.append("a", b"1"),
            lambda: medium.append_synced("a", b"1"),
            lambda: medium.preallocate("a", 1),
            lambda: medium.sync("a"),
            lambda: medium.read("a", 0, 1),
            lambda: medium.size("a"),
            lambda: medium.delete("a"),
        ]
        for call in calls:
            with pytest.raises(NoSuchBlob):
                call()
        assert medium.list() == frozenset()

    def test_a_blob_is_not_created_over_another(self, medium: Medium) -> None:
        put(medium, "a", b"1")
        with pytest.raises(BlobExists):
            medium.create("a")
        assert content(medium, "a") == b"1"

    @pytest.mark.parametrize(
        "name", ["", ".", "..", ".a", "-a", "a/b", "/a", "A", "ä", "a b", "a\0", "a\n", "a" * 101]
    )
    def test_a_name_outside_the_alphabet_is_refused(self, medium: Medium, name: str) -> None:
        with pytest.raises(ValueError, match="not the name of a blob"):
            medium.create(name)
        with pytest.raises(ValueError, match="not the name of a blob"):
            medium.read(name, 0, 1)

    @pytest.mark.parametrize("name", ["a", "0", "queue-1.segment_2", "a" * NAME_BYTES_MAX])
    def test_a_name_of_the_alphabet_is_taken(self, medium: Medium, name: str) -> None:
        medium.create(name)
        assert medium.list() == {name}

    def test_a_negative_range_is_refused(self, medium: Medium) -> None:
        medium.create("a")
        for offset, size in ((-1, 1), (0, -1)):
            with pytest.raises(ValueError, match="no range"):
                medium.read("a", offset, size)

    def test_a_small_blob_fits(self, medium: Medium) -> None:
        assert medium.free_bytes() > 1000


class TestHead:
    def test_a_new_medium_has_an_empty_head_of_epoch_0(self, disk: Disk) -> None:
        assert disk.medium.read_head() == (0, b"")

    def test_the_head_is_what_was_written_last(self, disk: Disk) -> None:
        medium = disk.medium
        medium.write_head(0, 1, b"one")
        assert medium.read_head() == (1, b"one")
        medium.write_head(1, 1, b"two")
        assert medium.read_head() == (1, b"two")
        medium.write_head(1, EPOCH_MAX, b"x" * HEAD_BYTES_MAX)
        assert medium.read_head() == (EPOCH_MAX, b"x" * HEAD_BYTES_MAX)

    def test_an_unexpected_epoch_is_refused_and_the_head_kept(self, disk: Disk) -> None:
        disk.medium.write_head(0, 5, b"five")
        for expected in (0, 4, 6):
            with pytest.raises(LostEpoch):
                disk.medium.write_head(expected, 7, b"seven")
            assert disk.medium.read_head() == (5, b"five")

    def test_a_second_owner_needs_an_epoch_of_its_own(self, disk: Disk) -> None:
        disk.medium.write_head(0, 1, b"one")
        medium = disk.restart()
        with pytest.raises(LostEpoch):
            medium.write_head(1, 1, b"two")
        assert medium.read_head() == (1, b"one")

    @pytest.mark.parametrize(
        ("expected", "epoch", "data"),
        [(0, 0, b""), (2, 1, b""), (-1, 1, b""), (0, EPOCH_MAX + 1, b""), (0, 1, b"x" * 4001)],
    )
    def test_what_can_be_no_head_is_refused(
        self, disk: Disk, expected: int, epoch: int, data: bytes
    ) -> None:
        with pytest.raises(ValueError, match=r"epoch|head"):
            disk.medium.write_head(expected, epoch, data)
        assert disk.medium.read_head() == (0, b"")


class TestSetAside:
    def test_what_was_set_aside_is_no_blob_and_may_be_replaced(self, medium: Medium) -> None:
        put(medium, "a", b"1")
        where = medium.set_aside("a", b"damaged")
        assert medium.set_aside("a", b"damaged as well") == where
        assert medium.list() == {"a"}
        assert content(medium, "a") == b"1"

    def test_a_head_that_was_set_aside_is_gone_and_its_owner_writes_nothing(
        self, medium: Medium
    ) -> None:
        put(medium, "a", b"1")
        medium.set_head_aside("head-0.bin")
        assert medium.read_head() == (0, b"")
        with pytest.raises(LostEpoch):
            medium.append("a", b"2")
        assert take(medium) == 1
        assert medium.append("a", b"2") == 1


class TestOwner:
    def changes(self, medium: Medium) -> list[Callable[[], object]]:
        return [
            lambda: medium.create("b"),
            lambda: medium.append("a", b"2"),
            lambda: medium.append_synced("a", b"2"),
            lambda: medium.preallocate("a", 1),
            lambda: medium.sync("a"),
            lambda: medium.delete("a"),
            lambda: medium.set_aside("b", b"2"),
        ]

    def test_who_has_not_taken_the_medium_only_reads(self, disk: Disk) -> None:
        take(disk.medium)
        put(disk.medium, "a", b"1")
        medium = disk.restart()
        for change in self.changes(medium):
            with pytest.raises(LostEpoch):
                change()
        assert medium.list() == {"a"}
        assert content(medium, "a") == b"1"

    def test_who_lost_the_head_writes_nothing_any_more(self, disk: Disk) -> None:
        medium = disk.medium
        take(medium)
        put(medium, "a", b"1")
        with pytest.raises(LostEpoch):
            medium.write_head(77, 78, b"")
        for change in self.changes(medium):
            with pytest.raises(LostEpoch):
                change()
        assert content(medium, "a") == b"1"

    def test_the_next_owner_finds_everything_and_goes_on(self, disk: Disk) -> None:
        assert take(disk.medium, b"mine") == 1
        put(disk.medium, "a", b"1")
        disk.medium.append("a", b"2")
        medium = disk.restart()
        assert medium.read_head() == (1, b"mine")
        assert content(medium, "a") == b"12"
        assert take(medium) == 2
        assert medium.append("a", b"3") == 2
        assert content(medium, "a") == b"123"

    def test_a_closed_handle_is_of_no_use(self, disk: Disk) -> None:
        disk.medium.close()
        disk.medium.close()
        with pytest.raises(ValueError, match="closed"):
            disk.medium.list()
        with pytest.raises(ValueError, match="closed"):
            disk.medium.write_head(0, 1, b"")
