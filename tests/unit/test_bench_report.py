"""The comparison of two builds in the report of the benchmarks."""

import pytest

from bench.contestants import LAVINMQ_NAME, LEVERET, OTHER_NAME, RABBITMQ, Contestant
from bench.report import Outcome, text_table
from bench.row import Row, Sample, Tool


def measure(tool: Tool, contestant: Contestant) -> Sample:
    raise AssertionError("a report measures nothing")


def outcome(own: list[float], other: list[float], lower_is_better: bool = False) -> Outcome:
    row = Row("key", "title", "msg/s", measure, None, None, None, lower_is_better)
    samples = {
        LEVERET.name: [Sample(value) for value in own],
        OTHER_NAME: [Sample(value) for value in other],
    }
    return Outcome(row, samples)


def test_a_ratio_is_taken_in_each_round() -> None:
    assert outcome([300.0, 100.0], [200.0, 50.0]).ratios_to_other() == [1.5, 2.0]


def test_above_one_is_better_also_where_lower_figures_are() -> None:
    assert outcome([10.0], [20.0], lower_is_better=True).ratios_to_other() == [2.0]


def test_a_round_without_the_other_build_has_no_ratio() -> None:
    assert outcome([10.0, 10.0], [10.0]).ratios_to_other() == [1.0]


@pytest.mark.parametrize(
    ("own", "verdict"), [(97.0, "slower"), (99.0, "same"), (101.0, "same"), (103.0, "faster")]
)
def test_two_per_cent_are_no_difference(own: float, verdict: str) -> None:
    table = text_table([outcome([own] * 3, [100.0] * 3)], beside_other=True)

    assert table.splitlines()[1].split()[-1] == verdict


def test_the_verdict_is_that_of_the_median_round() -> None:
    table = text_table([outcome([100.0, 50.0, 100.0], [100.0] * 3)], beside_other=True)

    assert table.splitlines()[1].split()[-4:] == ["1.000", "0.500", "1.000", "same"]


def test_the_processor_time_of_a_message_is_compared() -> None:
    compared = outcome([100.0], [50.0])
    loads = {"published_per_s": 0.0, "broker_cpu": 0.5}
    compared.samples[LEVERET.name] = [Sample(100.0, {**loads, "received_per_s": 100.0})]
    compared.samples[OTHER_NAME] = [Sample(50.0, {**loads, "received_per_s": 50.0})]

    assert compared.cpu_ratios_to_other() == [2.0]


@pytest.mark.parametrize(
    ("lower_is_better", "peer"), [(False, LAVINMQ_NAME), (True, RABBITMQ.name)]
)
def test_the_figure_is_the_ratio_to_the_best_peer(lower_is_better: bool, peer: str) -> None:
    row = Row("key", "title", "msg/s", measure, RABBITMQ, 1, 1, lower_is_better)
    samples = {
        LEVERET.name: [Sample(60.0)],
        RABBITMQ.name: [Sample(20.0)],
        LAVINMQ_NAME: [Sample(30.0)],
    }
    measured = Outcome(row, samples)
    best = measured.best_peer()
    assert best == (peer, 20.0 if lower_is_better else 30.0)
    assert measured.figure() == 60.0 / best[1]
