"""Which module imports which: one way between packages, and never in a circle.

An import counts wherever it stands, in a function, for an annotation or under TYPE_CHECKING: what a
module names it depends on.
"""

import ast
import subprocess
import sys
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.unit.source_tree import MODULES, SOURCES, imports, located, module_name, syntax_tree

LAYERS: dict[str, tuple[str, ...]] = {
    "": (
        "leveret_storage",
        "leveret",
    ),
    "leveret_storage": (
        "errors histogram",
        "medium coordination shared_log",
        "format",
        "media",
        "segments",
        "recovery",
        "store",
    ),
    "leveret": (
        "limits errors os_errors compiled key_doc",
        "config_storage",
        "addresses config memory",
        "config_keys",
        "config_loading control_address logging ping sample_configuration systemd",
        "engine",
        "protocol",
        "net",
        "datadir",
        "cluster",
        "management",
        "descriptors",
        "node",
        "testing",
        "app commands",
        "cli",
        "reference",
        "__main__",
    ),
    "leveret.engine": (
        "placement values",
        "metadata",
        "access routing",
        "policies",
        "queues",
        "persistence",
        "flow",
        "vhost",
        "lifecycle",
        "restore",
        "hosted_store",
        "store_opening",
        "broker",
        "administration",
    ),
    "leveret.protocol": (
        "states wire",
        "channels",
        "handlers",
        "connections",
    ),
}
"""What each package consists of, a layer a line, from the bottom to the top: a module imports what
stands in the lines above its own. What stands in one line does not import each other."""

WITHOUT_STORAGE = ("leveret.protocol", "leveret.net")
"""What knows of storage only through the engine."""

SANS_IO = ("leveret_storage", "leveret.engine", "leveret.protocol")
IO_MODULES = {"asyncio", "selectors", "signal", "socket", "ssl", "uvloop"}


def is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def layer(package: str, name: str) -> int:
    """The number of the layer in which a package has a part, counted from the bottom."""
    return next(number for number, names in enumerate(LAYERS[package]) if name in names.split())


def is_allowed(importer: str, imported: str) -> bool:
    """Whether an import from one of our modules of another goes the right way."""
    if imported == "leveret":
        return True  # the version
    if is_in(imported, "leveret_storage") and any(is_in(importer, one) for one in WITHOUT_STORAGE):
        return False
    theirs = imported.split(".")
    package: list[str] = []
    for ours in importer.split("."):
        name = ".".join(package)
        if not theirs or name not in LAYERS:
            return True
        if ours != theirs[0]:
            return layer(name, ours) > layer(name, theirs[0])
        package.append(theirs.pop(0))
    return True


def our_imports() -> dict[str, set[str]]:
    """Each of our modules with those of ours that it imports."""
    return {
        name: {imported for _, imported in imports(syntax_tree(path)) if imported in MODULES}
        for name, path in MODULES.items()
    }


def cycle_in(graph: Mapping[str, set[str]]) -> list[str]:
    """One cycle, its first module at the end again; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        return cycle
    return []


def names_type_checking(tree: ast.Module) -> bool:
    """Whether a module asks if it is only read by a type checker."""
    return any(
        "TYPE_CHECKING" in (getattr(node, "id", ""), getattr(node, "attr", ""))
        for node in ast.walk(tree)
    )


def test_every_part_of_a_package_has_its_layer() -> None:
    for package, layers in LAYERS.items():
        depth = package.count(".") + 1 if package else 0
        found = {
            name.split(".")[depth]
            for name in MODULES
            if not package or name.startswith(f"{package}.")
        }
        assert found == set(" ".join(layers).split())


def test_imports_go_one_way() -> None:
    wrong = [
        located(path, line, imported)
        for path in SOURCES
        for line, imported in imports(syntax_tree(path))
        if imported in MODULES and not is_allowed(module_name(path), imported)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("leveret.app", "leveret.net.server", True),
        ("leveret.net.server", "leveret.app", False),
        ("leveret.net.server", "leveret.engine.broker", True),
        ("leveret.engine.queues.queue", "leveret.protocol.wire.frames", False),
        ("leveret.protocol.wire.frames", "leveret.net.server", False),
        ("leveret.protocol.channels.channel", "leveret.protocol.handlers.basic", False),
        ("leveret.protocol.handlers.basic", "leveret.protocol.channels.channel", True),
        ("leveret.protocol.wire.frames", "leveret.protocol.states", False),
        ("leveret.protocol.channels.channel", "leveret_storage.errors", False),
        ("leveret.engine.queues.queue", "leveret.engine.vhost", False),
        ("leveret.engine.vhost", "leveret.engine.queues.queue", True),
        ("leveret.engine.access.accounts", "leveret.engine.values.settings", True),
        ("leveret.engine.access.accounts", "leveret.engine.routing.exchanges", False),
        ("leveret.config", "leveret.logging", False),
        ("leveret.logging", "leveret.config", True),
        ("leveret_storage.format.file_header", "leveret.engine.queues.queue", False),
        ("leveret_storage.format.file_header", "leveret_storage.store.store", False),
        ("leveret_storage.store.store", "leveret_storage.format.file_header", True),
    ],
)
def test_an_import_is_judged_by_the_layers(importer: str, imported: str, allowed: bool) -> None:
    assert is_allowed(importer, imported) == allowed


def test_there_is_no_circle() -> None:
    assert cycle_in(our_imports()) == []


def test_a_circle_is_found() -> None:
    assert cycle_in({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert set(cycle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}})) == {"b", "c"}


def test_nothing_is_imported_for_a_type_checker_only() -> None:
    assert [name for name, path in MODULES.items() if names_type_checking(syntax_tree(path))] == []


def test_an_import_for_a_type_checker_is_found() -> None:
    assert names_type_checking(ast.parse("import typing\nif typing.TYPE_CHECKING:\n    import a"))
    assert names_type_checking(ast.parse("if TYPE_CHECKING:\n    import a"))
    assert not names_type_checking(ast.parse("from typing import Final"))


def test_protocol_engine_and_storage_do_no_io() -> None:
    wrong = [
        located(path, line, imported)
        for path in SOURCES
        for line, imported in imports(syntax_tree(path))
        if any(is_in(module_name(path), package) for package in SANS_IO)
        if imported.split(".")[0] in IO_MODULES
    ]
    assert wrong == []


WITH_COROUTINES = (
    "leveret.net",
    "leveret.cluster",
    "leveret.management",
    "leveret.node",
    "leveret.testing",
    "leveret.app",
)


def test_coroutines_are_where_the_event_loop_is_only() -> None:
    wrong = [
        located(path, node.lineno, node.name)
        for path in SOURCES
        if not any(is_in(module_name(path), package) for package in WITH_COROUTINES)
        for node in ast.walk(syntax_tree(path))
        if isinstance(node, ast.AsyncFunctionDef)
    ]
    assert wrong == []


def test_a_broker_with_a_directory_imports_no_parts_of_a_cluster() -> None:
    """They would make its start longer."""
    script = "import leveret.app, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    found = set(done.stdout.split())
    assert "leveret.node" in found
    for module in ("cluster.membership", "cluster.agent", "management.cluster.cluster_http"):
        assert f"leveret.{module}" not in found
    assert found.isdisjoint({"psycopg", "httpcore", "leveret_storage.media.postgres.database"})
