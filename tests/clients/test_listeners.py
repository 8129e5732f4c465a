"""Listeners beside plain TCP: a Unix socket, and what proxies say before AMQP."""

import os
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trustme

from leveret.commands.client import Client
from leveret.net.proxy_protocol import LOCAL_HEADER
from tests.support.brokers import HOST, Leveret, leveret_command, wait_until

DEADLINE_S = 60.0
AMQP = b"AMQP\0\0\x09\x01"
HEADER = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 5672\r\n"
SLOW = ("LEVERET_AMQP_HANDSHAKE_TIMEOUT", "0.5")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Callable[..., Leveret]]:
    started: list[Leveret] = []

    def start(environment: dict[str, str]) -> Leveret:
        started.append(Leveret(env=environment))
        return started[-1]

    yield start
    for each in started:
        each.stop()


def frame(payload: bytes) -> bytes:
    return b"\x01\0\0" + len(payload).to_bytes(4) + payload + b"\xce"


def short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def long(text: bytes) -> bytes:
    return len(text).to_bytes(4) + text


def start_ok(user: bytes, password: bytes) -> bytes:
    capability = short(b"authentication_failure_close") + b"t\x01"
    properties = long(short(b"capabilities") + b"F" + long(capability))
    response = b"\0" + user + b"\0" + password
    return frame(b"\0\x0a\0\x0b" + properties + short(b"PLAIN") + long(response) + short(b"en_US"))


def read_frame(sock: socket.socket) -> bytes:
    """The payload of the next frame; empty at the end of the stream."""
    head = sock.recv(7, socket.MSG_WAITALL)
    if len(head) < 7:
        return b""
    return sock.recv(int.from_bytes(head[3:7]) + 1, socket.MSG_WAITALL)[:-1]


def log_in(sock: socket.socket, user: bytes = b"guest", password: bytes = b"guest") -> bytes:
    """The method that answers start-ok: `tune` or `close`."""
    sock.sendall(AMQP)
    assert read_frame(sock)[:4] == b"\0\x0a\0\x0a"
    sock.sendall(start_ok(user, password))
    return read_frame(sock)[:4]


def open_connection(sock: socket.socket) -> None:
    assert log_in(sock) == TUNE
    sock.sendall(frame(b"\0\x0a\0\x1f\x07\xff\0\2\0\0\0\0"))
    sock.sendall(frame(b"\0\x0a\0\x28" + short(b"/") + b"\0\0"))
    assert read_frame(sock)[:4] == b"\0\x0a\0\x29"


TUNE = b"\0\x0a\0\x1e"
CLOSE = b"\0\x0a\0\x32"


class TestUnixSocket:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "amqp.sock"

    @pytest.fixture
    def unix(self, broker: Callable[..., Leveret], path: Path) -> Leveret:
        return broker({"LEVERET_AMQP_UNIX_SOCKET": str(path)})

    def connect(self, path: Path) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(DEADLINE_S)
        sock.connect(str(path))
        return sock

    def test_a_client_is_on_this_machine_and_is_listed(self, unix: Leveret, path: Path) -> None:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        with self.connect(path) as first, self.connect(path) as second:
            open_connection(first)
            open_connection(second)
            listed = Client(unix.data_dir).get("connections")
        assert sorted((each["peer_host"], each["peer_port"]) for each in listed) == [
            ("unix", 1),
            ("unix", 2),
        ]
        assert {(each["host"], each["port"], each["ssl"]) for each in listed} == {
            (str(path), 0, False)
        }
        assert f"amqp=unix:{path}" in unix.log_text()
        assert f"pid={os.getpid()}" in unix.log_text()

    def test_the_file_is_removed_at_the_stop(self, unix: Leveret, path: Path) -> None:
        unix.stop()
        assert not path.exists()

    def test_the_file_of_a_process_that_is_gone_is_replaced(
        self, broker: Callable[..., Leveret], path: Path
    ) -> None:
        with socket.socket(socket.AF_UNIX) as gone:
            gone.bind(str(path))
        broker({"LEVERET_AMQP_UNIX_SOCKET": str(path), "LEVERET_AMQP_UNIX_SOCKET_MODE": "0600"})
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with self.connect(path) as sock:
            assert log_in(sock) == TUNE

    def test_another_process_keeps_its_socket(
        self, broker: Callable[..., Leveret], unix: Leveret, path: Path
    ) -> None:
        with pytest.raises(Exception, match=r"amqp\.unix_socket: .*address already in use"):
            broker({"LEVERET_AMQP_UNIX_SOCKET": str(path)})
        with self.connect(path) as sock:
            assert log_in(sock) == TUNE

    def test_a_file_that_is_no_socket_is_kept(
        self, broker: Callable[..., Leveret], path: Path
    ) -> None:
        path.write_text("kept")
        with pytest.raises(Exception, match=r"amqp\.unix_socket: .*file exists"):
            broker({"LEVERET_AMQP_UNIX_SOCKET": str(path)})
        assert path.read_text() == "kept"

    def test_a_path_that_is_too_long_is_named(
        self, broker: Callable[..., Leveret], tmp_path: Path
    ) -> None:
        with pytest.raises(Exception, match=r"amqp\.unix_socket: .*file name too long"):
            broker({"LEVERET_AMQP_UNIX_SOCKET": str(tmp_path / ("x" * 120))})


class TestProxy:
    @pytest.fixture
    def proxied(self, broker: Callable[..., Leveret]) -> Leveret:
        return broker({"LEVERET_AMQP_PROXY_NETWORKS": "127.0.0.0/8"})

    def connect(self, broker: Leveret, *parts: bytes) -> socket.socket:
        sock = socket.create_connection((HOST, broker.port), DEADLINE_S)
        for part in parts:
            sock.sendall(part)
        return sock

    def test_the_client_that_the_header_names_is_the_peer(self, proxied: Leveret) -> None:
        Client(proxied.data_dir).put("users", "ann", body={"password": "secret", "tags": ""})
        with self.connect(proxied, HEADER) as sock:
            assert log_in(sock, b"ann", b"secret") == TUNE
        with self.connect(proxied, HEADER) as sock:
            assert log_in(sock, b"ann", b"wrong") == CLOSE
        wait_until(lambda: "wrong user or password" in proxied.log_text(), DEADLINE_S)
        assert "peer=192.0.2.7:40000" in proxied.log_text()
        assert f"proxy={HOST}:" in proxied.log_text()

    @pytest.mark.parametrize(
        ("header", "answer"),
        [
            (b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n", TUNE),
            (LOCAL_HEADER, TUNE),
            (HEADER, CLOSE),
            (b"PROXY UNKNOWN\r\n", CLOSE),
        ],
    )
    def test_users_of_the_loopback_interface_are_told_by_the_client(
        self, proxied: Leveret, header: bytes, answer: bytes
    ) -> None:
        with self.connect(proxied, header) as sock:
            assert log_in(sock) == answer

    def test_a_connection_is_listed_with_both_its_ends(self, proxied: Leveret) -> None:
        with self.connect(proxied, b"PROXY TCP4 127.0.0.9 198.51.100.1 40000 5672\r\n") as sock:
            open_connection(sock)
            (listed,) = Client(proxied.data_dir).get("connections")
        assert listed["name"] == "127.0.0.9:40000 -> 198.51.100.1:5672"

    @pytest.mark.parametrize("data", [AMQP, b"PROXY TCP4 no\r\n", b"PROXY " + b"x" * 200, b"PROXY"])
    def test_what_is_no_header_is_cut(self, proxied: Leveret, data: bytes) -> None:
        with self.connect(proxied, data) as sock:
            sock.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):
                assert sock.recv(100) == b""
        wait_until(lambda: "connection refused: PROXY protocol" in proxied.log_text(), DEADLINE_S)
        with self.connect(proxied, HEADER[:20], HEADER[20:]) as sock:
            sock.sendall(AMQP)
            assert read_frame(sock)[:4] == b"\0\x0a\0\x0a"

    def test_a_slow_header_is_cut(self, broker: Callable[..., Leveret]) -> None:
        proxied = broker({"LEVERET_AMQP_PROXY_NETWORKS": HOST, SLOW[0]: SLOW[1]})
        with self.connect(proxied, HEADER[:10]) as sock:
            assert sock.recv(100) == b""
        assert "nothing came in time" in proxied.log_text()

    def test_from_others_a_header_is_refused(self, broker: Callable[..., Leveret]) -> None:
        proxied = broker({"LEVERET_AMQP_PROXY_NETWORKS": "192.0.2.0/24, 2001:db8::/32"})
        with self.connect(proxied, HEADER) as sock:
            assert sock.recv(100) == AMQP
            assert sock.recv(100) == b""
        assert "a PROXY protocol header" in proxied.log_text()
        with self.connect(proxied) as sock:
            assert log_in(sock) == TUNE

    def test_sockets_that_say_nothing_are_closed_at_the_stop(self, proxied: Leveret) -> None:
        with self.connect(proxied) as sock:
            wait_until(lambda: proxied.pid > 0, DEADLINE_S)
            assert proxied.stop() == 0
            with suppress(ConnectionResetError):
                assert sock.recv(100) == b""


class TestPing:
    """`leveret ping` with the configuration of the broker, as the image's health check does."""

    def ping(self, environment: dict[str, str], *arguments: str) -> tuple[int, str]:
        command, variables = leveret_command()
        done = subprocess.run(
            [*command, "ping", "--timeout", "60", *arguments],
            env={**variables, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def test_a_unix_socket_is_asked(self, broker: Callable[..., Leveret], tmp_path: Path) -> None:
        path = tmp_path / "amqp.sock"
        environment = {"LEVERET_AMQP_LISTEN": "", "LEVERET_AMQP_UNIX_SOCKET": str(path)}
        running = broker(environment)
        assert self.ping(environment) == (0, f"a broker at unix:{path} speaks AMQP 0-9-1\n")
        running.stop()
        assert self.ping(environment) == (
            1,
            f"leveret: unix:{path}: no such file or directory\n",
        )

    def test_a_proxys_listener_is_asked_with_a_header(self, broker: Callable[..., Leveret]) -> None:
        environment = {"LEVERET_AMQP_PROXY_NETWORKS": HOST}
        running = broker(environment)
        address = f"{HOST}:{running.port}"
        environment["LEVERET_AMQP_LISTEN"] = address
        assert self.ping(environment) == (0, f"a broker at {address} speaks AMQP 0-9-1\n")

    @pytest.mark.parametrize("proxied", [False, True])
    def test_tls_is_asked(
        self, broker: Callable[..., Leveret], tmp_path: Path, proxied: bool
    ) -> None:
        certificate = tmp_path / "server.pem"
        issued = trustme.CA().issue_cert("elsewhere.example.org")
        certificate.write_bytes(issued.private_key_and_cert_chain_pem.bytes())
        environment = {"LEVERET_TLS_LISTEN": f"{HOST}:0", "LEVERET_TLS_CERTFILE": str(certificate)}
        if proxied:
            environment["LEVERET_AMQP_PROXY_NETWORKS"] = "127.0.0.0/8"
        running = broker(environment)
        address = running.log_text().partition("amqps=")[2].split()[0]
        environment["LEVERET_TLS_LISTEN"] = address
        answer = (0, f"a broker at {address} speaks AMQP 0-9-1\n")
        assert self.ping({**environment, "LEVERET_AMQP_LISTEN": ""}) == answer
        assert self.ping(environment, "--tls") == answer
        plain = {**environment, "LEVERET_TLS_LISTEN": f"{HOST}:{running.port}"}
        assert self.ping(plain, "--tls") == (
            1,
            f"leveret: {HOST}:{running.port}: the listener does not speak TLS\n",
        )
