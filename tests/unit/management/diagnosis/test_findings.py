"""Sentences are made of facts, and the worst comes first."""

from typing import Any

import pytest

from leveret.management.diagnosis.diagnosis import findings_of
from leveret.management.diagnosis.facts import (
    ConsumerFacts,
    Finding,
    HeadFacts,
    PublisherFacts,
    QueueFacts,
    RateFacts,
    Severity,
)
from leveret.management.diagnosis.wording import at, duration

NOW = 1_700_000_000_000
"""14 November 2023, 22:13:20 UTC."""

SECOND = 1000
MINUTE = 60 * SECOND


def facts(**values: Any) -> QueueFacts:
    return QueueFacts("/", "q", NOW, NOW - 60 * MINUTE, **values)


def holder(minutes: int, **values: Any) -> ConsumerFacts:
    """A consumer that has held a message for some minutes."""
    return ConsumerFacts(
        **{
            "tag": f"c{minutes}",
            "connection": "a -> b",
            "client": "worker",
            "address": "10.0.0.1:5000",
            "user": "ann",
            "channel": 1,
            "prefetch": 1,
            "held": 1,
            "held_since": NOW - minutes * MINUTE,
            **values,
        }
    )


def codes(of: QueueFacts) -> list[str]:
    return [finding.code for finding in findings_of(of)]


def only(of: QueueFacts, code: str) -> Finding:
    (found,) = [finding for finding in findings_of(of) if finding.code == code]
    return found


def test_who_left_and_when_is_said() -> None:
    found = only(facts(ready=1, consumer_left_at=NOW - 12 * MINUTE), "no_consumers")
    assert found.text == "No consumer since 22:01:20 UTC, for 12 minutes. 1 message waits."
    assert found.since == NOW - 12 * MINUTE
    head = HeadFacts(NOW - 180 * MINUTE)
    found = only(facts(ready=1, head=head), "no_consumers")
    assert found.text.endswith(" 1 message waits for 3 hours.")
    found = only(facts(ready=2, head=head), "no_consumers")
    assert found.text.endswith(" 2 messages wait, the next one for 3 hours.")


def test_a_consumer_that_hangs_is_worse_than_one_that_works_long() -> None:
    short = holder(0, held_since=NOW - 6 * SECOND)
    found = only(facts(ready=3, consumers=(short,), consumer_count=1), "consumer_at_prefetch")
    assert found.severity is Severity.WARNING
    long = holder(12)
    found = only(facts(ready=3, consumers=(long,), consumer_count=1), "consumer_at_prefetch")
    assert found.severity is Severity.ERROR
    assert found.text == (
        "Consumer 'c12' (worker, 10.0.0.1:5000, user ann) has held 1 message for 12 minutes without"
        " acknowledging one. That is all that its prefetch allows (1), so it gets no other."
        " 3 messages wait."
    )
    free = holder(12, prefetch=10)
    found = only(facts(ready=3, consumers=(long, free), consumer_count=2), "consumer_at_prefetch")
    assert found.severity is Severity.WARNING


def test_consumers_that_have_just_got_a_message_are_not_named() -> None:
    new = holder(0)
    unseen = holder(1, held_since=None)
    assert codes(facts(ready=3, consumers=(new, unseen), consumer_count=2)) == []


def test_very_many_consumers_are_counted_rather_than_named() -> None:
    consumers = tuple(holder(minutes) for minutes in range(1, 9))
    found = findings_of(facts(consumers=consumers, consumer_count=8))
    named = [each for each in found if each.code == "consumer_at_prefetch"]
    assert [each.facts["consumer_tag"] for each in named] == ["c8", "c7", "c6", "c5", "c4"]
    assert found[-1].text == "The same holds for 3 other consumers."


def test_publishers_that_are_slowed_down_are_named() -> None:
    publishers = tuple(PublisherFacts("a -> b", f"p{each}", "ann") for each in range(7))
    found = only(facts(slowed_publishers=publishers), "publishers_slowed")
    assert found.text.endswith("p4 (user ann) and 2 more.")
    assert len(found.links) == 5


def test_a_queue_that_keeps_up_is_none_that_grows() -> None:
    known: dict[str, Any] = {"ready": 9, "consumers": (holder(0),), "consumer_count": 1}
    for rates, expected in [
        (RateFacts(5, publish=10, settled=2), ["growing"]),
        (RateFacts(5, publish=10, settled=9.5), []),
        (RateFacts(5, publish=10, settled=2, dropped=8), []),
    ]:
        assert codes(facts(**known, rates=rates)) == expected
    slow = facts(**known, rates=RateFacts(5, 1234.5, 0, 0, 3))
    assert only(slow, "growing").text == (
        "The queue grows: 1,234.5/s were published, and 3.0/s acknowledged by 1 consumer in the"
        " last 5 seconds. 9 messages wait."
    )


def test_the_worst_comes_first() -> None:
    found = facts(ready=9, retry_delayed=3, paused_at=NOW - MINUTE, alarm="low on disk")
    assert codes(found) == ["no_consumers", "publishers_blocked", "paused", "retry_delayed"]


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [
        (0, "less than a second"),
        (1_500, "1 second"),
        (119_000, "119 seconds"),
        (120_000, "2 minutes"),
        (7_200_000, "2 hours"),
        (180_000_000, "2 days"),
    ],
)
def test_durations_are_rounded(milliseconds: int, expected: str) -> None:
    assert duration(milliseconds) == expected


def test_another_day_has_a_date() -> None:
    assert at(NOW - 24 * 60 * MINUTE, NOW) == "2023-11-13 22:13 UTC"
    assert at(NOW, NOW) == "22:13:20 UTC"
