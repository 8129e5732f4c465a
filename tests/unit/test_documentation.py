"""Every path that a document names is there: files and folders in backticks, and links."""

import re
from collections.abc import Iterable, Iterator

from tests.unit.source_tree import DOCUMENTS, ROOT, located

FOLDERS = (".ci", ".github", "bench", "conf", "docs", "server", "storage", "tests")
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
FILE = re.compile(r"[\w.-]+(?:/[\w.-]+)*\.(?:c|json|md|py|service|toml|txt|yaml|yml)")
FOLDER = re.compile(rf"(?:{'|'.join(re.escape(name) for name in FOLDERS)})(?:/[\w.-]+)*/?")


def repository() -> set[str]:
    """All files and folders of the repository, by their paths from its root."""
    found = {path.name for path in ROOT.iterdir() if path.is_file()}
    for folder in FOLDERS:
        found.add(folder)
        found |= {
            str(path.relative_to(ROOT))
            for path in (ROOT / folder).rglob("*")
            if "__pycache__" not in path.parts
        }
    return found


def named_paths(text: str) -> Iterator[tuple[int, str]]:
    """Line and path of each file or folder that is named in backticks."""
    for number, line in enumerate(text.splitlines(), 1):
        for code in CODE.findall(line):
            for word in code.split():
                if FILE.fullmatch(word) or ("/" in word and FOLDER.fullmatch(word)):
                    yield number, word


def is_there(path: str, paths: Iterable[str]) -> bool:
    """Whether a path, from the root or from some folder of the repository, is one of `paths`."""
    wanted = path.removeprefix("./").rstrip("/")
    return any(each == wanted or each.endswith(f"/{wanted}") for each in paths)


def test_what_documents_name_is_there() -> None:
    paths = repository()
    wrong = [
        located(document, line, name)
        for document in DOCUMENTS
        for line, name in named_paths(document.read_text("utf-8"))
        if not is_there(name, paths)
    ]
    assert wrong == []


def test_what_documents_link_to_is_there() -> None:
    wrong = [
        located(document, number, target)
        for document in DOCUMENTS
        for number, line in enumerate(document.read_text("utf-8").splitlines(), 1)
        for target in LINK.findall(line)
        if "://" not in target and not (document.parent / target).exists()
    ]
    assert wrong == []


def test_a_path_that_is_not_there_is_found() -> None:
    text = (
        "See `engine/vhost.py`, `x-queue-type`, `server/leveret/`\nand `engine/nowhere.py --all`."
    )
    assert list(named_paths(text)) == [
        (1, "engine/vhost.py"),
        (1, "server/leveret/"),
        (2, "engine/nowhere.py"),
    ]
    paths = repository()
    assert is_there("engine/vhost.py", paths)
    assert is_there("server/leveret/", paths)
    assert not is_there("engine/nowhere.py", paths)
    assert not is_there("host.py", paths)
