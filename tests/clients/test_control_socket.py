"""The control socket where the configuration says."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from leveret.control_address import SOCKET_NAME
from tests.support.brokers import BrokerError, Leveret

TIMEOUT_S = 120.0
VARIABLE = "LEVERET_CONTROL_SOCKET"
USERS = "name\nguest\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A path that is longer than the address of a socket may be."""
    directory = tmp_path / ("long" * 30)
    directory.mkdir()
    return directory / "its own name"


def serve_in_memory(path: Path) -> Leveret:
    return Leveret("--memory", env={VARIABLE: str(path)})


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "leveret", *arguments],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def list_users(*arguments: str, **variables: str) -> str:
    ended = run("list", "users", "name", *arguments, **variables)
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    return ended.stdout


def test_a_broker_in_memory_has_one_that_every_way_finds(path: Path, tmp_path: Path) -> None:
    with serve_in_memory(path) as broker:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert list_users("--control-socket", str(path)) == USERS
        assert list_users(**{VARIABLE: str(path)}) == USERS
        file = tmp_path / "leveret.toml"
        file.write_text(f'control.socket = "{path}"\n')
        assert list_users("--config", str(file)) == USERS
        assert not broker.data_dir.exists()
        broker.stop()
    assert not path.exists()


def test_without_the_key_a_broker_in_memory_has_none() -> None:
    with Leveret("--memory") as broker:
        ended = run("status", "--data-dir", str(broker.data_dir))
        where = broker.data_dir / SOCKET_NAME
        assert (ended.returncode, ended.stderr) == (4, f"leveret: no broker listens on {where}\n")


def test_a_broker_with_a_data_directory_can_have_it_elsewhere(path: Path) -> None:
    with Leveret(env={VARIABLE: str(path)}) as broker:
        assert list_users("--control-socket", str(path)) == USERS
        assert not (broker.data_dir / SOCKET_NAME).exists()


def test_a_data_directory_on_the_command_line_comes_first(path: Path) -> None:
    with Leveret() as broker:
        assert list_users("--data-dir", str(broker.data_dir), **{VARIABLE: str(path)}) == USERS


def test_the_socket_of_a_killed_broker_is_replaced(path: Path) -> None:
    with serve_in_memory(path) as broker:
        broker.kill()
        assert path.exists()
    with serve_in_memory(path):
        assert list_users("--control-socket", str(path)) == USERS


def test_the_socket_of_a_running_broker_is_kept(path: Path) -> None:
    with serve_in_memory(path):
        with pytest.raises(BrokerError) as refused:
            serve_in_memory(path)
        reason = f"leveret: control.socket: {path}: address already in use\n"
        assert str(refused.value).count(reason) == 1
        assert list_users("--control-socket", str(path)) == USERS


def test_a_file_that_is_no_socket_is_kept(path: Path) -> None:
    path.write_text("kept")
    with pytest.raises(BrokerError, match=r"control\.socket: .*: file exists"):
        serve_in_memory(path)
    assert path.read_text() == "kept"


def test_a_directory_that_is_missing_is_named(path: Path) -> None:
    with pytest.raises(BrokerError, match=r"control\.socket: .*: no such file or directory"):
        serve_in_memory(path / "none")
