"""docs/monitoring.md agrees with the metrics that there are, and these with each other."""

import re

from leveret.management.metrics.application import TABLES
from leveret.management.metrics.exposition import TOTAL, Kind
from leveret.management.metrics.scrape import PREFIX
from leveret.reference import metrics
from tests.unit.source_tree import ROOT

METRICS = [
    *(each.metric for each in (*TABLES.node, *TABLES.identity)),
    *(each.metric for objects in TABLES.objects for each in objects.metrics),
]


def test_the_document_is_generated() -> None:
    document = (ROOT / metrics.DOCUMENT_PATH).read_text("utf-8")
    assert metrics.with_tables(document) == document, "python -m leveret.reference.metrics"


def test_a_counter_is_named_as_one() -> None:
    wrong = [
        each.name for each in METRICS if (each.kind is Kind.COUNTER) != each.name.endswith(TOTAL)
    ]
    assert wrong == []


def test_every_name_has_a_prefix_that_says_whose_it_is() -> None:
    names = {each.name if each.complete else PREFIX + each.name for each in METRICS}
    wrong = [name for name in names if not name.startswith(("rabbitmq_", "leveret_", "process_"))]
    assert wrong == []


def test_the_document_explains_every_alert() -> None:
    rules = (ROOT / "conf/prometheus/alerts.yml").read_text("utf-8")
    document = (ROOT / metrics.DOCUMENT_PATH).read_text("utf-8")
    alerts = re.findall(r"- alert: (\w+)", rules)
    assert alerts
    assert [each for each in alerts if f"`{each}`" not in document] == []
