"""The files of the management page: small, and all that the page needs."""

import gzip
import re
from pathlib import Path
from typing import Final

WEB: Final = Path(__file__).resolve().parents[3] / "server/leveret/management/web"
GZIPPED_BYTES_MAX: Final = 150_000

NAMESPACES: Final = ("http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink")
"""Names that look like addresses; nothing is loaded from them."""

ELSEWHERE: Final = re.compile(r"""["'(\s](?:https?:)?//[\w.-]+\.\w+[^\s"')]*""")
IMPORT: Final = re.compile(r"""\b(?:from\s+|import\s*\(?)["']([^"']+)["']""")


def files() -> list[Path]:
    found = [path for path in WEB.rglob("*") if path.is_file()]
    assert found
    return found


def test_all_together_are_small() -> None:
    sizes = {path.name: len(gzip.compress(path.read_bytes())) for path in files()}
    assert sum(sizes.values()) < GZIPPED_BYTES_MAX, sizes


def test_nothing_is_loaded_from_elsewhere() -> None:
    found = [
        f"{path.relative_to(WEB)}: {match.group().strip()}"
        for path in files()
        for match in ELSEWHERE.finditer(path.read_text())
        if not match.group()[1:].startswith(NAMESPACES)
    ]
    assert found == []


def test_an_address_elsewhere_is_found() -> None:
    assert ELSEWHERE.search('import x from "https://cdn.example.com/x.js"')
    assert ELSEWHERE.search("url(//fonts.example.com/a.woff)")
    assert not ELSEWHERE.search("// a comment. And more")


def test_every_module_that_is_imported_is_there() -> None:
    missing = [
        f"{path.relative_to(WEB)}: {name}"
        for path in files()
        if path.suffix == ".js"
        for name in IMPORT.findall(path.read_text())
        if not (WEB / name[1:] if name.startswith("/") else path.parent / name).is_file()
    ]
    assert missing == []
