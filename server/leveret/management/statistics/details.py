"""Statistics as JSON: RabbitMQ's `message_stats`, and the `_details` beside a number.

(RabbitMQ: HTTP API Reference, and Management Plugin, "Statistics Interval".) A number has its rate;
with a range, which a request asks for, also samples of that range, the newest first, their average
and the average rate.
"""

from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import Request

from leveret.engine.values.counters import Counted
from leveret.engine.values.history import History, Layout

SAMPLES_MAX: Final = 1500
"""Samples of a range: more than a day in minutes."""

IDLE_MS: Final = 5000
"""Milliseconds in which nothing has happened to an object that is idle."""

DELIVER_GET: Final = ("deliver", "deliver_no_ack", "get", "get_no_ack")
"""What `deliver_get` is the sum of."""


class InvalidRange(Exception):
    """The parameters of a range make no sense; the text says which."""


class Sample(msgspec.Struct):
    """What a number was at a time."""

    sample: int
    timestamp: int
    """Milliseconds since the epoch."""


class Details(msgspec.Struct):
    """How a number changes."""

    rate: float
    """Each second, over the last seconds."""
    samples: list[Sample] | UnsetType = UNSET
    avg_rate: float | UnsetType = UNSET
    """Each second, over the range."""
    avg: float | UnsetType = UNSET
    """The average of the samples."""


NO_CHANGE: Final = Details(0.0)


class Range(NamedTuple):
    """Which samples are asked for."""

    age: int
    incr: int
    """Seconds that they go back, and between two of them."""


class Ranges(NamedTuple):
    """The ranges that a request asks for; None where it asks for rates only."""

    lengths: Range | None = None
    msg_rates: Range | None = None
    data_rates: Range | None = None
    node_stats: Range | None = None


NO_RANGES: Final = Ranges()


def ranges_of(request: Request) -> Ranges:
    """The ranges of a request, from parameters such as `lengths_age` and `lengths_incr`, which
    count only together, and only if they are numbers.

    :raises InvalidRange: if one is not positive, or they ask for too many samples.
    """
    return Ranges(*(_range(request, name) for name in Ranges._fields))


def _range(request: Request, name: str) -> Range | None:
    age = request.query_params.get(f"{name}_age", "")
    incr = request.query_params.get(f"{name}_incr", "")
    if not (_is_number(age) and _is_number(incr)):
        return None
    found = Range(int(age), int(incr))
    if found.age < 1 or found.incr < 1 or found.age // found.incr > SAMPLES_MAX:
        raise InvalidRange(f"Invalid range parameters: age {age}, incr {incr}")
    return found


def _is_number(text: str) -> bool:
    return len(text) <= 12 and text.lstrip("-").isdecimal() and text.isascii()


class Moment(NamedTuple):
    """When statistics are looked at, and which samples of them."""

    now: int
    """Milliseconds of the engine's clock."""
    behind: int
    """Milliseconds that it is behind the wall clock."""
    ranges: Ranges = NO_RANGES

    def wall_time(self, time: int) -> int:
        """A time of the engine as milliseconds since the epoch."""
        return time + self.behind


def idle_since(counted: Counted, at: Moment) -> str | UnsetType:
    """When something has happened to an object last, if it is idle."""
    active_at = int(counted.active_at)
    if active_at == 0 or at.now - active_at < IDLE_MS:
        return UNSET
    time = datetime.fromtimestamp(at.wall_time(active_at) / 1000, UTC)
    return time.isoformat(timespec="milliseconds")


class Source(NamedTuple):
    """Where a number comes from."""

    layout: Layout
    history: History | None
    live: list[int]
    """The present values of all series."""

    def sampled(self, series: int, now: int, times: list[int]) -> list[int]:
        """What a series was at some times, the latest first."""
        if self.history is not None:
            return self.history.values_at(series, self.live[series], now, times)
        if series < self.layout.counters:
            # Nothing had happened when it was looked at last.
            return [0] * len(times)
        return [self.live[series]] * len(times)

    def rate(self, series: int, now: int) -> float:
        """How much a series changes a second."""
        if self.history is not None:
            return self.history.rate(series, self.live[series], now)
        if series < self.layout.counters:
            return self.live[series] * 1000 / int(self.layout.interval)
        return 0.0


def details(sources: list[Source], series: list[int], at: Moment, asked: Range | None) -> Details:
    """The details of a number, which is the sum of some series of each source."""
    rate = sum(each.rate(one, at.now) for each in sources for one in series)
    if asked is None:
        return Details(round(rate, 6)) if rate else NO_CHANGE
    incr, wall = asked.incr * 1000, at.wall_time(at.now)
    newest = wall - wall % incr
    stamps = [newest - number * incr for number in range(asked.age // asked.incr + 1)]
    times = [stamp - at.behind for stamp in stamps]
    values = [0] * len(stamps)
    for source in sources:
        for each in series:
            sampled = source.sampled(each, at.now, times)
            values = [one + other for one, other in zip(values, sampled, strict=True)]
    samples = [Sample(value, stamp) for value, stamp in zip(values, stamps, strict=True)]
    span = (len(values) - 1) * asked.incr
    avg_rate = (values[0] - values[-1]) / span if span else 0.0
    return Details(round(rate, 6), samples, avg_rate, sum(values) / len(values))


def total(sources: list[Source], series: list[int]) -> int:
    """The present sum of some series of each source."""
    return sum(live[each] for _, _, live in sources for each in series)


def with_details(
    names: tuple[str, ...], layout: Layout, sources: list[Source], at: Moment, asked: Range | None
) -> dict[str, Any]:
    """Numbers and their details, by the names of the series."""
    found: dict[str, Any] = {}
    for name in names:
        series = [layout.names.index(name)]
        found[name] = total(sources, series)
        found[f"{name}_details"] = details(sources, series, at, asked)
    return found


def lengths(layout: Layout, sources: list[Source], at: Moment) -> dict[str, Any]:
    """`messages`, `messages_ready` and `messages_unacknowledged`, with their details."""
    names = ("messages_ready", "messages_unacknowledged")
    found = with_details(names, layout, sources, at, at.ranges.lengths)
    series = [layout.names.index(name) for name in names]
    found["messages"] = total(sources, series)
    found["messages_details"] = details(sources, series, at, at.ranges.lengths)
    return found
