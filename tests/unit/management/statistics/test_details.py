"""Numbers with their rates and samples, as RabbitMQ's API has them."""

from typing import Final

import pytest
from msgspec import UNSET
from starlette.requests import Request

from leveret.engine.values.history import History, Layout, Tier
from leveret.management.statistics.details import (
    SAMPLES_MAX,
    InvalidRange,
    Moment,
    Range,
    Ranges,
    Source,
    details,
    lengths,
    ranges_of,
    with_details,
)

S: Final = 1000
LAYOUT: Final = Layout(
    ("publish",), ("messages_ready", "messages_unacknowledged"), (Tier(5 * S, 100),)
)


def asking(query: str) -> Request:
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    return Request({**scope, "query_string": query.encode()})


def sampled() -> History:
    """A minute in which a message a second was published, and none was taken."""
    history = History(LAYOUT, 0)
    for second in range(5, 65, 5):
        history.record(second * S, [second, second, 0])
    return history


def test_without_a_range_a_number_has_its_rate_only() -> None:
    found = details([Source(LAYOUT, sampled(), [60, 60, 0])], [0], Moment(60 * S, 0), None)
    assert (found.rate, found.samples, found.avg, found.avg_rate) == (1.0, UNSET, UNSET, UNSET)


def test_what_never_changed_has_the_rate_0() -> None:
    assert details([Source(LAYOUT, None, [0, 0, 0])], [0], Moment(60 * S, 0), None).rate == 0.0


def test_samples_are_at_full_intervals_the_newest_first() -> None:
    found = details(
        [Source(LAYOUT, sampled(), [62, 62, 0])], [0], Moment(62 * S, 100 * S), Range(20, 10)
    )
    assert found.samples is not UNSET
    # The wall clock is at 162 s.
    assert [(each.timestamp, each.sample) for each in found.samples] == [
        (160 * S, 60),
        (150 * S, 50),
        (140 * S, 40),
    ]
    assert found.avg == 50.0
    assert found.avg_rate == 1.0


def test_what_was_not_looked_at_yet_has_just_happened() -> None:
    source = Source(LAYOUT, None, [10, 7, 0])
    found = details([source], [0], Moment(62 * S, 0), Range(10, 5))
    assert found.samples is not UNSET
    assert [each.sample for each in found.samples] == [0, 0, 0]
    assert found.rate == 2.0


def test_samples_of_what_never_changed() -> None:
    found = details([Source(LAYOUT, None, [0, 7, 0])], [1], Moment(62 * S, 0), Range(10, 5))
    assert found.samples is not UNSET
    assert [each.sample for each in found.samples] == [7, 7, 7]
    assert (found.avg, found.avg_rate) == (7.0, 0.0)


def test_messages_are_those_that_are_ready_and_those_that_are_not() -> None:
    history = History(LAYOUT, 0)
    history.record(5 * S, [9, 4, 5])
    at = Moment(10 * S, 0, Ranges(lengths=Range(5, 5)))
    found = lengths(LAYOUT, [Source(LAYOUT, history, [9, 2, 5])], at)
    assert (found["messages"], found["messages_ready"]) == (7, 2)
    assert [each.sample for each in found["messages_details"].samples] == [7, 9]
    assert found["messages_details"].rate == -0.4


def test_numbers_have_details_beside_them() -> None:
    at = Moment(60 * S, 0)
    found = with_details(("publish",), LAYOUT, [Source(LAYOUT, sampled(), [60, 0, 0])], at, None)
    assert list(found) == ["publish", "publish_details"]
    assert found["publish"] == 60


def test_ranges_are_read_from_the_query() -> None:
    found = ranges_of(asking("lengths_age=60&lengths_incr=5&msg_rates_age=600&msg_rates_incr=10"))
    assert found == Ranges(lengths=Range(60, 5), msg_rates=Range(600, 10))


@pytest.mark.parametrize("query", ["", "lengths_age=60", "lengths_age=x&lengths_incr=5"])
def test_half_a_range_and_what_is_no_number_count_for_nothing(query: str) -> None:
    assert ranges_of(asking(query)) == Ranges()


@pytest.mark.parametrize(("age", "incr"), [(60, 0), (0, 5), (-1, 5), (SAMPLES_MAX + 1, 1)])
def test_a_range_that_makes_no_sense_is_refused(age: int, incr: int) -> None:
    with pytest.raises(InvalidRange, match=f"Invalid range parameters: age {age}, incr {incr}"):
        ranges_of(asking(f"data_rates_age={age}&data_rates_incr={incr}"))
