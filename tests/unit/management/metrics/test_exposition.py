"""The text formats, read back by prometheus_client's parsers."""

from math import inf, nan

import pytest

from leveret.management.metrics.exposition import (
    LINES_AT_ONCE,
    OPENMETRICS,
    TEXT,
    Kind,
    Metric,
    accepted_format,
    header,
    histogram,
    labels,
    number,
    samples,
)
from leveret_storage.histogram import Histogram
from tests.support.metrics import read_metrics

COUNTER = Metric("things_total", Kind.COUNTER, "Things seen")
NAMES = ["plain", "a b", 'quo"te', "back\\slash", "two\nlines", "ümlaut", "{a=b}", ""]


@pytest.mark.parametrize("name", NAMES)
def test_a_label_has_any_text(name: str) -> None:
    text = b"".join(samples("things", [(labels(queue=name, vhost="/"), 3)])).decode()
    (family,) = read_metrics(text).values()
    (sample,) = family.samples
    assert (sample.labels, sample.value) == ({"queue": name, "vhost": "/"}, 3.0)


def test_octets_that_are_no_utf8_are_shown() -> None:
    assert labels(queue="a\udcffb") == '{queue="a\\\\xffb"}'


def test_values() -> None:
    shown = [number(value) for value in (0, 12, True, 0.25, 1e22, nan, inf, -inf)]
    assert shown == ["0", "12", "1", "0.25", "1e+22", "NaN", "+Inf", "-Inf"]


def test_many_samples_come_in_pieces() -> None:
    pairs = [(f'{{n="{number}"}}', number) for number in range(LINES_AT_ONCE + 1)]
    assert [piece.count(b"\n") for piece in samples("m", iter(pairs))] == [LINES_AT_ONCE, 1]


def test_a_counter_in_both_formats() -> None:
    body = b"".join(samples(COUNTER.name, [("", 7)])).decode()
    (family,) = read_metrics(header(COUNTER.name, COUNTER, TEXT) + body).values()
    assert (family.name, family.type, family.samples[0].value) == ("things", "counter", 7.0)
    text = header(COUNTER.name, COUNTER, OPENMETRICS) + body + OPENMETRICS.end.decode()
    (family,) = read_metrics(text, OPENMETRICS.media_type).values()
    assert (family.name, family.type, family.samples[0].value) == ("things", "counter", 7.0)


def test_a_histogram_adds_up() -> None:
    found = Histogram((0.5, 1.0))
    for value in (0.1, 0.7, 0.8, 3.0):
        found.add(value)
    metric = Metric("t_seconds", Kind.HISTOGRAM, "Time")
    text = header(metric.name, metric, OPENMETRICS) + histogram(metric.name, found)
    (family,) = read_metrics(f"{text}# EOF\n", OPENMETRICS.media_type).values()
    buckets = {each.labels["le"]: each.value for each in family.samples if "le" in each.labels}
    assert buckets == {"0.5": 1, "1.0": 3, "+Inf": 4}
    assert [each.value for each in family.samples[-2:]] == pytest.approx([4.6, 4])


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/plain;version=0.0.4;q=1,*/*;q=0.1", TEXT),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", OPENMETRICS),
        ("application/openmetrics-text; q=0, text/plain", TEXT),
    ],
)
def test_the_format_is_negotiated(accept: str, expected: object) -> None:
    assert accepted_format(accept) is expected
