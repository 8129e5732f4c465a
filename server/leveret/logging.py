"""Logs: structured events on stderr, one a line, as text for people or as JSON.

An event is a short constant text, and its variable parts are fields: `logger.info("connection
opened", peer="127.0.0.1:40312")`. An error of a client is a warning of one line; only errors of the
broker have a traceback. Passwords are never logged. A field without a value is left out. What
libraries log by Python's own module is an event, too, from warnings upwards.

The configuration is Leveret's own, not that of structlog: in a test suite the broker runs in the
process of an application that may use structlog itself.
"""

import logging
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, cast

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from leveret.config import Log

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


RECENT_EVENTS_MAX: Final = 1000
"""Events that are kept in memory."""


class RecentEvents:
    """The latest events of the log, and who follows it."""

    def __init__(self) -> None:
        self.events: deque[dict[str, Any]] = deque(maxlen=RECENT_EVENTS_MAX)
        """The oldest first."""
        self._followers: list[Callable[[dict[str, Any]], None]] = []

    def add(self, event: dict[str, Any]) -> None:
        """An event was logged."""
        self.events.append(event)
        for follower in self._followers:
            follower(event)

    @contextmanager
    def followed(self, follower: Callable[[dict[str, Any]], None]) -> Iterator[None]:
        """Have a function called with each event."""
        self._followers.append(follower)
        try:
            yield
        finally:
            self._followers.remove(follower)


RECENT: Final = RecentEvents()


class _Output:
    """Where the lines of the log go: standard error, or nowhere."""

    def __init__(self) -> None:
        self.is_silent = False

    def write(self, line: str) -> None:
        """Write a line."""
        if not self.is_silent:
            _write(line)

    debug = info = warning = error = critical = write


_OUTPUT: Final = _Output()


class _Logger:
    """A logger that reads the configuration at its first event.

    From then on it has the methods of the logger that it stands for as its own, so that an event
    below the level is the call of a function that does nothing.
    """

    def __getattr__(self, name: str) -> Any:
        if not _CONFIGURED:
            configure_logging(Log())
        method = getattr(_bound(), name)
        self.__dict__[name] = method
        _LOGGERS.add(self)
        return method


_LOGGERS: Final[set[_Logger]] = set()
"""Those that have read the configuration."""

_CONFIGURED: Final[dict[str, Any]] = {}
"""What `structlog.wrap_logger` is called with."""


def configure_logging(config: Log, *, silent: bool = False) -> None:
    """Set level and format of all loggers; the methods of lower levels become no-ops.

    :param silent: keep events in memory (`RECENT`), and write nothing.
    """
    render: Processor = _render_json if config.format == "json" else _render_console
    _CONFIGURED["processors"] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _without_empty_fields,
        _remember,
        render,
    ]
    _CONFIGURED["wrapper_class"] = structlog.make_filtering_bound_logger(_LEVELS[config.level])
    _OUTPUT.is_silent = silent
    for each in _LOGGERS:
        each.__dict__.clear()
    _LOGGERS.clear()


def _bound() -> FilteringBoundLogger:
    return cast("FilteringBoundLogger", structlog.wrap_logger(_OUTPUT, **_CONFIGURED).bind())


def log_libraries() -> None:
    """Make events of what libraries log by Python's own module, from warnings upwards."""
    logging.captureWarnings(True)
    logging.basicConfig(handlers=[_FromLibraries()], level=logging.WARNING, force=True)


def get_logger() -> FilteringBoundLogger:
    """A logger for a module, which reads the configuration at its first event."""
    return cast("FilteringBoundLogger", _Logger())


def write_ready(config: Log, listeners: Sequence[str], storage: str) -> None:
    """Write on stderr, whatever the level is, that clients are served.

    :param listeners: each as NAME=HOST:PORT.
    """
    if config.format == "json":
        line = _json({**_head("info", "ready"), "listeners": listeners, "storage": storage})
    else:
        line = f"leveret ready {' '.join(listeners)} storage={storage}"
    _write(line)


def write_refusal(log_format: str, reason: str) -> None:
    """Write on stderr why the broker does not start, which no level suppresses."""
    if log_format == "json":
        _write(_json({**_head("error", "the broker cannot start"), "reason": reason}))
    else:
        _write(f"leveret: {reason}")


class _FromLibraries(logging.Handler):
    """Makes an event of what a library logs."""

    def emit(self, record: logging.LogRecord) -> None:
        log = get_logger().error if record.levelno >= logging.ERROR else get_logger().warning
        text, error = record.getMessage().strip(), record.exc_info
        log("a library reports", library=record.name, text=text, exc_info=error)


def _head(level: str, event: str) -> dict[str, object]:
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return {"timestamp": now, "level": level, "event": event}


def _json(event: EventDict) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()


def _write(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _without_empty_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    head = {name: event.pop(name) for name in ("timestamp", "level", "event")}
    return head | {name: value for name, value in event.items() if value not in (None, "")}


def _remember(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    values = {name: _plain(value) for name, value in event.items()}
    RECENT.add(values)
    return event


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool | list | dict) else str(value)


def _render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return _json(event)


def _render_console(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    head = f"{event.pop('timestamp')} {event.pop('level'):<7} {_on_one_line(event.pop('event'))}"
    traceback = event.pop("exception", None)
    line = " ".join([head, *(f"{name}={_shown(value)}" for name, value in event.items())])
    return f"{line}\n{traceback}" if traceback else line


def _on_one_line(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]


def _shown(value: object) -> str:
    """A value on one line, quoted if necessary, so that a peer's name cannot start a line."""
    text = str(value)
    plain = text.isprintable() and not any(mark in text for mark in ' "=')
    return text if plain and text else repr(text)
