"""The directory of a store for what need not survive: emptied at a start, used by one process."""

from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

import pytest

from leveret.datadir.transient_runs import (
    TransientRuns,
    remove_transient,
    transient_directory,
)
from leveret_storage.errors import DirectoryLocked
from leveret_storage.media.executor import InlineExecutor
from leveret_storage.recovery.recover import recover
from leveret_storage.store.store import Store
from tests.storage.faulty import FaultyMedium
from tests.storage.owning import take
from tests.storage.store_owner import stored

STORE = 3


class Started:
    """A store with a directory for what need not survive, which has a run."""

    def __init__(self, local_dir: Path) -> None:
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.directory = TransientRuns(local_dir, STORE, self._calls.put, lambda _: None)
        self.files_found = files(local_dir)
        medium = FaultyMedium(1)
        take(medium)
        self.store = Store(
            medium,
            InlineExecutor(),
            InlineExecutor(),
            snapshot=lambda: iter(()),
            synced=lambda: None,
            failed=lambda error: None,
            transient_runs=self.directory.runs,
        )
        self.store.start(recover(medium))
        self.run = self.store.write_run(self.store.add_queue(False), 0, stored(10))
        while self.run.messages is not None:
            self._calls.get(timeout=60)()


def files(local_dir: Path, store: int = STORE) -> list[str]:
    directory = transient_directory(local_dir, store) / "blobs"
    return [path.name for path in directory.iterdir()]


def leave(local_dir: Path, name: str, store: int = STORE) -> None:
    """What a killed process leaves."""
    (transient_directory(local_dir, store) / "blobs" / name).write_bytes(b"left")


def test_the_next_start_finds_nothing(tmp_path: Path) -> None:
    first = Started(tmp_path)
    assert len(first.store.read_run_blocking(first.run)) == 10
    first.store.close()
    assert len(files(tmp_path)) == 1
    first.directory.close()
    assert files(tmp_path) == [], "the disk is free for others"

    second = Started(tmp_path)
    assert second.files_found == []
    assert second.directory.free_bytes() > 0
    second.directory.abandon()


def test_what_a_killed_process_left_of_the_head_keeps_nobody_from_starting(tmp_path: Path) -> None:
    first = Started(tmp_path)
    first.directory.abandon()
    leave(tmp_path, "queue-0000000001-000000000001")
    (transient_directory(tmp_path, STORE) / "head").write_bytes(b"torn")
    second = Started(tmp_path)
    assert second.files_found == []
    second.directory.abandon()


def test_a_start_deletes_what_is_left_of_any_store_that_nobody_uses(tmp_path: Path) -> None:
    started = Started(tmp_path)
    other = TransientRuns(tmp_path, STORE + 1, lambda _: None, lambda _: None)
    other.abandon()
    leave(tmp_path, "queue-0000000001-000000000001", STORE + 1)
    remove_transient(tmp_path)
    assert files(tmp_path, STORE + 1) == []
    assert len(files(tmp_path)) == 1
    started.directory.abandon()
    remove_transient(tmp_path / "missing")


def test_another_process_does_not_empty_it(tmp_path: Path) -> None:
    started = Started(tmp_path)
    with pytest.raises(DirectoryLocked):
        TransientRuns(tmp_path, STORE, lambda _: None, lambda _: None)
    assert len(started.store.read_run_blocking(started.run)) == 10
    started.directory.abandon()
