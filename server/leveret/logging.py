"""Logs: structured events on stderr, one a line, for people or as JSON.

An event is a short constant text with what varies beside it: `log.info("connection opened",
peer="127.0.0.1:40312")`. What a client does wrong is logged as a warning of one line; tracebacks
are for errors of the broker. Passwords are never logged.
"""

import sys
from typing import Final, cast

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from leveret.config import Log

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure_logging(log: Log) -> None:
    """Set level and format for all loggers; the methods below the level become no-ops, once."""
    render: Processor = _render_json if log.format == "json" else _render_console
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[log.level]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def get_logger() -> FilteringBoundLogger:
    """A logger for a module's top; it takes up the configuration at its first event."""
    return cast("FilteringBoundLogger", structlog.get_logger())


def _render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()


def _render_console(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    head = f"{event.pop('timestamp')} {event.pop('level'):<7} {event.pop('event')}"
    traceback = event.pop("exception", None)
    line = " ".join([head, *(f"{name}={_shown(value)}" for name, value in event.items())])
    return f"{line}\n{traceback}" if traceback else line


def _shown(value: object) -> str:
    """A value on one line: what a peer chose as a name cannot begin a line of the log."""
    text = str(value)
    plain = text.isprintable() and not any(mark in text for mark in ' "=')
    return text if plain and text else repr(text)
