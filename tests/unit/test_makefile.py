"""What `make run` says before it builds anything: an old Python, an address that is in use."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.source_tree import ROOT

OLD_PYTHON = f"""#!/bin/sh
shift; code="$1"
exec {sys.executable} -c 'import sys; sys.version_info = (3, 10, 12); exec(sys.argv[1])' "$code"
"""
"""What answers `-c CODE` as Python 3.10."""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """An environment that is there, with this Python."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(sys.executable)
    return tmp_path


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env=inherited, capture_output=True, text=True, timeout=60
    )


def test_an_old_python_is_named_before_anything_is_installed(tmp_path: Path) -> None:
    stub = tmp_path / "python3.10"
    stub.write_text(OLD_PYTHON)
    stub.chmod(0o755)

    done = make("run", f"PYTHON={stub}", f"VENV={tmp_path / 'venv'}")

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[0] == (
        "Leveret needs Python 3.11 or newer, and this is 3.10;"
        " name another: make run PYTHON=python3.13"
    )
    assert not (tmp_path / "venv").exists()


def test_an_address_that_is_in_use_is_named_before_anything_is_built(environment: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        done = make("run", f"VENV={environment}", f"LISTEN={address}")

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[0] == (
        f"{address} is in use; name another address: make run LISTEN=127.0.0.1:5673"
    )


def test_an_address_without_a_port_is_named(environment: Path) -> None:
    done = make("check-listen", f"VENV={environment}", "LISTEN=localhost")

    assert done.returncode == 2
    assert done.stderr.startswith("localhost is no address;")


def test_a_free_address_is_right(environment: Path) -> None:
    done = make("check-listen", f"VENV={environment}", "LISTEN=127.0.0.1:0")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
