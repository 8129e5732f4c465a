"""TLS with real certificates, which the tests make: who gets in, and how certificates change."""

import contextlib
import os
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pika
import pytest
import trustme
from pika.credentials import ExternalCredentials
from pika.exceptions import AMQPError, ConnectionClosedByBroker

from leveret.commands.client import Client
from tests.clients.peers import sockets
from tests.support.brokers import HOST, Leveret, wait_until

DEADLINE_S = 60.0
PAST = datetime(2020, 1, 1, tzinfo=UTC)


class Pki:
    """A CA, and the files of certificates that it issues."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca = trustme.CA()
        self.ca_file = directory / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.ca_file))

    def server(
        self, name: str = "server", *hosts: str, not_after: datetime | None = None
    ) -> tuple[Path, Path]:
        """The files of a certificate and its key."""
        issued = self.ca.issue_cert(*(hosts or ("localhost",)), not_after=not_after)
        return self._write(name, issued)

    def client(self, name: str, not_after: datetime | None = None) -> tuple[Path, Path]:
        """The files of a client's certificate and its key."""
        issued = self.ca.issue_cert(f"{name}@example.org", common_name=name, not_after=not_after)
        return self._write(name, issued)

    def _write(self, name: str, issued: trustme.LeafCert) -> tuple[Path, Path]:
        certfile, keyfile = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
        # The certificate last: it says that both are there.
        issued.private_key_pem.write_to_path(str(keyfile))
        certfile.write_bytes(chain)
        return certfile, keyfile


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


class Secure:
    """A broker with a TLS listener, and its clients."""

    def __init__(self, pki: Pki, *, handshake_timeout_s: float = 60, **keys: object) -> None:
        certfile, keyfile = pki.server()
        values: dict[str, object] = {
            "listen": [f"{HOST}:0"],
            "certfile": str(certfile),
            "keyfile": str(keyfile),
            **keys,
        }
        config = pki.directory / "leveret.toml"
        config.write_text("[tls]\n" + "".join(f"{key} = {_toml(v)}\n" for key, v in values.items()))
        self.pki = pki
        timeout = {"LEVERET_AMQP_HANDSHAKE_TIMEOUT": str(handshake_timeout_s)}
        self.broker = Leveret("--config", str(config), env=timeout)
        self.port = int(self.broker.log_text().partition("amqps=")[2].split()[0].rpartition(":")[2])

    def context(self, client: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.pki.ca_file))
        if client is not None:
            context.load_cert_chain(*client)
        return context

    def connect(
        self,
        client: tuple[Path, Path] | None = None,
        *,
        name: str = "localhost",
        external: bool = False,
        context: ssl.SSLContext | None = None,
    ) -> pika.BlockingConnection:
        guest = pika.PlainCredentials("guest", "guest")
        parameters = pika.ConnectionParameters(
            HOST,
            self.port,
            ssl_options=pika.SSLOptions(context or self.context(client), name),
            credentials=ExternalCredentials() if external else guest,
            connection_attempts=1,
        )
        return pika.BlockingConnection(parameters)

    def operate(self) -> Client:
        return Client(self.broker.data_dir)


def _toml(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value).lower() if isinstance(value, bool) else f'"{value}"'


@pytest.fixture
def secure(pki: Pki) -> Iterator[Callable[..., Secure]]:
    started: list[Secure] = []

    def start(handshake_timeout_s: float = 60, **keys: object) -> Secure:
        started.append(Secure(pki, handshake_timeout_s=handshake_timeout_s, **keys))
        return started[-1]

    yield start
    for each in started:
        each.broker.stop()


def test_a_message_goes_through_both_listeners(secure: Callable[..., Secure]) -> None:
    broker = secure()
    body = bytes(range(256)) * 1000
    with (
        broker.connect() as tls,
        pika.BlockingConnection(pika.URLParameters(broker.broker.url)) as plain,
    ):
        sender, receiver = tls.channel(), plain.channel()
        sender.queue_declare("q")
        sender.confirm_delivery()
        sender.basic_publish("", "q", body)
        assert receiver.basic_get("q", auto_ack=True)[2] == body
        receiver.basic_publish("", "q", body)
        for _, _, came in sender.consume("q", auto_ack=True, inactivity_timeout=DEADLINE_S):
            assert came == body
            break
        listed = broker.operate().get("connections")
        assert sorted((each["ssl"], each["ssl_protocol"]) for each in listed) == [
            (False, None),
            (True, "TLSv1.3"),
        ]


def test_a_client_refuses_what_it_does_not_trust(
    secure: Callable[..., Secure], tmp_path: Path
) -> None:
    broker = secure()
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    other_ca = ssl.create_default_context(cafile=str(Pki(stranger).ca_file))
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        broker.connect(context=other_ca)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        broker.connect(name="elsewhere.example")
    with broker.connect() as connection:
        assert connection.is_open
    wait_until(
        lambda: "the client does not know the authority" in broker.broker.log_text(), DEADLINE_S
    )


def test_a_server_that_ends_the_connection_says_why(secure: Callable[..., Secure]) -> None:
    broker = secure()
    connection = broker.connect()
    with pytest.raises(ConnectionClosedByBroker) as closed:
        connection.channel().basic_qos(prefetch_size=1)
    assert closed.value.reply_code == 540
    assert "internal error" not in broker.broker.log_text()


def test_the_proxy_header_comes_before_the_handshake(
    secure: Callable[..., Secure], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEVERET_AMQP_PROXY_NETWORKS", HOST)
    broker = secure()
    with socket.create_connection((HOST, broker.port), DEADLINE_S) as plain:
        plain.sendall(b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 5671\r\n")
        with broker.context().wrap_socket(plain, server_hostname="localhost") as secured:
            secured.sendall(b"AMQP\0\0\x09\x01")
            assert secured.recv(7)[:3] == b"\x01\0\0"
            secured.sendall(b"no frame")
    wait_until(lambda: "peer=192.0.2.7:40000" in broker.broker.log_text(), DEADLINE_S)
    with (
        socket.create_connection((HOST, broker.port), DEADLINE_S) as plain,
        pytest.raises((ssl.SSLError, OSError)),
    ):
        broker.context().wrap_socket(plain, server_hostname="localhost")
    wait_until(lambda: "no PROXY protocol header" in broker.broker.log_text(), DEADLINE_S)


def test_an_expired_certificate_is_warned_of_and_refused_by_clients(
    secure: Callable[..., Secure], pki: Pki
) -> None:
    expired = pki.server("expired", "localhost", not_after=PAST)
    broker = secure(sni=[f"localhost={expired[0]}:{expired[1]}"])
    assert "TLS certificate has expired" in broker.broker.log_text()
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate has expired"):
        broker.connect()


def test_a_certificate_is_chosen_by_server_name(secure: Callable[..., Secure], pki: Pki) -> None:
    other = pki.server("other", "a.example.org", "*.shop.example.org")
    broker = secure(
        sni=[
            f"a.example.org={other[0]}:{other[1]}",
            f"*.shop.example.org={other[0]}:{other[1]}",
        ]
    )
    for name in ("a.example.org", "b.shop.example.org", "localhost"):
        with broker.connect(name=name) as connection:
            assert connection.is_open
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        broker.connect(name="c.example.org")


class TestClientCertificates:
    @pytest.fixture
    def strict(self, secure: Callable[..., Secure], pki: Pki) -> Secure:
        return secure(cacertfile=str(pki.ca_file), verify="verify_peer", fail_if_no_peer_cert=True)

    def test_external_takes_the_user_from_the_certificate(self, strict: Secure, pki: Pki) -> None:
        ann = pki.client("ann")
        with pytest.raises(AMQPError):
            strict.connect(ann, external=True)
        operator = strict.operate()
        operator.put("users", "ann", body={"tags": ""})
        operator.put(
            "permissions", "/", "ann", body={"configure": "^ann", "write": ".*", "read": ".*"}
        )
        with strict.connect(ann, external=True) as connection:
            connection.channel().queue_declare("ann-q")
            (listed,) = operator.get("connections")
            assert (listed["user"], listed["auth_mechanism"]) == ("ann", "EXTERNAL")
            with pytest.raises(AMQPError, match="configure access to queue 'q'"):
                connection.channel().queue_declare("q")

    def test_a_password_logs_in_too(self, strict: Secure, pki: Pki) -> None:
        with strict.connect(pki.client("bob")) as connection:
            assert connection.is_open

    @pytest.mark.parametrize("what", ["none", "expired", "of another CA"])
    def test_others_are_refused(self, strict: Secure, pki: Pki, tmp_path: Path, what: str) -> None:
        certificate = None
        if what == "expired":
            certificate = pki.client("ann", not_after=PAST)
        elif what == "of another CA":
            other = tmp_path / "other"
            other.mkdir()
            certificate = Pki(other).client("ann")
        with pytest.raises((AMQPError, ssl.SSLError, OSError)):
            strict.connect(certificate)
        with strict.connect(pki.client("bob")) as connection:
            assert connection.is_open
        reason = {
            "none": "the client has no certificate",
            "expired": "the client's certificate is refused: certificate has expired",
            "of another CA": "the client's certificate is refused: unable to get local issuer",
        }[what]
        wait_until(lambda: reason in strict.broker.log_text(), DEADLINE_S)
        assert "internal error" not in strict.broker.log_text()

    @pytest.mark.parametrize(
        ("source", "user"), [("email", "ann@example.org"), ("distinguished_name", "")]
    )
    def test_the_name_may_be_elsewhere_in_the_certificate(
        self, secure: Callable[..., Secure], pki: Pki, source: str, user: str
    ) -> None:
        broker = secure(cacertfile=str(pki.ca_file), verify="verify_peer", login_from=source)
        ann = pki.client("ann")
        with pytest.raises(AMQPError):
            broker.connect(ann, external=True)
        wait_until(lambda: "login refused" in broker.broker.log_text(), DEADLINE_S)
        assert user in broker.broker.log_text()

    def test_without_a_certificate_external_is_not_offered(
        self, secure: Callable[..., Secure], pki: Pki
    ) -> None:
        broker = secure(cacertfile=str(pki.ca_file), verify="verify_peer")
        with pytest.raises(AMQPError, match="EXTERNAL"):
            broker.connect(external=True)


class TestReload:
    def serial(self, broker: Secure) -> str:
        plain = socket.create_connection((HOST, broker.port), DEADLINE_S)
        with broker.context().wrap_socket(plain, server_hostname="localhost") as secured:
            return str((secured.getpeercert() or {})["serialNumber"])

    def test_a_changed_file_is_taken_under_load_without_a_failure(
        self, secure: Callable[..., Secure], pki: Pki
    ) -> None:
        broker = secure()
        before = self.serial(broker)
        failures: list[Exception] = []
        confirmed = [0]
        ended = threading.Event()

        def publish() -> None:
            try:
                with broker.connect() as connection:
                    channel = connection.channel()
                    channel.queue_declare("q", arguments={"x-max-length": 10})
                    channel.confirm_delivery()
                    while not ended.is_set():
                        channel.basic_publish("", "q", b"x" * 1000)
                        confirmed[0] += 1
            except Exception as error:
                failures.append(error)

        publisher = threading.Thread(target=publish)
        publisher.start()
        wait_until(lambda: confirmed[0] > 0 or bool(failures), DEADLINE_S)
        pki.server()
        wait_until(lambda: self.serial(broker) != before, DEADLINE_S)
        count = confirmed[0]
        wait_until(lambda: confirmed[0] > count or bool(failures), DEADLINE_S)
        ended.set()
        publisher.join(DEADLINE_S)
        assert failures == []

    def test_sighup_reloads_and_a_bad_file_changes_nothing(
        self, secure: Callable[..., Secure], pki: Pki
    ) -> None:
        broker = secure()
        before = self.serial(broker)
        (pki.directory / "server.pem").write_text("no certificate")
        os.kill(broker.broker.pid, signal.SIGHUP)
        wait_until(
            lambda: "TLS certificates were not reloaded" in broker.broker.log_text(), DEADLINE_S
        )
        assert self.serial(broker) == before

    def test_another_authority_of_clients_is_taken(
        self, secure: Callable[..., Secure], pki: Pki, tmp_path: Path
    ) -> None:
        """Connections that come later are checked with the new one; open ones stay."""
        trusted = tmp_path / "trusted.pem"
        trusted.write_bytes(pki.ca_file.read_bytes())
        broker = secure(cacertfile=str(trusted), verify="verify_peer", fail_if_no_peer_cert=True)
        directory = tmp_path / "new"
        directory.mkdir()
        new = Pki(directory)
        with broker.connect(pki.client("ann")) as before:
            with pytest.raises((AMQPError, OSError)):
                broker.connect(new.client("ann"))
            trusted.write_bytes(new.ca_file.read_bytes())
            os.kill(broker.broker.pid, signal.SIGHUP)
            wait_until(
                lambda: broker.broker.log_text().count("TLS certificate loaded") > 1, DEADLINE_S
            )
            with broker.connect(new.client("ann")) as connection:
                assert connection.is_open
            with pytest.raises((AMQPError, OSError)):
                broker.connect(pki.client("bob"))
            before.channel().queue_declare("q")


def test_a_start_without_a_usable_certificate_is_refused_in_a_line(pki: Pki) -> None:
    with pytest.raises(Exception, match=r"tls: .*missing\.pem.*no such file"):
        Secure(pki, certfile=str(pki.directory / "missing.pem"))


def test_who_does_not_speak_tls_is_refused_quietly(secure: Callable[..., Secure]) -> None:
    broker = secure()
    for greeting in (b"AMQP\0\0\x09\x01", b"GET / HTTP/1.1\r\n\r\n", b""):
        with socket.create_connection((HOST, broker.port), DEADLINE_S) as stranger:
            stranger.sendall(greeting)
            if greeting:
                while stranger.recv(4096):
                    pass
    with broker.connect() as connection:
        assert connection.is_open
    log = broker.broker.log_text()
    assert "the client speaks AMQP without TLS" in log
    assert "an HTTP request" in log
    assert "the client closed the connection" in log
    assert "internal error" not in log
    assert "Traceback" not in log


def test_tls_on_the_plain_port_is_named(secure: Callable[..., Secure]) -> None:
    broker = secure()
    with (
        socket.create_connection((HOST, broker.broker.port), DEADLINE_S) as plain,
        pytest.raises(ssl.SSLError),
    ):
        broker.context().wrap_socket(plain, server_hostname="localhost")
    wait_until(lambda: "a TLS handshake" in broker.broker.log_text(), DEADLINE_S)


def test_handshakes_that_never_end_are_cut(secure: Callable[..., Secure]) -> None:
    broker = secure(handshake_timeout_s=3)
    before = sockets(broker.broker)
    with contextlib.ExitStack() as stack:
        stuck = [
            stack.enter_context(socket.create_connection((HOST, broker.port), DEADLINE_S))
            for _ in range(100)
        ]
        for number, each in enumerate(stuck):
            # Nothing, or the beginning of a hello.
            each.sendall(b"\x16\x03\x01\x02\x00\x01"[: number % 6])
        for each in stuck:
            with contextlib.suppress(ConnectionResetError):
                while each.recv(4096):
                    pass
        wait_until(lambda: sockets(broker.broker) <= before, DEADLINE_S, "their sockets closing")
    assert "Traceback" not in broker.broker.log_text()


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(days=10)


def test_a_certificate_that_expires_soon_is_warned_of(
    secure: Callable[..., Secure], pki: Pki
) -> None:
    near = pki.server("near", "near.example.org", not_after=soon())
    broker = secure(sni=[f"near.example.org={near[0]}:{near[1]}"])
    assert "TLS certificate expires soon" in broker.broker.log_text()
