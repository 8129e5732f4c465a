"""Any sequence of calls, on each medium, against a dictionary.

Nothing goes wrong in these runs but mistakes of the caller; a process ends and the next one goes
on.
"""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from leveret_storage.errors import BlobExists, LostEpoch, NoSuchBlob
from leveret_storage.media.filesystem import FilesystemMedium
from leveret_storage.media.locations import open_medium
from leveret_storage.medium import Medium
from tests.storage.faulty import FaultyMedium
from tests.support.examples import examples
from tests.support.postgres import PostgresCluster, new_location

NAMES = st.sampled_from(["a", "b", "c", "d.1", "d.2", "e-f_g"])
DATA = st.binary(max_size=40) | st.integers(1, 70_000).map(bytes)

FEW_DESCRIPTORS = 2
"""Fewer than there are names, so that files are closed and opened again all the time."""


IN_MEMORY = Path("/dev/shm")
"""Where there is one: these runs are about what is read, and a disk would be synced thousands of
times."""


class MediumMachine(RuleBasedStateMachine):
    """The rules; what is opened is a subclass's."""

    medium: Medium

    def __init__(self) -> None:
        super().__init__()
        self.blobs: dict[str, bytes] = {}
        self.preallocated: set[str] = set()
        """Those that this process has preallocated behind."""
        self.head = (0, b"")

    def open(self) -> Medium:
        raise NotImplementedError

    def restart(self) -> Medium:
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        self.medium = self.open()
        self.take(b"")

    @rule(data=st.binary(max_size=30))
    def take(self, data: bytes) -> None:
        epoch, _ = self.medium.read_head()
        self.medium.write_head(epoch, epoch + 1, data)
        self.head = (epoch + 1, data)

    @rule(data=st.binary(max_size=30))
    def write_head(self, data: bytes) -> None:
        epoch = self.head[0]
        self.medium.write_head(epoch, epoch, data)
        self.head = (epoch, data)

    @rule(data=st.binary(max_size=30))
    def write_head_unexpectedly(self, data: bytes) -> None:
        with pytest.raises(LostEpoch):
            self.medium.write_head(self.head[0] + 1, self.head[0] + 2, b"")
        self.take(data)

    @rule(data=st.binary(max_size=30))
    def next_process(self, data: bytes) -> None:
        self.medium = self.restart()
        for name in self.preallocated:
            # What the last process wrote ahead is a part of the blob for this one.
            written = len(self.blobs[name])
            self.blobs[name] += bytes(self.medium.size(name) - written)
        self.preallocated.clear()
        self.compare()
        self.take(data)

    @rule(name=NAMES)
    def create(self, name: str) -> None:
        if name in self.blobs:
            with pytest.raises(BlobExists):
                self.medium.create(name)
        else:
            self.medium.create(name)
            self.blobs[name] = b""

    @rule(name=NAMES, data=DATA)
    def append(self, name: str, data: bytes) -> None:
        if name in self.blobs:
            assert self.medium.append(name, data) == len(self.blobs[name])
            self.blobs[name] += data
        else:
            with pytest.raises(NoSuchBlob):
                self.medium.append(name, data)

    @rule(name=NAMES, data=DATA)
    def append_synced(self, name: str, data: bytes) -> None:
        if name in self.blobs:
            assert self.medium.append_synced(name, data) == len(self.blobs[name])
            self.blobs[name] += data
        else:
            with pytest.raises(NoSuchBlob):
                self.medium.append_synced(name, data)

    @rule(name=NAMES, size=st.integers(0, 100_000))
    def preallocate(self, name: str, size: int) -> None:
        if name in self.blobs:
            self.medium.preallocate(name, size)
            self.preallocated.add(name)
        else:
            with pytest.raises(NoSuchBlob):
                self.medium.preallocate(name, size)

    @rule(name=NAMES)
    def sync(self, name: str) -> None:
        if name in self.blobs:
            self.medium.sync(name)
        else:
            with pytest.raises(NoSuchBlob):
                self.medium.sync(name)

    @rule(name=NAMES, offset=st.integers(0, 100_000), size=st.integers(0, 100_000))
    def read(self, name: str, offset: int, size: int) -> None:
        if name in self.blobs:
            expected = self.blobs[name][offset : offset + size]
            assert self.medium.read(name, offset, size) == expected
        else:
            with pytest.raises(NoSuchBlob):
                self.medium.read(name, offset, size)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        if name in self.blobs:
            self.medium.delete(name)
            del self.blobs[name]
            self.preallocated.discard(name)
        else:
            with pytest.raises(NoSuchBlob):
                self.medium.delete(name)

    @invariant()
    def compare(self) -> None:
        assert self.medium.list() == frozenset(self.blobs)
        assert self.medium.read_head() == self.head
        for name, data in self.blobs.items():
            assert self.medium.size(name) == len(data)
            assert self.medium.read(name, 0, len(data) + 1) == data


class FilesystemMachine(MediumMachine):
    def open(self) -> Medium:
        self.directory = tempfile.mkdtemp(dir=IN_MEMORY if IN_MEMORY.is_dir() else None)
        return FilesystemMedium(Path(self.directory), descriptors_max=FEW_DESCRIPTORS)

    def restart(self) -> Medium:
        self.medium.close()
        return FilesystemMedium(Path(self.directory), descriptors_max=FEW_DESCRIPTORS)

    def teardown(self) -> None:
        self.medium.close()
        shutil.rmtree(self.directory)


class FaultyMachine(MediumMachine):
    def open(self) -> Medium:
        return FaultyMedium(seed=1)

    def restart(self) -> Medium:
        assert isinstance(self.medium, FaultyMedium)
        return self.medium.kill()


class PostgresMachine(MediumMachine):
    """The tests of one class share the servers; each run has a schema of its own."""

    cluster: PostgresCluster

    def open(self) -> Medium:
        self.location = new_location(self.cluster)
        return open_medium(self.location)

    def restart(self) -> Medium:
        self.medium.close()
        return open_medium(self.location)

    def teardown(self) -> None:
        self.medium.close()


RUNS = settings(max_examples=examples(100), stateful_step_count=40, deadline=None, print_blob=True)

TestFilesystem = FilesystemMachine.TestCase
TestFilesystem.settings = RUNS

TestFaulty = FaultyMachine.TestCase
TestFaulty.settings = RUNS


@pytest.fixture(scope="module")
def machine(postgres: PostgresCluster) -> type[PostgresMachine]:
    PostgresMachine.cluster = postgres
    return PostgresMachine


def test_postgres(machine: type[PostgresMachine]) -> None:
    runs = settings(
        max_examples=examples(15), stateful_step_count=30, deadline=None, print_blob=True
    )
    run_state_machine_as_test(machine, settings=runs)
