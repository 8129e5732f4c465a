"""Logs: one event a line, whatever a peer's name is; levels; JSON."""

import json
import logging

import pytest
import structlog

from leveret.config import Log, LogFormat
from leveret.logging import (
    RECENT,
    configure_logging,
    get_logger,
    log_libraries,
    write_ready,
    write_refusal,
)

FORMS: tuple[LogFormat, ...] = ("console", "json")


@pytest.fixture(autouse=True)
def _default_logging() -> object:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:], root.level = handlers, level
    configure_logging(Log())


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
    get_logger().warning("login refused", user="a\n2026 info all well\x1b[2J", reason="-")
    get_logger().warning("MY_VARIABLE\n2026 sets nothing")

    first, second = lines_of(capsys)
    assert first.endswith("login refused user='a\\n2026 info all well\\x1b[2J' reason=-")
    assert second.endswith("MY_VARIABLE\\n2026 sets nothing")


@pytest.mark.parametrize("form", FORMS)
def test_a_field_without_a_value_is_left_out(
    form: LogFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(Log(format=form))
    get_logger().info("opened", name="", method=None, channel=0, read=False)

    (line,) = lines_of(capsys)
    assert "name" not in line
    assert "method" not in line
    assert "channel" in line
    assert "read" in line


@pytest.mark.parametrize("form", FORMS)
def test_what_a_library_logs_is_an_event(
    form: LogFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(Log(format=form))
    log_libraries()
    logging.getLogger("a.library").warning("Invalid HTTP request received.")
    logging.getLogger("a.library").info("quiet")

    (line,) = lines_of(capsys)
    assert "a library reports" in line
    assert "Invalid HTTP request received." in line
    assert (line[0] == "{") == (form == "json")


def test_json_begins_with_time_level_and_event(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Log(format="json"))
    get_logger().bind(peer="127.0.0.1:40312").info("opened")
    write_ready(Log(format="json"), ["amqp=127.0.0.1:5672"], "memory")
    write_refusal("json", "no such directory")

    events = [json.loads(line) for line in lines_of(capsys)]
    assert all(list(event)[:3] == ["timestamp", "level", "event"] for event in events)
    assert events[1]["listeners"] == ["amqp=127.0.0.1:5672"]
    assert events[2]["reason"] == "no such directory"


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


def test_the_configuration_of_an_application_stays_as_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = structlog.get_config()
    configure_logging(Log(format="json"), silent=True)
    get_logger().warning("kept in memory")
    structlog.get_logger().warning("of the application")

    captured = capsys.readouterr()
    assert structlog.get_config() == before
    assert "of the application" in captured.out
    assert captured.err == ""
    assert RECENT.events[-1]["event"] == "kept in memory"


def test_the_logger_follows_a_later_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    logger = get_logger()
    configure_logging(Log(level="error"))
    logger.warning("quiet")

    assert lines_of(capsys) == []


def test_a_logger_that_was_used_follows_too(capsys: pytest.CaptureFixture[str]) -> None:
    logger = get_logger()
    logger.warning("loud")
    configure_logging(Log(level="error"))
    logger.warning("quiet")

    (line,) = lines_of(capsys)
    assert "loud" in line
