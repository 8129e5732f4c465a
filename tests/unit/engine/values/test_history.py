"""History: what is exact, what is about right, and what it takes."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leveret.engine.values.history import EXACT, History, Layout, Tier, decode, encode

S: Final = 1000
LAYOUT: Final = Layout(("in", "out"), ("depth",), (Tier(5 * S, 12), Tier(60 * S, 10)))
IN, OUT, DEPTH = range(3)

numbers = st.one_of(st.integers(0, 5000), st.integers(0, 2**62))


@given(numbers)
def test_a_code_has_16_bits_and_is_nearly_exact(number: int) -> None:
    code = int(encode(number))
    assert 0 <= code < 2**16
    error = abs(int(decode(code)) - number)
    assert error * EXACT <= number
    assert number >= EXACT or error == 0


@given(numbers, numbers)
def test_codes_are_in_the_order_of_the_numbers(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert encode(low) <= encode(high)


@given(st.integers(0, int(encode(2**62))))
def test_every_code_is_that_of_its_number(code: int) -> None:
    assert encode(decode(code)) == code


def test_samples_of_the_last_minute_are_exact() -> None:
    history = History(LAYOUT, 0)
    for second in range(5, 65, 5):
        history.record(second * S, [second, 2 * second, second % 7])
    times = [second * S for second in range(60, 5, -5)]
    assert history.values_at(IN, 63, 63 * S, times) == list(range(60, 5, -5))
    assert history.values_at(OUT, 126, 63 * S, times) == list(range(120, 10, -10))
    depths = [second % 7 for second in range(60, 5, -5)]
    assert history.values_at(DEPTH, 0, 63 * S, times) == depths


def test_between_two_rows_it_grows_in_proportion() -> None:
    history = History(LAYOUT, 0)
    history.record(5 * S, [10, 0, 0])
    history.record(10 * S, [30, 0, 8])
    assert history.values_at(IN, 40, 12 * S, [12 * S, 11 * S, 8 * S, 6 * S]) == [40, 35, 22, 14]
    assert history.value_at(DEPTH, 8, 12 * S, 8 * S) == 4


def test_the_rate_is_that_of_the_last_interval() -> None:
    history = History(LAYOUT, 0)
    history.record(5 * S, [10, 0, 0])
    history.record(10 * S, [60, 0, 0])
    assert history.rate(IN, 60, 10 * S) == 10.0
    assert history.rate(IN, 110, 15 * S) == 10.0
    assert history.rate(IN, 60, 15 * S) == 0.0
    assert history.rate(OUT, 0, 15 * S) == 0.0


def test_what_begins_after_a_pause_has_no_ramp_across_it() -> None:
    history = History(LAYOUT, 0)
    history.record(5 * S, [1, 0, 0])
    # An hour later, before the next row.
    assert history.rate(IN, 11, 3603 * S) == 2.0
    assert history.value_at(IN, 11, 3603 * S, 3590 * S) == 1
    history.record(3605 * S, [11, 0, 0])
    assert history.value_at(IN, 11, 3606 * S, 3600 * S) == 1
    assert history.value_at(IN, 11, 3606 * S, 3300 * S) == 1


def test_before_the_first_row_it_was_what_it_began_with() -> None:
    history = History(LAYOUT, 100 * S, [7, 8, 9])
    history.record(105 * S, [8, 8, 10])
    assert history.values_at(IN, 8, 106 * S, [105 * S, 50 * S, 0]) == [8, 7, 7]
    assert history.value_at(DEPTH, 10, 106 * S, 50 * S) == 9


def test_older_samples_are_in_longer_intervals() -> None:
    history = History(LAYOUT, 0)
    for second in range(5, 605, 5):
        history.record(second * S, [second, 0, 0])
    times = [second * S for second in (595, 540, 480, 450, 60)]
    assert history.values_at(IN, 600, 600 * S, times) == [595, 540, 480, 450, 60]


def test_what_does_not_change_for_long_is_forgotten_and_begins_again() -> None:
    history = History(LAYOUT, 0)
    history.record(5 * S, [100, 0, 3])
    full = history.size()
    history.forget()
    assert history.is_forgotten()
    assert history.size() < full - 100
    assert history.value_at(IN, 100, 900 * S, 100 * S) == 100
    assert history.value_at(DEPTH, 3, 900 * S, 100 * S) == 3
    history.record(900 * S, [105, 0, 4])
    assert not history.is_forgotten()
    assert history.values_at(IN, 105, 901 * S, [900 * S, 895 * S, 700 * S]) == [105, 100, 100]
    assert history.value_at(DEPTH, 4, 901 * S, 895 * S) == 3


steps = st.lists(
    st.tuples(st.integers(1, 200), st.integers(0, 10_000_000), st.integers(0, 10_000_000)),
    min_size=1,
    max_size=60,
)


@given(steps)
def test_a_history_is_what_was_sampled(steps: list[tuple[int, int, int]]) -> None:
    """Each step: seconds that pass, growth of the counter, the gauge."""
    history = History(LAYOUT, 0)
    now = total = gauge = 0
    known = [(0, 0, 0)]
    for seconds, growth, gauge in steps:
        now += seconds * S
        total += growth
        if history.is_due(now):
            history.record(now, [total, 0, gauge])
            known.append((now, total, gauge))
    times = list(range(now, max(now - 700 * S, 0), -5 * S))
    totals = history.values_at(IN, total, now, times)
    assert totals == sorted(totals, reverse=True)
    assert all(0 <= each <= total for each in totals)
    # What was sampled in the rows of the first tier is known, but for the rounding.
    for time, sampled, depth in known[-6:]:
        row = time // (5 * S) * 5 * S
        if row <= now - 55 * S:
            continue
        found = history.value_at(IN, total, now, row)
        assert found == pytest.approx(sampled, abs=total / EXACT + 1)
        assert history.value_at(DEPTH, gauge, now, row) == pytest.approx(
            depth, rel=1 / EXACT, abs=1
        )


def test_a_queue_that_does_everything_takes_less_than_its_share() -> None:
    tiers = (Tier(5 * S, 48), Tier(60 * S, 60), Tier(1800 * S, 48))
    layout = Layout(tuple("abcdefgh"), tuple("ij"), tiers)
    history = History(layout, 0)
    history.record(5 * S, [2**40] * 10)
    assert history.size() < 3600
