"""Logs: one event a line, whatever a peer's name is; levels; JSON."""

import json

import pytest
import structlog

from leveret.config import Log
from leveret.logging import configure_logging, get_logger


@pytest.fixture(autouse=True)
def _default_logging() -> object:
    yield
    structlog.reset_defaults()


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_an_event_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Log())
    get_logger().info("connection opened", peer="127.0.0.1:40312", channels=3)

    (line,) = lines_of(capsys)
    timestamp, rest = line.split(" ", 1)
    assert timestamp.endswith("Z")
    assert rest == "info    connection opened peer=127.0.0.1:40312 channels=3"


def test_a_name_of_a_peer_cannot_start_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Log())
    get_logger().warning("login refused", user="a\n2026 info all well\x1b[2J", vhost="")

    (line,) = lines_of(capsys)
    assert line.endswith("login refused user='a\\n2026 info all well\\x1b[2J' vhost=''")


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Log(format="json"))
    get_logger().warning("login refused", user="a\nb", error=OSError("gone"))

    (line,) = lines_of(capsys)
    event = json.loads(line)
    assert event.pop("timestamp").endswith("Z")
    assert event == {"level": "warning", "event": "login refused", "user": "a\nb", "error": "gone"}


def test_events_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Log(level="warning"))
    logger = get_logger()
    logger.info("quiet")
    logger.warning("loud")

    (line,) = lines_of(capsys)
    assert "loud" in line


@pytest.mark.parametrize("form", ["console", "json"])
def test_an_error_of_the_broker_has_its_traceback(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(Log(format="json" if form == "json" else "console"))
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        get_logger().exception("internal error")

    text = capsys.readouterr().err
    assert "internal error" in text
    assert "Traceback (most recent call last)" in text
    assert "RuntimeError: broken" in text
    assert (len(text.splitlines()) == 1) == (form == "json")


def test_the_logger_follows_a_later_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    logger = get_logger()
    configure_logging(Log(level="error"))
    logger.warning("quiet")

    assert lines_of(capsys) == []
