"""`leveret pause queue` and `leveret resume queue` against a running broker."""

from pathlib import Path

import pika
import pytest

from tests.clients.test_commands import CommandLine
from tests.support.brokers import Leveret

STATE = ("list", "queues", "name", "state", "messages")
PERSISTENT = pika.BasicProperties(delivery_mode=2)


def paused(messages: int) -> str:
    return f"name  state   messages\nq     paused  {messages:>8}\n"


def got(broker: Leveret) -> bytes | None:
    """What basic.get takes."""
    with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
        body: bytes | None = connection.channel().basic_get("q", auto_ack=True)[2]
        return body


@pytest.mark.parametrize("is_killed", [True, False])
def test_a_paused_queue_is_paused_after_restarts(tmp_path: Path, is_killed: bool) -> None:
    leveret = CommandLine(tmp_path / "data")
    with Leveret(data_dir=leveret.data) as broker:
        leveret("declare", "queue", "q")
        leveret("pause", "queue", "q")
        leveret("pause", "queue", "q")
        leveret("publish", "", "q", "1", "--property", "delivery_mode=2")
        assert leveret(*STATE) == paused(1)
        assert got(broker) is None
        log = broker.log_text()
        if is_killed:
            broker.kill()
    assert log.count("what='queue paused'") == 1
    with Leveret(data_dir=leveret.data) as broker:
        assert leveret(*STATE) == paused(1)
        assert got(broker) is None
        if is_killed:
            broker.kill()
    with Leveret(data_dir=leveret.data) as broker:
        assert leveret(*STATE) == paused(1)
        leveret("resume", "queue", "q")
        assert "what='queue resumed' vhost=/ name=q" in broker.log_text()
        if is_killed:
            broker.kill()
    with Leveret(data_dir=leveret.data) as broker:
        assert leveret(*STATE) == "name  state    messages\nq     running         1\n"
        assert got(broker) == b"1"


def test_consumers_go_on_when_it_is_resumed(tmp_path: Path) -> None:
    leveret = CommandLine(tmp_path / "data")
    with Leveret(data_dir=leveret.data) as broker:
        leveret("declare", "queue", "q")
        parameters = pika.URLParameters(broker.url)
        with pika.BlockingConnection(parameters) as connection:
            channel = connection.channel()
            consumed = channel.consume("q", auto_ack=True, inactivity_timeout=60)
            leveret("pause", "queue", "q")
            with pika.BlockingConnection(parameters) as other:
                publisher = other.channel()
                publisher.confirm_delivery()
                for body in (b"1", b"2"):
                    publisher.basic_publish("", "q", body, PERSISTENT)
            assert leveret(*STATE) == paused(2)
            leveret("get", "q", "--ack")
            leveret("resume", "queue", "q")
            assert next(consumed)[2] == b"2"


def test_a_queue_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    leveret = CommandLine(tmp_path / "data")
    with Leveret(data_dir=leveret.data):
        for what in ("pause", "resume"):
            reason = leveret.refused(what, "queue", "none")
            assert reason == "queue 'none' does not exist in virtual host '/'"
