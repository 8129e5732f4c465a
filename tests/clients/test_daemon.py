"""`leveret serve` as a process: ready, refusals, signals, and what it tells clients and systemd."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pika
import pytest
from pamqp import commands
from pika.exceptions import ConnectionClosedByBroker, ProbableAccessDeniedError

from leveret import __version__
from tests.support import wire
from tests.support.brokers import FEW_CONNECTIONS, HOST, Leveret, wait_until

EXIT_DEADLINE_S = 60.0
OWN_HOST = "127.0.0.77"
"""Of the loopback network, where no other test takes a port that is free for a moment."""

READY = re.compile(r"leveret ready( amqp=\S+:\d+)+ storage=(\S+)")


def leveret(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a `leveret` command that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "leveret", *arguments],
        env={**os.environ, **dict([FEW_CONNECTIONS]), **variables},
        capture_output=True,
        text=True,
        timeout=EXIT_DEADLINE_S,
    )


def refusal(*arguments: str, **variables: str) -> str:
    """The line with which `leveret serve` refuses to start."""
    done = leveret("serve", *arguments, **variables)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


def exit_code(broker: Leveret) -> int | None:
    """Wait for a broker that was told to stop, without telling it again."""
    state = os.WEXITED | os.WNOHANG | os.WNOWAIT
    wait_until(
        lambda: os.waitid(os.P_PID, broker.pid, state) is not None, EXIT_DEADLINE_S, "the exit"
    )
    return broker.stop()


def has_ipv6_loopback() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.fixture
def daemon() -> Iterator[Leveret]:
    """A broker of this test's own."""
    with Leveret() as broker:
        yield broker


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket systemd reads notifications from."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(str(tmp_path / "notify"))
        datagrams.settimeout(EXIT_DEADLINE_S)
        yield datagrams


class TestReady:
    def test_the_ready_line_names_the_free_port_it_took(self, daemon: Leveret) -> None:
        (line,) = [line for line in daemon.log_text().splitlines() if line.startswith("leveret")]

        ready = READY.fullmatch(line)
        assert ready
        assert ready[2] == str(daemon.data_dir)
        assert f"amqp={HOST}:{daemon.port} " in line
        assert daemon.port != 0

    def test_it_names_every_listener(self) -> None:
        with Leveret("--listen", f"{HOST}:0") as broker:
            ports = re.findall(rf"amqp={HOST}:(\d+)", broker.log_text())

            assert len(set(ports)) == 2
            for port in ports:
                socket.create_connection((HOST, int(port)), EXIT_DEADLINE_S).close()

    def test_it_listens_on_ipv6_where_the_machine_has_it(self) -> None:
        if has_ipv6_loopback():
            with Leveret("--listen", "[::1]:0") as broker:
                assert re.search(r"amqp=\[::1\]:\d+", broker.log_text())
        else:
            assert "[::1]:0" in refusal("--listen", "[::1]:0")

    def test_with_json_every_line_is_an_object(self) -> None:
        with Leveret("--log-format", "json") as broker:
            os.kill(broker.pid, signal.SIGTERM)
            wait_until(lambda: '"stopped"' in broker.log_text(), what="the event stopped")
            lines = broker.log_text().splitlines()
            assert exit_code(broker) == 0

        events = [json.loads(line) for line in lines]
        assert [event["event"] for event in events][-2:] == ["ready", "stopped"]

    def test_with_json_the_reason_of_a_refused_start_is_an_object(self, tmp_path: Path) -> None:
        file = tmp_path / "file"
        file.touch()
        for arguments in (["--listen", "nowhere"], ["--data-dir", str(file)]):
            done = leveret("serve", "--log-format", "json", *arguments)
            assert done.returncode == 2
            *_, event = [json.loads(line) for line in done.stderr.splitlines()]
            assert event["level"] == "error"
            assert event["reason"]

    def test_a_stop_is_one_event_whatever_the_number_of_clients(self) -> None:
        with Leveret() as broker:
            clients = [wire.connect(broker.host, broker.port) for _ in range(3)]
            wait_until(lambda: broker.log_text().count("connection opened") == 3, what="clients")
            os.kill(broker.pid, signal.SIGTERM)
            for client in clients:
                client.read_one(commands.Connection.Close)
                client.send(commands.Connection.CloseOk())
                client.read_until_closed()
                client.close_socket()
            wait_until(lambda: "stopped" in broker.log_text(), what="the event stopped")
            *_, before, last = broker.log_text().splitlines()
            assert exit_code(broker) == 0

        assert "connection opened" in before
        assert "stopped reason=SIGTERM connections=3 seconds=" in last

    def test_an_event_about_no_channel_names_none(self, daemon: Leveret) -> None:
        with pytest.raises(ProbableAccessDeniedError):
            pika.BlockingConnection(pika.URLParameters(daemon.url.replace("%2F", "nowhere")))

        (line,) = [each for each in daemon.log_text().splitlines() if "nowhere" in each]
        assert "channel" not in line
        assert "code=530" in line

    def test_without_a_directory_it_says_that_all_is_in_memory_and_writes_nothing(self) -> None:
        with Leveret("--memory") as broker:
            assert broker.log_text().splitlines()[-1].endswith(" storage=memory")
            assert [path.name for path in broker.directory.iterdir()] == [broker.log_path.name]

    def test_it_writes_into_its_data_directory_only(self, daemon: Leveret) -> None:
        assert {path.name for path in daemon.directory.iterdir()} == {
            daemon.log_path.name,
            daemon.data_dir.name,
        }


class TestRefusals:
    def test_a_port_in_use_names_address_and_key(self, daemon: Leveret) -> None:
        address = f"{HOST}:{daemon.port}"

        assert refusal("--listen", address) == (
            f"leveret: amqp.listen: {address}: address already in use"
        )

    def test_an_address_of_another_machine_names_address_and_key(self) -> None:
        assert refusal("--listen", "192.0.2.1:0").startswith("leveret: amqp.listen: 192.0.2.1:0: ")

    def test_a_wrong_file_names_key_and_file(self, tmp_path: Path) -> None:
        path = tmp_path / "leveret.toml"
        path.write_text("[amqp]\nheartbeat = -1\n")

        assert refusal("--config", str(path)) == (
            f"leveret: amqp.heartbeat in {path}: expected a whole number from 0 to 65535, got -1"
        )
        assert refusal(LEVERET_CONFIG=str(path)) == refusal("--config", str(path))

    def test_a_data_directory_that_cannot_be_made_names_the_key(self, tmp_path: Path) -> None:
        file = tmp_path / "file"
        file.touch()

        assert refusal("--listen", f"{HOST}:0", "--data-dir", str(file / "data")) == (
            f"leveret: storage.data_dir: {file / 'data'}: {file} is no directory"
        )


class TestStop:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_tells_clients_320_and_ends_with_0(self, number: signal.Signals) -> None:
        with Leveret() as broker:
            connection = pika.BlockingConnection(pika.URLParameters(broker.url))
            os.kill(broker.pid, number)
            with pytest.raises(ConnectionClosedByBroker) as closed:
                connection.process_data_events(time_limit=EXIT_DEADLINE_S)

            assert closed.value.reply_code == 320
            assert closed.value.reply_text == (
                "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"
            )
            assert exit_code(broker) == 0

    def test_after_a_client_that_does_not_answer_another_broker_takes_port_and_data(
        self, tmp_path: Path
    ) -> None:
        with Leveret("--listen", f"{OWN_HOST}:0", data_dir=tmp_path) as broker:
            found = re.search(rf"amqp={re.escape(OWN_HOST)}:(\d+)", broker.log_text())
            assert found
            with wire.connect(OWN_HOST, int(found[1])) as client:
                os.kill(broker.pid, signal.SIGTERM)
                assert exit_code(broker) == 0

                address = f"{OWN_HOST}:{found[1]}"
                with Leveret("--listen", address, data_dir=tmp_path) as again:
                    assert f"amqp={address}" in again.log_text()
                client.read_until_closed()

    def test_a_second_signal_ends_it_at_once(self) -> None:
        with Leveret() as broker, wire.connect(broker.host, broker.port):
            # It has both before it can have stopped because of the first one.
            for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGCONT):
                os.kill(broker.pid, number)

            assert exit_code(broker) in (128 + signal.SIGTERM, 128 + signal.SIGINT)
            assert "stopped" not in broker.log_text()

    def test_nobody_is_served_after_the_stop(self, daemon: Leveret) -> None:
        port = daemon.port
        assert daemon.stop() == 0

        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port), EXIT_DEADLINE_S)


class TestSystemd:
    def test_it_is_told_of_ready_and_stopping(self, systemd: socket.socket, tmp_path: Path) -> None:
        with Leveret(env={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as broker:
            assert systemd.recv(100) == b"READY=1"
            assert broker.stop() == 0

        assert systemd.recv(100) == b"STOPPING=1"


class TestCommands:
    def test_ping_of_a_broker_ends_with_0(self, daemon: Leveret) -> None:
        done = leveret("ping", "--port", str(daemon.port), "--timeout", "60")

        assert (done.returncode, done.stdout) == (
            0,
            f"a broker at {HOST}:{daemon.port} speaks AMQP 0-9-1\n",
        )

    def test_ping_leaves_no_complaint_in_the_brokers_log(self, daemon: Leveret) -> None:
        before = daemon.log_text()
        assert leveret("ping", "--port", str(daemon.port), "--timeout", "60").returncode == 0
        assert daemon.log_text() == before

    def test_ping_of_nobody_ends_with_1(self, daemon: Leveret) -> None:
        port = daemon.port
        daemon.stop()
        done = leveret("ping", "--port", str(port))

        assert (done.returncode, done.stderr) == (
            1,
            f"leveret: {HOST}:{port}: connection refused\n",
        )

    def test_version_says_what_runs(self) -> None:
        done = leveret("--version")

        assert done.returncode == 0
        assert done.stdout.startswith(f"leveret {__version__} (CPython ")


class TestRabbitmqsVariables:
    @pytest.fixture
    def shop(self) -> Iterator[Leveret]:
        variables = {
            "RABBITMQ_DEFAULT_USER": "ann",
            "RABBITMQ_DEFAULT_PASS": "correct horse",
            "RABBITMQ_DEFAULT_VHOST": "shop",
        }
        with Leveret(env=variables) as broker:
            yield broker

    @pytest.fixture
    def connect(self, shop: Leveret) -> Callable[[str, str], pika.BlockingConnection]:
        def connect(user: str, password: str) -> pika.BlockingConnection:
            credentials = pika.PlainCredentials(user, password)
            return pika.BlockingConnection(
                pika.ConnectionParameters(shop.host, shop.port, "shop", credentials)
            )

        return connect

    def test_user_and_virtual_host_are_theirs_and_no_password_is_logged(
        self, shop: Leveret, connect: Callable[[str, str], pika.BlockingConnection]
    ) -> None:
        connect("ann", "correct horse").close()
        with pytest.raises(pika.exceptions.ProbableAuthenticationError):
            connect("guest", "guest")
        with pytest.raises(pika.exceptions.ProbableAuthenticationError):
            connect("ann", "battery staple")

        assert "correct horse" not in shop.log_text()
        assert "battery staple" not in shop.log_text()
