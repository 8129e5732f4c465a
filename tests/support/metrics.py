"""What Prometheus reads of a text: prometheus_client's parsers, and a check that each metric is in
it once."""

from collections.abc import Iterable

from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families as read_text

OPENMETRICS_TYPE = "application/openmetrics-text"


def read_metrics(text: str, media_type: str = "text/plain") -> dict[str, Metric]:
    """The metrics by name, without `_total`."""
    found: Iterable[Metric]
    if media_type.startswith(OPENMETRICS_TYPE):
        found = openmetrics_parser.text_string_to_metric_families(text)
    else:
        found = read_text(text)  # type: ignore[no-untyped-call]
    metrics = list(found)
    names = [each.name for each in metrics]
    assert len(set(names)) == len(names), sorted(names)
    return {each.name: each for each in metrics}
