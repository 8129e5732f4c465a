"""Rules for the code that linters do not know: sizes, exceptions, mocks, and what is compiled."""

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from leveret.compiled import COMPILED, loaded_from_shared_object
from tests.unit.source_tree import EVERYTHING, ROOT, SOURCES, located, module_name, syntax_tree

FILE_LINES_MAX = 600
FILE_LINES_USUAL_MAX = 500
LONGER_FILES = {
    "server/leveret/engine/queues/delayed_store.py": "the store of a delayed exchange",
    "server/leveret/engine/queues/fifo_backlog.py": "a backlog, first in, first out",
    "server/leveret/engine/queues/queue.py": "a queue",
    "server/leveret/net/server.py": "the server",
    "server/leveret/protocol/connections/connection.py": "a connection",
    "tests/parity/sections/direct_reply_to.py": "direct reply-to",
    "tests/parity/sections/frames.py": "frames, sound and malformed",
    "tests/parity/sections/negotiation.py": "the handshake",
    "tests/parity/sections/queues.py": "queues: declaring, binding, deleting",
    "tests/protocol/test_declaring.py": "declaring, binding, deleting",
    "tests/storage/faulty.py": "a medium that fails",
    "tests/storage/golden/make.py": "the golden data directories",
    "tests/unit/net/test_transport.py": "a transport, with a fake socket",
}
"""Files of more than the usual number of lines, each with the one subject that it has."""

FUNCTION_LINES_MAX = 60

BUILD_VARIABLE = "LEVERET_TEST_BUILD"
"""`compiled` or `plain`, where whoever runs the tests knows which build they run against."""


def too_long(path: str, lines: int) -> bool:
    """Whether a file has more lines than it may."""
    return lines > (FILE_LINES_MAX if path in LONGER_FILES else FILE_LINES_USUAL_MAX)


def lines_of(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


def test_files_are_of_one_subject() -> None:
    sizes = {str(path.relative_to(ROOT)): lines_of(path) for path in EVERYTHING}
    assert {path: lines for path, lines in sizes.items() if too_long(path, lines)} == {}


def test_a_file_is_listed_as_longer_only_if_it_is() -> None:
    assert [one for one in LONGER_FILES if lines_of(ROOT / one) <= FILE_LINES_USUAL_MAX] == []


def test_a_file_that_is_too_long_is_found() -> None:
    assert too_long("server/leveret/app.py", 501)
    assert not too_long("server/leveret/app.py", 500)
    longer = next(iter(LONGER_FILES))
    assert too_long(longer, 601)
    assert not too_long(longer, 600)


def test_functions_fit_on_a_page() -> None:
    long = [
        located(path, node.lineno, f"{node.name}: {node.end_lineno - node.lineno + 1} lines")
        for path in EVERYTHING
        for node in ast.walk(syntax_tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.end_lineno and node.end_lineno - node.lineno >= FUNCTION_LINES_MAX
    ]
    assert long == []


def test_nothing_is_left_for_later() -> None:
    mark = re.compile(r"\b(T[O]DO|F[I]XME|X[X]X|H[A]CK)\b")
    found = [
        located(path, number, line.strip())
        for path in EVERYTHING
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if mark.search(line)
    ]
    assert found == []


def test_every_exception_is_caught_where_a_fault_ends_one_connection_work_or_request_only() -> None:
    broad = [
        located(path, node.lineno, "except Exception")
        for path in SOURCES
        for node in ast.walk(syntax_tree(path))
        if isinstance(node, ast.ExceptHandler)
        if node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
    ]
    assert sorted(place.split(":")[0] for place in broad) == [
        "server/leveret/management/application.py",
        "server/leveret/net/loop_scheduler.py",
        "server/leveret/net/transport.py",
    ]


def test_no_test_patches_with_mocks() -> None:
    """A compiled caller does not see a patched method: such a test would lie on one build."""
    using = [
        located(path, node.lineno, ast.unparse(node))
        for path in EVERYTHING
        for node in ast.walk(syntax_tree(path))
        if isinstance(node, ast.Import | ast.ImportFrom) and "mock" in ast.unparse(node)
    ]
    assert using == []


class TestCompiledModules:
    def test_each_is_listed_once_and_exists(self) -> None:
        assert len(set(COMPILED)) == len(COMPILED)
        assert set(COMPILED) <= {module_name(path) for path in SOURCES}

    @pytest.mark.parametrize("module", COMPILED)
    def test_each_runs_as_this_build_says(self, module: str) -> None:
        """Without the variable, the first of the list says what all of them have to be."""
        build = os.environ.get(BUILD_VARIABLE)
        assert build in (None, "compiled", "plain")
        expected = loaded_from_shared_object(COMPILED[0]) if build is None else build == "compiled"
        assert loaded_from_shared_object(module) == expected

    def test_none_has_a_coroutine(self) -> None:
        wrong = [
            located(path, node.lineno, type(node).__name__)
            for path in SOURCES
            if module_name(path) in COMPILED
            for node in ast.walk(syntax_tree(path))
            if isinstance(node, ast.AsyncFunctionDef | ast.Await)
        ]
        assert wrong == []


def names_in(node: ast.expr) -> Iterator[str]:
    """The names in the second argument of an `isinstance`."""
    return (each.id for each in ast.walk(node) if isinstance(each, ast.Name))


def abstract_classes(trees: list[ast.Module]) -> set[str]:
    """The classes that are an `ABC`, and those derived from them."""
    bases = {
        node.name: {name for base in node.bases for name in names_in(base)}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found = {"ABC"}
    while more := {name for name, above in bases.items() if above & found} - found:
        found |= more
    return found


def foreign_names(tree: ast.Module) -> set[str]:
    """What a module imports from elsewhere than our packages."""
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and not str(node.module).startswith("leveret")
        for alias in node.names
    }


def test_nobody_asks_whether_something_is_of_a_compiled_abstract_class() -> None:
    trees = {path: syntax_tree(path) for path in SOURCES}
    compiled = [tree for path, tree in trees.items() if module_name(path) in COMPILED]
    abstract = abstract_classes(compiled)
    assert len(abstract) > 1
    asked = [
        located(path, node.lineno, name)
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id == "isinstance"
        for name in names_in(node.args[1])
        if name in abstract - foreign_names(tree)
    ]
    assert asked == []
