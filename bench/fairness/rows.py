"""The rows of fairness: p99 of another client's persistent confirms during each abuse."""

from collections.abc import Callable

from bench.contestants import LEVERET, RABBITMQ, Contestant, NotMeasured, running
from bench.fairness.abuser import abuser
from bench.fairness.abuses import ABUSES, Abuse
from bench.fairness.probe import Latencies, probing
from bench.row import Row, Sample, Tool

P99_MS_MAX = 15.0
MAX_MS_MAX = 60.0
"""Bounds of the probe's confirms, in milliseconds, on a quiet machine."""


def _latencies(abuse: type[Abuse], contestant: Contestant) -> Latencies:
    if contestant == RABBITMQ and abuse.plugin:
        raise NotMeasured(f"runs without {abuse.plugin}")
    with running(contestant) as broker, abuser(broker) as client:
        doing = abuse(broker)
        doing.prepare(client)
        with probing(broker) as probe:
            probe.begin()
            doing.act(client)
            return probe.end()


def _measure(abuse: type[Abuse]) -> Callable[[Tool, Contestant], Sample]:
    def measure(_tool: Tool, contestant: Contestant) -> Sample:
        seen = _latencies(abuse, contestant)
        most = seen.values[-1]
        above = f" (above {MAX_MS_MAX:g})" if most > MAX_MS_MAX else ""
        remark = f"p50 {seen.percentile(0.5):.1f}, max {most:.0f} ms{above}, n {len(seen.values)}"
        return Sample(seen.percentile(0.99), remarks=(remark,))

    return measure


FAIRNESS_ROWS = tuple(
    Row(
        f"fair-{abuse.key}",
        f"p99 of others' confirms: {abuse.title}",
        "ms",
        _measure(abuse),
        None,
        P99_MS_MAX,
        P99_MS_MAX,
        lower_is_better=True,
        contestants=(LEVERET, RABBITMQ),
    )
    for abuse in ABUSES
)
