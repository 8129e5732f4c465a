"""What Prometheus reads of a text: prometheus_client's parsers, and a check that each metric is in
it once."""

from collections.abc import Iterator
from typing import Any

from prometheus_client import parser as text_format
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics

OPENMETRICS_TYPE = "application/openmetrics-text"


def read_metrics(text: str, media_type: str = "text/plain") -> dict[str, Metric]:
    """The metrics by name, without `_total`."""
    # One of the two parsers has no types.
    module: Any = openmetrics if media_type.startswith(OPENMETRICS_TYPE) else text_format
    found: Iterator[Metric] = module.text_string_to_metric_families(text)
    metrics = list(found)
    names = [each.name for each in metrics]
    assert len(set(names)) == len(names), sorted(names)
    return {each.name: each for each in metrics}
