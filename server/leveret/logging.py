"""Logs: structured events on stderr, one a line, as text for people or as JSON.

An event is a short constant text, and its variable parts are fields: `logger.info("connection
opened", peer="127.0.0.1:40312")`. An error of a client is a warning of one line; only errors of the
broker have a traceback. Passwords are never logged.
"""

import sys
from typing import Final, cast

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from leveret.config import Log

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure_logging(config: Log) -> None:
    """Set level and format of all loggers; the methods of lower levels become no-ops."""
    render: Processor = _render_json if config.format == "json" else _render_console
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[config.level]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def get_logger() -> FilteringBoundLogger:
    """A logger for a module, which reads the configuration at its first event."""
    return cast("FilteringBoundLogger", structlog.get_logger())


def _render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()


def _render_console(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    head = f"{event.pop('timestamp')} {event.pop('level'):<7} {event.pop('event')}"
    traceback = event.pop("exception", None)
    line = " ".join([head, *(f"{name}={_shown(value)}" for name, value in event.items())])
    return f"{line}\n{traceback}" if traceback else line


def _shown(value: object) -> str:
    """A value on one line, quoted if necessary, so that a peer's name cannot start a line."""
    text = str(value)
    plain = text.isprintable() and not any(mark in text for mark in ' "=')
    return text if plain and text else repr(text)
