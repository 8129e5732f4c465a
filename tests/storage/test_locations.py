"""Which medium a path or a URL names."""

from pathlib import Path

import pytest

from leveret_storage.errors import UnknownMedium
from leveret_storage.media.filesystem import FilesystemMedium
from leveret_storage.media.locations import directory_of, open_medium


@pytest.mark.parametrize(
    ("location", "directory"),
    [
        ("/var/lib/leveret", "/var/lib/leveret"),
        ("file:/var/lib/leveret", "/var/lib/leveret"),
        ("file:///var/lib/leveret", "/var/lib/leveret"),
        ("file://localhost/var/lib/leveret", "/var/lib/leveret"),
        ("file:/with%20space", "/with space"),
        ("data", str(Path("data").absolute())),
        ("file:data", str(Path("data").absolute())),
        ("with:colon", str(Path("with:colon").absolute())),
        ("./a:/b", str(Path("a:/b").absolute())),
    ],
)
def test_a_location_names_a_directory(location: str, directory: str) -> None:
    assert str(directory_of(location)) == directory


@pytest.mark.parametrize(
    ("location", "text"),
    [
        (
            "db://host/name",
            "no medium has the scheme 'db'; known: postgresql:, file:, or a path",
        ),
        ("file://host/data", "file://host/data is on the host 'host', not on this one"),
        ("file:", "file: names no directory"),
        ("file:/data%00", "'file:/data%00' has a null character"),
        ("data\0", "'data\\x00' has a null character"),
    ],
)
def test_a_url_that_names_none_is_refused_in_one_line(location: str, text: str) -> None:
    with pytest.raises(UnknownMedium) as raised:
        open_medium(location)
    assert str(raised.value) == text


def test_what_is_opened_is_the_directory(tmp_path: Path) -> None:
    medium = open_medium(f"file:{tmp_path}/data")
    assert isinstance(medium, FilesystemMedium)
    assert (tmp_path / "data" / "blobs").is_dir()
    medium.close()
