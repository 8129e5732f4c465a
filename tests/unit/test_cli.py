"""The command line without a broker: version, usage, refused starts, failed pings."""

import platform
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from leveret import __version__
from leveret.cli import main
from tests.support.brokers import FEW_CONNECTIONS


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run `leveret` with arguments, in an environment without relevant variables."""
    for name in ("LEVERET_CONFIG", "RABBITMQ_DEFAULT_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(*FEW_CONNECTIONS)
    return lambda *arguments: CliRunner().invoke(main, arguments)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listener that is no broker."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


class TestVersion:
    def test_it_names_version_python_and_build(self, run: Callable[..., Result]) -> None:
        result = run("--version")

        assert result.exit_code == 0
        builds = r"compiled|plain Python|partly compiled: \d+ of \d+ modules"
        release = re.escape(f"leveret {__version__} (CPython {platform.python_version()}")
        assert re.fullmatch(rf"{release}, ({builds})\)\n", result.stdout)


class TestServe:
    """A refused start is one line on stderr, and exit code 2."""

    def refusal(self, result: Result) -> str:
        assert result.exit_code == 2
        assert result.stdout == ""
        (line,) = result.stderr.splitlines()
        return line

    def test_a_missing_file(self, run: Callable[..., Result], tmp_path: Path) -> None:
        path = tmp_path / "leveret.toml"

        assert self.refusal(run("serve", "--config", str(path))) == (
            f"leveret: {path}: no such file or directory"
        )

    def test_a_wrong_flag(self, run: Callable[..., Result]) -> None:
        assert self.refusal(run("serve", "--listen", "localhost")) == (
            "leveret: amqp.listen in --listen: 'localhost' has no port, as 127.0.0.1:5672 has"
        )

    def test_a_wrong_variable(
        self, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LEVERET_LOG_LEVEL", "loud")

        assert self.refusal(run("serve")) == (
            "leveret: log.level in LEVERET_LOG_LEVEL: "
            "expected one of debug, info, warning, error, got 'loud'"
        )

    def test_a_wrong_address_of_the_http_api(self, run: Callable[..., Result]) -> None:
        assert self.refusal(run("serve", "--management", "localhost")) == (
            "leveret: management.listen in --management: 'localhost' has no port, as"
            " 127.0.0.1:5672 has"
        )

    def test_a_data_directory_that_is_a_file(
        self, run: Callable[..., Result], tmp_path: Path
    ) -> None:
        file = tmp_path / "file"
        file.touch()

        assert self.refusal(run("serve", "--data-dir", str(file))) == (
            f"leveret: storage.data_dir: {file}: {file} is no directory"
        )
        assert self.refusal(run("serve", "--data-dir", str(file / "data"))) == (
            f"leveret: storage.data_dir: {file / 'data'}: {file} is no directory"
        )

    def test_an_unknown_flag_is_named(self, run: Callable[..., Result]) -> None:
        result = run("serve", "--listne", "127.0.0.1:0")

        assert result.exit_code == 2
        assert "--listne" in result.stderr


class TestPing:
    def ping(self, run: Callable[..., Result], port: int, timeout_s: float = 60) -> str:
        result = run("ping", "--port", str(port), "--timeout", str(timeout_s))
        assert result.exit_code == 1
        assert result.stdout == ""
        prefix = f"leveret: 127.0.0.1:{port}: "
        assert result.stderr.startswith(prefix)
        return result.stderr.removeprefix(prefix)

    def answer(self, listener: socket.socket, data: bytes) -> threading.Thread:
        """Answer the next connection with `data`, and close it after the peer."""

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        return thread

    def test_without_a_listener_the_connection_is_refused(
        self, run: Callable[..., Result], listener: socket.socket
    ) -> None:
        port = listener.getsockname()[1]
        listener.close()

        assert self.ping(run, port) == "connection refused\n"

    def test_a_silent_listener_times_out(
        self, run: Callable[..., Result], listener: socket.socket
    ) -> None:
        assert self.ping(run, listener.getsockname()[1], 0.2) == "no answer within 0.2 s\n"

    def test_a_listener_that_closes_is_no_broker(
        self, run: Callable[..., Result], listener: socket.socket
    ) -> None:
        thread = self.answer(listener, b"")

        assert self.ping(run, listener.getsockname()[1]) == (
            "the connection was closed without an answer\n"
        )
        thread.join(60)
        assert not thread.is_alive()

    @pytest.mark.parametrize(
        "data",
        [
            b"HTTP/1.",
            b"AMQP\x00\x00\x09",
            b"\x01\x00\x00",
            b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a",
            b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x0b\xce",
            b"\x01\x00\x00\xff\xff\xff\xff",
        ],
    )
    def test_a_listener_that_speaks_another_protocol_is_no_broker(
        self, run: Callable[..., Result], listener: socket.socket, data: bytes
    ) -> None:
        thread = self.answer(listener, data)

        assert self.ping(run, listener.getsockname()[1]) == (
            "the listener does not speak AMQP 0-9-1\n"
        )
        thread.join(60)
        assert not thread.is_alive()


def commands(group: click.Group, name: str) -> Iterator[tuple[str, click.Context]]:
    """Every command below a group, and the group itself, with their names."""
    context = click.Context(group, info_name=name, terminal_width=80, max_content_width=80)
    yield name, context
    for each in group.list_commands(context):
        command = group.get_command(context, each)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} {each}")
        else:
            full = f"{name} {each}"
            yield full, click.Context(command, info_name=full, terminal_width=80)


class TestHelp:
    """What --help prints on a terminal of 80 columns."""

    def test_no_line_is_longer_and_no_sentence_is_cut(self) -> None:
        wrong = [
            line
            for name, context in commands(main, "leveret")
            for line in context.command.get_help(context).splitlines()
            if len(line) > 80 or line.endswith("...")
            if not line.startswith("Usage: ")
        ]
        assert wrong == []

    def test_the_kinds_of_a_list_are_named(self) -> None:
        from leveret.commands.listing import LISTINGS, list_command

        text = list_command.get_help(click.Context(list_command, terminal_width=80))
        assert all(re.search(rf"\b{kind}\b", text) for kind in LISTINGS)
