"""History: what some numbers were, in a ring of samples that is bounded in memory.

A series is a counter, which never goes back, or a gauge. All series of one object are sampled
together: a sample is a row. Rows are in tiers, each a ring with an interval of its own, so that the
last minutes are known in seconds and the last day in half hours. Rules:

- A row of a counter is what it has grown by since the row before; of a gauge, its value.
- A number takes 16 bits: exact below 2048, and within a thousandth above. The errors of a counter
  do not add up, since each row makes up for that of the row before.
- Nothing is sampled while nothing changes. The rows of that time are filled in at the next sample.

Who samples what, and how often, is elsewhere (`management/statistics/`), and so is JSON.
"""

from array import array
from typing import Final, NamedTuple

from mypy_extensions import i64

EXACT_BITS: Final = 11
EXACT: Final = 1 << EXACT_BITS
"""Numbers below this are encoded as they are."""

MANTISSA: Final = EXACT >> 1

NO_ROWS: Final = array("H")
"""The rows of a history without any; they are never changed."""


def encode(number: i64) -> i64:
    """A number from 0 in 16 bits; rounded, if it is `EXACT` or more."""
    if number < EXACT:
        return number if number > 0 else 0
    shift: i64 = 0
    mantissa = number
    while mantissa >= EXACT:
        mantissa >>= 1
        shift += 1
    # Not (1 << shift): compiled, that is an integer of 32 bits.
    mantissa = ((number >> (shift - 1)) + 1) >> 1
    if mantissa == EXACT:
        mantissa = MANTISSA
        shift += 1
    return (shift << (EXACT_BITS - 1)) + mantissa


def decode(code: i64) -> i64:
    """The number that `encode` made the code of, about."""
    if code < EXACT:
        return code
    shift = (code >> (EXACT_BITS - 1)) - 1
    return ((code & (MANTISSA - 1)) + MANTISSA) << shift


class Tier(NamedTuple):
    """One ring of rows."""

    interval: int
    """Milliseconds between two rows."""
    rows: int


class Layout:
    """What the histories of one kind of object consist of."""

    def __init__(
        self, counters: tuple[str, ...], gauges: tuple[str, ...], tiers: tuple[Tier, ...]
    ) -> None:
        """:param tiers: the one with the shortest interval first."""
        self.names = counters + gauges
        """The series: counters, and gauges behind them."""
        self.counters: i64 = len(counters)
        self.width: i64 = len(self.names)
        self.intervals: list[i64] = [tier.interval for tier in tiers]
        self.rows: list[i64] = [tier.rows for tier in tiers]
        self.tiers: i64 = len(tiers)
        self.interval: i64 = tiers[0].interval
        """Milliseconds between two rows of the first tier."""
        self.numbers: i64 = 0
        """Numbers in all rings."""
        self.offsets: list[i64] = []
        """Where the ring of each tier begins."""
        self.gauges_at: i64 = self.tiers * (self.counters + 1)
        """Where the gauges are in the state of a history."""
        for tier in tiers:
            self.offsets.append(self.numbers)
            self.numbers += tier.rows * self.width


class History:
    """The history of the series of one object."""

    def __init__(self, layout: Layout, now: i64, before: list[int] | None = None) -> None:
        """
        :param now: milliseconds, since when does not matter; it never goes back.
        :param before: what all series were until now; 0 if it is not given.
        """
        self.layout = layout
        self._rows = NO_ROWS
        if before is None:
            before = [0] * int(layout.width)
        counters = before[: int(layout.counters)]
        ticks = [int(now // interval) for interval in layout.intervals]
        gauges = [int(encode(gauge)) for gauge in before[int(layout.counters) :]]
        self._state = array("q", ticks + counters * int(layout.tiers) + gauges)
        """The number of the last row of each tier; the counters as of the last row of each tier,
        with the error of its encoding; the gauges as of the last row, encoded. One array takes less
        memory than three."""

    def is_due(self, now: i64) -> bool:
        """Whether a row begins that was not sampled."""
        last: i64 = self._state[0]
        return now // self.layout.interval > last

    def record(self, now: i64, values: list[int]) -> None:
        """Sample all series, for every tier where a row begins."""
        layout = self.layout
        if self._rows is NO_ROWS:
            self._allocate()
        # The first tier last: it has what the counters were until now.
        tier = layout.tiers
        while tier > 0:
            tier -= 1
            tick = now // layout.intervals[tier]
            last: i64 = self._state[tier]
            if tick <= last:
                continue
            if tick > last + 1:
                self._fill(tier, last + 1, tick)
            self._write(tier, tick % layout.rows[tier], values)
            self._state[tier] = int(tick)
        at = layout.counters
        while at < layout.width:
            self._state[layout.gauges_at + at - layout.counters] = int(encode(values[at]))
            at += 1

    def forget(self) -> None:
        """Free the rows, which all are the same because nothing has changed for long."""
        self._rows = NO_ROWS

    def is_forgotten(self) -> bool:
        """Whether there are no rows."""
        return self._rows is NO_ROWS

    def size(self) -> int:
        """Bytes of memory, about."""
        return sum(each.__sizeof__() for each in (self._rows, self._state))

    def rate(self, series: i64, live: i64, now: i64) -> float:
        """How much a series changes a second, over the last interval of the first tier.

        :param live: what it is now.
        """
        interval = self.layout.interval
        growth = live - self.value_at(series, live, now, now - interval)
        return int(growth) * 1000 / int(interval)

    def value_at(self, series: i64, live: i64, now: i64, time: i64) -> i64:
        """What a series was at a time."""
        found: i64 = self.values_at(series, live, now, [int(time)])[0]
        return found

    def values_at(self, series: i64, live: i64, now: i64, times: list[int]) -> list[int]:
        """What a series was at some times, between two rows in proportion.

        :param live: what it is now.
        :param times: the latest first.
        """
        found: list[int] = []
        points = _Points(self, series, live, now)
        for each in times:
            time: i64 = each
            while points.earlier_time > time:
                if not points.step():
                    break
            if time >= points.later_time:
                found.append(int(points.later_value))
            elif time <= points.earlier_time:
                found.append(int(points.earlier_value))
            else:
                span = points.later_time - points.earlier_time
                growth = points.later_value - points.earlier_value
                since = time - points.earlier_time
                found.append(int(points.earlier_value + growth * since // span))
        return found

    def _allocate(self) -> None:
        layout = self.layout
        self._rows = array("H", [0]) * int(layout.numbers)
        for tier in range(layout.tiers):
            for row in range(layout.rows[tier]):
                self._write_unchanged(tier, row)

    def _fill(self, tier: i64, first: i64, end: i64) -> None:
        """Write the rows of a time in which nothing has changed, but for what the first tier knows
        already."""
        layout = self.layout
        rows = layout.rows[tier]
        known = self._state[int(layout.tiers) : int(layout.tiers + layout.counters)]
        gauges = [int(decode(code)) for code in self._state[int(layout.gauges_at) :]]
        self._write(tier, first % rows, [*known, *gauges])
        row = max(first + 1, end - rows)
        while row < end:
            self._write_unchanged(tier, row % rows)
            row += 1

    def _write(self, tier: i64, row: i64, values: list[int]) -> None:
        layout = self.layout
        counters = layout.counters
        rows, state = self._rows, self._state
        at = layout.offsets[tier] + row * layout.width
        total_at = layout.tiers + tier * counters
        for series in range(layout.width):
            value: i64 = values[series]
            if series < counters:
                total: i64 = state[total_at + series]
                code = encode(value - total)
                rows[at + series] = int(code)
                if code != 0:
                    state[total_at + series] = int(total + decode(code))
            else:
                rows[at + series] = int(encode(value))

    def _write_unchanged(self, tier: i64, row: i64) -> None:
        layout = self.layout
        at = layout.offsets[tier] + row * layout.width
        for series in range(layout.width):
            if series < layout.counters:
                self._rows[at + series] = 0
            else:
                self._rows[at + series] = self._state[layout.gauges_at + series - layout.counters]


class _Points:
    """The points of a series that are known, from now on back: two that follow each other."""

    def __init__(self, history: History, series: i64, live: i64, now: i64) -> None:
        self.later_time: i64 = now
        self.later_value: i64 = live
        self.earlier_time: i64 = now
        self.earlier_value: i64 = live
        self._history = history
        self._series = series
        self._is_counter = series < history.layout.counters
        self._tier: i64 = 0
        self._tick: i64 = 0
        """The row that comes next, going back."""
        self._end: i64 = 0
        """The number of the oldest row of the tier."""
        self._value: i64 = 0
        """The counter as of that row."""
        self._begin()
        # Nothing has changed since the last row but within an interval.
        unchanged = now - history.layout.interval
        if unchanged > self._tick * history.layout.interval:
            self._move(unchanged, self._current())

    def step(self) -> bool:
        """Go back to the next point; False if there is none."""
        layout = self._history.layout
        while self._tier < layout.tiers:
            while self._tick >= self._end:
                time = self._tick * layout.intervals[self._tier]
                value = self._current()
                if self._is_counter and not self._history.is_forgotten():
                    self._value -= decode(self._code())
                self._tick -= 1
                if time < self.earlier_time:
                    # The tiers have errors of their own.
                    self._move(time, min(value, self.earlier_value) if self._is_counter else value)
                    return True
            self._tier += 1
            if self._tier < layout.tiers:
                self._begin()
        return False

    def _begin(self) -> None:
        history, tier = self._history, self._tier
        last: i64 = history._state[tier]
        self._tick = last
        self._end = last if history.is_forgotten() else last - history.layout.rows[tier] + 1
        if self._is_counter:
            layout = history.layout
            at = layout.tiers + tier * layout.counters + self._series
            total: i64 = history._state[at]
            self._value = total

    def _current(self) -> i64:
        return self._value if self._is_counter else decode(self._code())

    def _code(self) -> i64:
        history = self._history
        layout = history.layout
        if history.is_forgotten():
            gauge: i64 = history._state[layout.gauges_at + self._series - layout.counters]
            return gauge
        row = self._tick % layout.rows[self._tier]
        code: i64 = history._rows[layout.offsets[self._tier] + row * layout.width + self._series]
        return code

    def _move(self, time: i64, value: i64) -> None:
        self.later_time, self.later_value = self.earlier_time, self.earlier_value
        self.earlier_time, self.earlier_value = time, value
