"""Times, durations and numbers as the sentences of a diagnosis have them."""

from datetime import UTC, datetime
from typing import Final

SECOND_MS: Final = 1000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS

_UNITS: Final = (
    (DAY_MS, "day"),
    (HOUR_MS, "hour"),
    (MINUTE_MS, "minute"),
    (SECOND_MS, "second"),
)
_ROUNDED_FROM: Final = 2
"""From this many of a unit on a duration is in that unit: 90 minutes, but 3 hours."""


def at(time_ms: int, now: int) -> str:
    """A time of day, with the date if it is not today's."""
    then, today = _utc(time_ms), _utc(now)
    if then.date() == today.date():
        return f"{then:%H:%M:%S} UTC"
    return f"{then:%Y-%m-%d %H:%M} UTC"


def duration(milliseconds: int) -> str:
    """About how long that is."""
    for size, unit in _UNITS:
        if milliseconds >= _ROUNDED_FROM * size:
            return counted(milliseconds // size, unit)
    return "1 second" if milliseconds >= SECOND_MS else "less than a second"


def counted(count: int, what: str) -> str:
    """A number of things, with a plural in s."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def a_second(rate: float) -> str:
    """A rate, such as 12.3/s."""
    return f"{rate:,.1f}/s"


def _utc(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / SECOND_MS, UTC)
