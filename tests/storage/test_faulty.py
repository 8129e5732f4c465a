"""The faulty medium keeps its own promises, breaks everything it may break, and repeats itself."""

from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from leveret_storage.errors import LostEpoch, MediumFailed, MediumFull, ReadFailed
from tests.storage.faulty import Crashed, Fault, FaultyMedium
from tests.storage.owning import content, put, take

SEEDS = range(300)


def taken(seed: int, faults: dict[int, Fault] | None = None) -> FaultyMedium:
    """A medium with its owner: the two calls of taking it are the first two."""
    medium = FaultyMedium(seed, faults=faults)
    take(medium)
    return medium


def changes(medium: FaultyMedium) -> list[Callable[[], object]]:
    """Every call that changes a medium with a blob `a`."""
    return [
        lambda: medium.create("b"),
        lambda: medium.append("a", b"2"),
        lambda: medium.sync("a"),
        lambda: medium.delete("a"),
        lambda: medium.write_head(1, 1, b""),
    ]


class TestBytesAtPowerLoss:
    def test_what_was_synced_is_there_and_no_byte_is_made_up(self) -> None:
        """Random calls; every byte behind the synced ones was appended there, or is zero."""
        for seed in SEEDS:
            random = Random(seed)
            medium = taken(seed)
            put(medium, "a", b"")
            appended = bytearray()
            synced = 0
            for _ in range(random.randint(1, 12)):
                if random.random() < 0.3:
                    medium.sync("a")
                    synced = len(appended)
                else:
                    data = random.randbytes(random.randint(0, 30))
                    medium.append("a", data)
                    appended += data
            found = content(medium.crash(), "a")
            assert found[:synced] == appended[:synced], seed
            assert synced <= len(found) <= len(appended), seed
            for byte, original in zip(found[synced:], appended[synced:], strict=False):
                assert byte in (0, original), seed

    def test_unsynced_appends_survive_in_every_combination(self) -> None:
        """Of three appends any may be there without any other, and each may be torn."""
        whole = Counter[str]()
        torn = 0
        for seed in SEEDS:
            medium = taken(seed)
            put(medium, "a", b"synced")
            for letter in b"xyz":
                medium.append("a", bytes([letter]) * 10)
            found = content(medium.crash(), "a").removeprefix(b"synced").ljust(30, b"\0")
            parts = {"x": found[:10], "y": found[10:20], "z": found[20:]}
            whole["".join(key for key, part in parts.items() if part == key.encode() * 10)] += 1
            torn += any(0 < part.count(key.encode()) < 10 for key, part in parts.items())
        assert set(whole) == {"", "x", "y", "z", "xy", "xz", "yz", "xyz"}
        assert torn > len(SEEDS) / 2

    def test_an_append_is_torn_at_every_byte(self) -> None:
        ends = set()
        for seed in SEEDS:
            medium = taken(seed)
            put(medium, "a", b"")
            medium.append("a", b"12345678")
            ends.add(content(medium.crash(), "a"))
        assert {b"12345678"[:size] for size in range(9)} <= ends

    def test_the_death_of_the_process_takes_nothing_and_saves_nothing(self) -> None:
        lost = 0
        for seed in SEEDS:
            medium = taken(seed)
            put(medium, "a", b"synced")
            medium.append("a", b"unsynced")
            medium = medium.kill()
            assert content(medium, "a") == b"syncedunsynced"
            lost += content(medium.crash(), "a") != b"syncedunsynced"
        assert lost > len(SEEDS) / 2

    def test_the_next_process_can_sync_what_it_found(self) -> None:
        for seed in SEEDS:
            medium = taken(seed)
            medium.create("a")
            medium.append("a", b"unsynced")
            medium = medium.kill()
            take(medium)
            medium.sync("a")
            assert content(medium.crash(), "a") == b"unsynced"


class TestNamesAtPowerLoss:
    def test_a_created_blob_may_be_gone_until_it_was_synced(self) -> None:
        found = set()
        for seed in SEEDS:
            medium = taken(seed)
            medium.create("unsynced")
            put(medium, "synced", b"1")
            found.add(medium.crash().list())
        assert found == {frozenset({"synced"}), frozenset({"synced", "unsynced"})}

    def test_a_deleted_blob_may_be_back_with_what_was_synced(self) -> None:
        found = set()
        for seed in SEEDS:
            medium = taken(seed)
            put(medium, "a", b"1")
            medium.delete("a")
            put(medium, "b", b"2")
            medium = medium.crash()
            found.add(medium.list())
            if "a" in medium.list():
                assert content(medium, "a") == b"1"
        assert found == {frozenset({"b"}), frozenset({"a", "b"})}

    def test_a_name_used_twice_may_be_the_first_blob(self) -> None:
        found = set()
        for seed in SEEDS:
            medium = taken(seed)
            put(medium, "a", b"first")
            medium.delete("a")
            medium.create("a")
            medium = medium.crash()
            found.add(content(medium, "a") if "a" in medium.list() else None)
        assert found == {b"first", b"", None}

    def test_a_written_head_makes_creations_and_deletions_durable(self) -> None:
        for seed in SEEDS:
            medium = taken(seed)
            put(medium, "a", b"1")
            medium.delete("a")
            medium.create("b")
            medium.write_head(1, 1, b"")
            assert medium.crash().list() == {"b"}


class TestCrashInACall:
    """Counted: 1 and 2 take the medium, 3 to 5 put a blob, 6 is the call of the test."""

    def medium(self, seed: int) -> FaultyMedium:
        medium = taken(seed, {6: Fault.CRASH})
        put(medium, "a", b"1")
        return medium

    def test_a_crash_comes_in_the_call_it_was_asked_for_and_ends_the_process(self) -> None:
        medium = self.medium(0)
        assert medium.calls == 5
        with pytest.raises(Crashed):
            medium.list()
        assert medium.calls == 6
        with pytest.raises(Crashed):
            medium.size("a")

    def test_an_append_cut_short_has_any_part_of_its_bytes(self) -> None:
        found = set()
        for seed in SEEDS:
            medium = self.medium(seed)
            with pytest.raises(Crashed):
                medium.append("a", b"23")
            found.add(content(medium.crash(), "a"))
        assert found == {b"1", b"12", b"123", b"1\x003", b"1\0", b"1\0\0", b"12\0"}

    def test_a_sync_cut_short_may_have_done_its_work(self) -> None:
        found = set()
        for seed in SEEDS:
            medium = taken(seed, {5: Fault.CRASH})
            medium.create("a")
            medium.append("a", b"1")
            with pytest.raises(Crashed):
                medium.sync("a")
            medium = medium.crash()
            found.add(content(medium, "a") if "a" in medium.list() else None)
        assert found == {None, b"", b"\0", b"1"}

    def test_a_head_cut_short_is_the_old_one_or_the_new_one(self) -> None:
        found = set()
        for seed in SEEDS:
            medium = self.medium(seed)
            with pytest.raises(Crashed):
                medium.write_head(1, 1, b"new")
            found.add(medium.crash().read_head())
        assert found == {(1, b""), (1, b"new")}


class TestErrors:
    def test_a_refused_append_shows_nothing_and_may_be_found_after_power_loss(self) -> None:
        found = set()
        for seed in SEEDS:
            medium = taken(seed, {6: Fault.ENOSPC})
            put(medium, "a", b"1")
            with pytest.raises(MediumFull):
                medium.append("a", b"23")
            assert content(medium, "a") == b"1"
            found.add(content(medium.crash(), "a"))
            medium = medium.kill()
            take(medium)
            medium.sync("a")
            assert content(medium.crash(), "a") == b"1"
        assert {b"1", b"12", b"123"} <= found

    @pytest.mark.parametrize("fault", [Fault.ENOSPC, Fault.EIO])
    def test_after_a_failed_sync_nothing_is_written_any_more(self, fault: Fault) -> None:
        medium = taken(0, {6: fault})
        put(medium, "a", b"1")
        with pytest.raises(MediumFailed):
            medium.sync("a")
        for change in changes(medium):
            with pytest.raises(MediumFailed):
                change()
        assert content(medium, "a") == b"1"

    def test_what_a_failed_sync_dropped_no_later_sync_brings_back(self) -> None:
        """It is read on, by the next process too, whose sync succeeds and does not write it."""
        lost = 0
        for seed in SEEDS:
            medium = taken(seed, {7: Fault.EIO})
            put(medium, "a", b"1")
            medium.append("a", b"2")
            with pytest.raises(MediumFailed):
                medium.sync("a")
            medium = medium.kill()
            assert content(medium, "a") == b"12"
            take(medium)
            medium.sync("a")
            lost += content(medium.crash(), "a") != b"12"
        assert 0 < lost < len(SEEDS)

    def test_a_failed_read_ends_nothing(self) -> None:
        medium = taken(0, {6: Fault.EIO})
        put(medium, "a", b"1")
        with pytest.raises(ReadFailed):
            medium.read("a", 0, 1)
        assert medium.append("a", b"2") == 1

    def test_a_fault_waits_for_a_call_in_which_it_can_happen(self) -> None:
        medium = taken(0, {6: Fault.ENOSPC, 7: Fault.EIO})
        put(medium, "a", b"1")
        assert medium.size("a") == 1
        with pytest.raises(ReadFailed):
            medium.size("a")
        with pytest.raises(MediumFull):
            medium.append("a", b"2")

    def test_it_is_full_at_its_capacity_until_something_is_deleted(self) -> None:
        medium = FaultyMedium(0, capacity_bytes=10)
        take(medium)
        put(medium, "a", b"123456")
        medium.create("b")
        assert medium.free_bytes() == 4
        with pytest.raises(MediumFull):
            medium.append("b", b"12345")
        medium.delete("a")
        assert medium.append("b", b"12345") == 0

    def test_a_flipped_bit_stays_flipped(self) -> None:
        medium = taken(0)
        put(medium, "a", b"\0\0\0")
        medium.flip("a", 1, 7)
        assert content(medium, "a") == b"\0\x80\0"
        assert content(medium.crash(), "a") == b"\0\x80\0"

    def test_an_owner_finds_at_its_next_call_that_it_is_none_any_more(self) -> None:
        medium = taken(0)
        put(medium, "a", b"1")
        medium.usurp(2, b"theirs")
        for change in changes(medium):
            with pytest.raises(LostEpoch):
                change()
        assert content(medium, "a") == b"1"
        assert medium.read_head() == (2, b"theirs")


def test_the_same_seed_gives_the_same_run() -> None:
    def run(seed: int) -> list[object]:
        medium = taken(seed, {9: Fault.ENOSPC})
        for name in ("b", "a", "c"):
            medium.create(name)
            medium.append(name, name.encode() * 20)
        with pytest.raises(MediumFull):
            medium.append("a", b"refused")
        medium.delete("b")
        medium = medium.crash()
        return [(name, content(medium, name)) for name in sorted(medium.list())]

    for seed in range(20):
        assert run(seed) == run(seed)
    assert len({str(run(seed)) for seed in range(20)}) > 10
