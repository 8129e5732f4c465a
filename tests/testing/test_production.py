"""Production has no faults on order: `leveret serve` neither imports them nor takes orders.

What a test's broker is told, it is told by the process that has started it, and by nobody else.
"""

import ast
import os
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from leveret.testing import Broker
from tests.support.brokers import Leveret
from tests.support.wire import connect
from tests.unit.source_tree import MODULES, imports, located, syntax_tree

TESTING = "leveret.testing"

HOOKS = {"observe_publishes", "hold"}
"""Methods of the broker that are there for tests."""

PARAMETERS = {"transport", "around"}
"""Parameters of a node that are there for tests."""

LISTENING = "0A"
"""The state of a TCP socket that listens, in /proc/net/tcp."""

UNIX_LISTENS = 0x10000
"""The flag of a Unix socket that listens, in /proc/net/unix."""


def is_of_testing(module: str) -> bool:
    return module == TESTING or module.startswith(f"{TESTING}.")


@pytest.fixture(scope="module")
def production() -> dict[Path, ast.Module]:
    """The syntax tree of each of our files but those of `leveret.testing`."""
    return {path: syntax_tree(path) for name, path in MODULES.items() if not is_of_testing(name)}


def test_no_other_code_imports_it(production: dict[Path, ast.Module]) -> None:
    wrong = [
        located(path, line, imported)
        for path, tree in production.items()
        for line, imported in imports(tree)
        if is_of_testing(imported)
    ]
    assert wrong == []


def test_no_other_code_names_it_to_import_it_late(production: dict[Path, ast.Module]) -> None:
    wrong = []
    for path, tree in production.items():
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        wrong += [
            located(path, node.lineno, node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
            if id(node) not in docstrings and TESTING in node.value
        ]
    assert wrong == []


def test_no_other_code_uses_what_is_there_for_tests(production: dict[Path, ast.Module]) -> None:
    wrong = []
    for path, tree in production.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func).split(".")[-1]
            given = {each.arg for each in node.keywords}
            if called in HOOKS or (called == "Node" and given & PARAMETERS):
                wrong.append(located(path, node.lineno, ast.unparse(node.func)))
    assert wrong == []


def test_a_running_broker_has_imported_nothing_of_it() -> None:
    environment = {"PYTHONPROFILEIMPORTTIME": "1"}
    with Leveret("--memory", env=environment, management=True) as broker:
        with connect(broker.host, broker.port):
            request = Request(f"{broker.management_url}/api/overview")
            request.add_header("Authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=")
            with urlopen(request, timeout=60) as answer:
                assert answer.status == 200
        imported = broker.log_text()
        assert "leveret.net.transport" in imported
        assert TESTING not in imported


def inodes(pid: int) -> set[str]:
    """The inodes of the sockets that a process has open."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        target = os.readlink(link)
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


def listening(pid: int) -> list[str]:
    """Where a process listens: the port of each TCP socket, and the path of each Unix socket."""
    found, ours = [], inodes(pid)
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and fields[9] in ours:
                found.append(str(int(fields[1].rpartition(":")[2], 16)))
    for line in Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[3], 16) & UNIX_LISTENS and fields[6] in ours:
            found.append(" ".join(fields[7:]))
    return found


def children() -> set[int]:
    """The processes that this one has started."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = stat.read_text().rpartition(") ")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            # It has ended since the directory was read.
            continue
        if int(after_name[1]) == os.getpid():
            found.add(int(stat.parent.name))
    return found


def test_the_process_of_a_test_s_broker_listens_for_amqp_only() -> None:
    before = children()
    with Broker(process=True) as broker:
        (pid,) = children() - before
        assert listening(pid) == [str(broker.port)]
        # Another process with the same environment has no way to it: orders go through a pair of
        # sockets that was there before it, and that no other process has.
        assert broker.faults.pending() == ()
