"""The rules of the tree that linters do not know: who imports whom, sizes, what is compiled."""

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from leveret.compiled import COMPILED, loaded_from_shared_object

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = (ROOT / "server", ROOT / "storage")
SOURCES = [path for root in SOURCE_ROOTS for path in sorted(root.rglob("*.py"))]
EVERYTHING = [
    ROOT / "setup.py",
    *SOURCES,
    *sorted((ROOT / "tests").rglob("*.py")),
    *sorted((ROOT / "bench").rglob("*.py")),
]

FILE_LINES_MAX = 700
FUNCTION_LINES_MAX = 60

LAYERS = ("leveret_storage", "leveret.engine", "leveret.protocol", "leveret.net")
"""Packages from the bottom to the top: each may import those before it, and the leaves."""

LEAVES = {
    "leveret",
    "leveret.addresses",
    "leveret.config",
    "leveret.errors",
    "leveret.limits",
    "leveret.memory",
    "leveret.engine.values.encoded_table",
}
"""Modules that anyone may import, and that import nothing but each other."""

SANS_IO = ("leveret_storage", "leveret.engine", "leveret.protocol")
IO_MODULES = {"asyncio", "selectors", "signal", "socket", "ssl", "uvloop"}

BUILD_VARIABLE = "LEVERET_TEST_BUILD"
"""`compiled` or `plain`, where whoever runs the tests knows which build they run against."""


def module_name(path: Path) -> str:
    """The import name of a file of the source roots."""
    root = next(root for root in SOURCE_ROOTS if path.is_relative_to(root))
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of every module a file imports, wherever in the file."""
    modules = {module_name(source) for source in SOURCES}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield node.lineno, inner if inner in modules else str(node.module)


def is_allowed(importer: str, imported: str) -> bool:
    """Whether the arrow from one of our modules to another goes the right way."""
    if imported in LEAVES:
        return True
    if importer in LEAVES:
        return False
    for layer, package in enumerate(LAYERS):
        if is_in(importer, package):
            below = LAYERS[: layer + 1]
            may_log = package == "leveret.net" and imported == "leveret.logging"
            return may_log or any(is_in(imported, each) for each in below)
    return True


def located(path: Path, line: int, text: str) -> str:
    return f"{path.relative_to(ROOT)}:{line}: {text}"


def test_imports_go_one_way() -> None:
    wrong = [
        located(path, line, imported)
        for path in SOURCES
        for line, imported in imports(path)
        if is_in(imported, "leveret") or is_in(imported, "leveret_storage")
        if not is_allowed(module_name(path), imported)
    ]
    assert wrong == []


def test_protocol_engine_and_storage_do_no_io() -> None:
    wrong = [
        located(path, line, imported)
        for path in SOURCES
        for line, imported in imports(path)
        if any(is_in(module_name(path), package) for package in SANS_IO)
        if imported.split(".")[0] in IO_MODULES
    ]
    assert wrong == []


def test_the_rules_for_imports_can_be_broken() -> None:
    assert not is_allowed("leveret.engine.queues.queue", "leveret.protocol.wire.frames")
    assert not is_allowed("leveret.protocol.wire.frames", "leveret.net.server")
    assert not is_allowed("leveret_storage.format.file_header", "leveret.engine.queues.queue")
    assert not is_allowed("leveret.config", "leveret.logging")
    assert not is_allowed("leveret.net.server", "leveret.app")
    assert is_allowed("leveret.net.server", "leveret.engine.broker")
    assert is_allowed("leveret.app", "leveret.net.server")


def test_coroutines_are_in_net_and_the_composition_root_only() -> None:
    wrong = [
        located(path, node.lineno, node.name)
        for path in SOURCES
        if not is_in(module_name(path), "leveret.net") and module_name(path) != "leveret.app"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.AsyncFunctionDef)
    ]
    assert wrong == []


def test_files_are_of_one_subject() -> None:
    sizes = {path: len(path.read_text("utf-8").splitlines()) for path in EVERYTHING}
    assert [located(path, n, "lines") for path, n in sizes.items() if n > FILE_LINES_MAX] == []


def test_functions_fit_on_a_page() -> None:
    long = [
        located(path, node.lineno, f"{node.name}: {node.end_lineno - node.lineno + 1} lines")
        for path in EVERYTHING
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
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


def test_every_exception_is_caught_in_one_place_only() -> None:
    broad = [
        located(path, node.lineno, "except Exception")
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ExceptHandler)
        if node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
    ]
    assert [place.split(":")[0] for place in broad] == ["server/leveret/net/transport.py"]


def test_no_test_patches_with_mocks() -> None:
    """A compiled caller does not see a patched method: such a test would lie on one build."""
    using = [
        located(path, node.lineno, ast.unparse(node))
        for path in EVERYTHING
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
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
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
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
    trees = {path: ast.parse(path.read_text("utf-8")) for path in SOURCES}
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
