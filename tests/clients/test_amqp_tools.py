"""The C client library, through the programs of amqp-tools."""

import shutil

import pytest

from tests.clients.processes import run_program
from tests.support.brokers import Broker

pytestmark = pytest.mark.skipif(
    shutil.which("amqp-publish") is None, reason="amqp-tools is not installed"
)


class Tools:
    """The programs, each told where the broker is."""

    def __init__(self, broker: Broker) -> None:
        self._url = broker.url

    def attempt(self, tool: str, *arguments: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
        """Exit status, output and error output of a tool."""
        done = run_program([tool, f"--url={self._url}", *arguments], stdin)
        return done.returncode, done.stdout, done.stderr

    def run(self, tool: str, *arguments: str, stdin: bytes = b"") -> bytes:
        """The output of a tool that has to succeed."""
        status, output, errors = self.attempt(tool, *arguments, stdin=stdin)
        assert (status, errors) == (0, b"")
        return output


@pytest.fixture
def tools(broker: Broker) -> Tools:
    """The tools, pointed at the broker."""
    return Tools(broker)


def test_a_declared_queue_is_named_published_to_got_from_and_deleted(
    tools: Tools, name: str
) -> None:
    declared = tools.run("amqp-declare-queue", "-d", "-q", name)
    tools.run("amqp-publish", "-r", name, "-p", "-b", "from C")
    got = tools.run("amqp-get", "-q", name)
    status, _output, _errors = tools.attempt("amqp-get", "-q", name)
    deleted = tools.run("amqp-delete-queue", "-q", name)

    assert (declared, got, deleted) == (name.encode() + b"\n", b"from C", b"0\n")
    assert status == 2


def test_the_broker_names_a_queue_declared_without_a_name(tools: Tools) -> None:
    assert tools.run("amqp-declare-queue", "-q", "").startswith(b"amq.gen-")


def test_a_body_of_many_frames_comes_back_whole(tools: Tools, name: str) -> None:
    body = b"".join(number.to_bytes(4, "big") for number in range(250_000))
    tools.run("amqp-declare-queue", "-q", name)

    tools.run("amqp-publish", "-r", name, stdin=body)

    assert tools.run("amqp-get", "-q", name) == body


def test_lines_become_messages_that_a_consumer_hands_to_a_command(tools: Tools, name: str) -> None:
    tools.run("amqp-declare-queue", "-q", name)
    tools.run("amqp-publish", "-r", name, "--line-buffered", stdin=b"one\ntwo\nthree\n")

    consumed = tools.run("amqp-consume", "-q", name, "-c", "3", "-p", "1", "cat")

    assert consumed.split() == [b"one", b"two", b"three"]
    assert tools.run("amqp-delete-queue", "-q", name) == b"0\n"


def test_binding_to_a_missing_exchange_is_told_with_the_brokers_words(
    tools: Tools, name: str
) -> None:
    status, _output, errors = tools.attempt(
        "amqp-consume", "-q", name, "-e", f"{name}-missing", "-r", "key", "-c", "1", "cat"
    )

    assert status == 1
    assert f"NOT_FOUND - no exchange '{name}-missing' in vhost '/'".encode() in errors


def test_a_missing_queue_is_told_with_the_brokers_words(tools: Tools, name: str) -> None:
    status, _output, errors = tools.attempt("amqp-get", "-q", name)

    assert status == 1
    assert f"NOT_FOUND - no queue '{name}' in vhost '/'".encode() in errors


def test_a_wrong_password_is_told_with_the_brokers_words(broker: Broker) -> None:
    url = f"amqp://guest:wrong@{broker.host}:{broker.port}/%2F"

    done = run_program(["amqp-declare-queue", f"--url={url}", "-q", "any"])

    assert done.returncode == 1
    assert b"ACCESS_REFUSED" in done.stderr
