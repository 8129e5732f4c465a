"""Dropped dead letters and delayed messages, as the log reports them."""

import pytest

from leveret.config import Config
from leveret.engine.broker import Broker
from leveret.engine.values.time_slice import UNLIMITED_NS
from leveret.net.dropped_messages import DroppedMessageReport
from tests.support.logs import capture_logs


@pytest.fixture
def broker() -> Broker:
    broker = Broker(Config())
    broker.time_slice.begin(UNLIMITED_NS)
    return broker


def drop(broker: Broker, queue: str, count: int) -> None:
    lost = broker.vhosts["/"].dead_letters.dropped
    lost[queue] = lost.get(queue, 0) + count


def reported(report: DroppedMessageReport, now: float) -> list[tuple[str, int]]:
    """The lines written at a time: queues, and how many dead letters they dropped."""
    with capture_logs() as lines:
        report.report(now)
    assert all(line["event"].startswith("dead letters dropped: ") for line in lines)
    assert all((line["level"], line["vhost"]) == ("warning", "/") for line in lines)
    return [(line["queue"], line["messages"]) for line in lines]


def test_dropped_dead_letters_are_reported_once_and_at_once(broker: Broker) -> None:
    report = DroppedMessageReport(broker)
    drop(broker, "q", 3)
    assert reported(report, 10.0) == [("q", 3)]
    assert reported(report, 100.0) == []


def test_a_queue_is_reported_once_a_minute_with_all_that_was_dropped_since(broker: Broker) -> None:
    report = DroppedMessageReport(broker)
    drop(broker, "q", 1)
    assert reported(report, 10.0) == [("q", 1)]
    for now in (11.0, 30.0, 69.9):
        drop(broker, "q", 2)
        assert reported(report, now) == []
    assert reported(report, 70.0) == [("q", 6)]


def test_another_queue_has_a_minute_of_its_own(broker: Broker) -> None:
    report = DroppedMessageReport(broker)
    drop(broker, "q", 1)
    assert reported(report, 10.0) == [("q", 1)]
    drop(broker, "p", 1)
    drop(broker, "q", 1)
    assert reported(report, 11.0) == [("p", 1)]


def test_delayed_messages_that_no_queue_took_are_reported_by_their_exchange(
    broker: Broker,
) -> None:
    report = DroppedMessageReport(broker)
    broker.vhosts["/"].delayed_dropped["q"] = 2
    drop(broker, "q", 1)
    with capture_logs() as lines:
        report.report(10.0)
        broker.vhosts["/"].delayed_dropped["q"] = 5
        report.report(69.9)
        report.report(70.0)
    delayed = [line for line in lines if line["event"].startswith("delayed messages dropped: ")]
    assert [(line["exchange"], line["messages"]) for line in delayed] == [("q", 2), ("q", 5)]
    assert len(lines) == 3


def test_the_lines_about_many_queues_are_written_in_slices(broker: Broker) -> None:
    report = DroppedMessageReport(broker)
    names = [f"q{number}" for number in range(20)]
    for name in names:
        drop(broker, name, 1)
    broker.time_slice.begin(0)
    assert reported(report, 10.0) == [("q0", 1)]
    # The next tick starts no second report.
    assert reported(report, 10.5) == []
    with capture_logs() as lines:
        while not broker.work.is_empty():
            broker.time_slice.begin(0)
            broker.work.run_next(broker.time_slice)
            assert len(lines) <= len(names)
    assert [line["queue"] for line in lines] == names[1:]
    drop(broker, "q0", 1)
    broker.time_slice.begin(UNLIMITED_NS)
    assert reported(report, 69.0) == []
    assert reported(report, 70.0) == [("q0", 1)]


def test_dropped_deduplication_keys_are_reported_once_a_minute(broker: Broker) -> None:
    report = DroppedMessageReport(broker)
    windows = broker.memory.windows
    counts = []
    for now in (10.0, 11.0, 69.9, 70.0):
        windows.dropped += 3
        with capture_logs() as lines:
            report.report(now)
        counts += [(now, line["keys"]) for line in lines]
    assert counts == [(10.0, 3), (70.0, 9)]
