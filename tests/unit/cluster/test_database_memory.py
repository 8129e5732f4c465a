"""A broker remembers how far its database was, and refuses one that is behind that."""

import os
from pathlib import Path

import pytest

from leveret.cluster.database_memory import FILE_NAME, DatabaseMemory
from leveret_storage.errors import DataLost, MediumFailed, ReadFailed

SYSTEM, SCHEMA = "7300000000000000000", "leveret"


@pytest.fixture
def local_dir(tmp_path: Path) -> Path:
    """The directory of a broker that has seen a database, and was stopped."""
    memory = DatabaseMemory(tmp_path / "local")
    memory.note_server(SYSTEM, SCHEMA, 4)
    assert memory.note_epochs({0: 7, 3: 12})
    assert memory.note_definitions(50)
    memory.save()
    return tmp_path / "local"


def test_a_database_that_went_on_is_taken(local_dir: Path) -> None:
    memory = DatabaseMemory(local_dir)
    memory.check_server(SYSTEM, SCHEMA, 4)
    memory.check_server(SYSTEM, SCHEMA, 5)
    assert memory.stores() == [0, 3]
    memory.check_store(0, 7)
    memory.check_store(3, 13)
    memory.check_store(1, 0)
    memory.check_definitions(50)
    memory.check_definitions(51)


def test_one_that_is_behind_is_refused_with_what_to_do(local_dir: Path) -> None:
    memory = DatabaseMemory(local_dir)
    with pytest.raises(DataLost) as refusal:
        memory.check_store(3, 11)
    assert str(refusal.value) == (
        "store 3 has epoch 11, and this broker has seen epoch 12: an older state was restored, or"
        " it is another database; what was confirmed since is not in it. To go on with it, stop"
        f" this broker and remove {local_dir / FILE_NAME}"
    )
    with pytest.raises(DataLost, match=r"definitions have version 49, .* seen version 50"):
        memory.check_definitions(49)
    with pytest.raises(DataLost, match=r"has timeline 3, .* seen 4"):
        memory.check_server(SYSTEM, SCHEMA, 3)


@pytest.mark.parametrize(("system", "schema"), [("7399999999999999999", SCHEMA), (SYSTEM, "other")])
def test_another_database_is_refused(local_dir: Path, system: str, schema: str) -> None:
    with pytest.raises(DataLost, match="another database"):
        DatabaseMemory(local_dir).check_server(system, schema, 9)


def test_it_is_taken_once_the_file_is_removed(local_dir: Path) -> None:
    (local_dir / FILE_NAME).unlink()
    memory = DatabaseMemory(local_dir)
    memory.check_server("7399999999999999999", "other", 1)
    memory.check_store(3, 1)
    memory.check_definitions(0)


def test_what_is_older_is_not_noted_over_what_is_newer(local_dir: Path) -> None:
    memory = DatabaseMemory(local_dir)
    assert not memory.note_epochs({3: 11})
    assert memory.note_epochs({3: 11, 5: 1})
    assert not memory.note_definitions(49)
    memory.save()
    with pytest.raises(DataLost):
        DatabaseMemory(local_dir).check_store(3, 11)
    with pytest.raises(DataLost):
        DatabaseMemory(local_dir).check_store(5, 0)


def test_nothing_is_written_without_news(local_dir: Path) -> None:
    memory = DatabaseMemory(local_dir)
    (local_dir / FILE_NAME).unlink()
    memory.save()
    assert os.listdir(local_dir) == []
    memory.note_epochs({3: 13})
    memory.save()
    assert os.listdir(local_dir) == [FILE_NAME]


def test_a_file_that_is_no_memory_is_refused_by_name(local_dir: Path) -> None:
    (local_dir / FILE_NAME).write_bytes(b"{")
    with pytest.raises(ReadFailed, match=f"{FILE_NAME}: .*; remove it if"):
        DatabaseMemory(local_dir)


def test_what_cannot_be_written_is_an_error_of_the_storage(tmp_path: Path) -> None:
    memory = DatabaseMemory(tmp_path / "other")
    memory.note_definitions(1)
    (tmp_path / "other").write_bytes(b"")
    with pytest.raises(MediumFailed, match=FILE_NAME):
        memory.save()
