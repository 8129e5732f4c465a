"""sd_notify, through real datagram sockets."""

import socket
from pathlib import Path

import pytest

from leveret.systemd import notify


def test_nothing_is_sent_without_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setattr(socket, "socket", None)

    notify("READY=1")


def test_a_state_reaches_the_socket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(path)
        systemd.settimeout(60)
        notify("READY=1")

        assert systemd.recv(100) == b"READY=1"


def test_a_state_reaches_a_socket_of_the_abstract_namespace(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0{name}")
        systemd.settimeout(60)
        notify("STOPPING=1")

        assert systemd.recv(100) == b"STOPPING=1"
