"""A medium that is full on order."""

from collections.abc import Callable
from pathlib import Path

import pytest

from leveret.testing.fillable_medium import FillableMedium
from leveret_storage.errors import MediumFull
from leveret_storage.media.filesystem import FilesystemMedium
from tests.storage.owning import take


def test_while_it_is_full_what_takes_space_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    medium = FillableMedium(FilesystemMedium(tmp_path / "data"))
    take(medium)
    medium.create("a")
    medium.append_synced("a", b"before")
    epoch, data = medium.read_head()
    medium.full = True
    refused: list[Callable[[], object]] = [
        lambda: medium.create("b"),
        lambda: medium.append("a", b"x"),
        lambda: medium.append_synced("a", b"x"),
        lambda: medium.append_synced_later("a", b"x", lambda _: None),
        lambda: medium.write_head(epoch, epoch, b"x"),
        lambda: medium.set_aside("a", b"x"),
    ]
    for call in refused:
        with pytest.raises(MediumFull):
            call()
    medium.preallocate("a", 4096)
    medium.sync("a")
    assert medium.free_bytes() == 0
    assert medium.list() == {"a"}
    assert medium.read("a", 0, 100) == b"before"
    assert medium.read_head() == (epoch, data)
    medium.full = False
    assert medium.append_synced("a", b" after") == 6
    assert medium.free_bytes() > 0
    medium.close()
