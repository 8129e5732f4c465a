"""The results as a table for people, as Markdown for the README, and as JSON for programs."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from bench.contestants import LEVERET
from bench.rows import Row, Sample

HEADINGS = ("", "Leveret", "peer", "seen", "at least", "aim", "")


@dataclass
class Outcome:
    """What was measured for one row: the samples of each contestant, or why there are none."""

    row: Row
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def median(self, name: str) -> float | None:
        """The median of a contestant's figures; None when it was not measured."""
        samples = self.samples.get(name)
        return statistics.median(sample.value for sample in samples) if samples else None

    def seen(self) -> float | None:
        """What the bounds speak of: Leveret's figure, or its ratio to the one it is against."""
        own = self.median(LEVERET)
        if self.row.against is None or own is None:
            return own
        other = self.median(self.row.against)
        return own / other if other else None

    def verdict(self) -> str:
        """Which of the bounds the figure meets."""
        seen = self.seen()
        if seen is None:
            return "not measured"
        if self._within(seen, self.row.aim):
            return "aim"
        if self._within(seen, self.row.least):
            return "met"
        return "reported" if self.row.least is None else "MISSED"

    def _within(self, seen: float, bound: float | None) -> bool:
        if bound is None:
            return False
        return seen < bound if self.row.lower_is_better else seen >= bound

    def notes(self) -> list[str]:
        """What must be said beside the figures, each once."""
        notes = [f"{name}: not measured: {why}" for name, why in self.failures.items()]
        for name, samples in self.samples.items():
            remarks = dict.fromkeys(remark for sample in samples for remark in sample.remarks)
            notes += [f"{name}: {remark}" for remark in remarks]
            notes += _details(name, samples)
        return notes


def _details(name: str, samples: Sequence[Sample]) -> list[str]:
    if not samples[0].details:
        return []
    middle = {
        key: statistics.median(float(str(sample.details[key])) for sample in samples)
        for key in (
            "published_per_s",
            "p50_us",
            "p99_us",
            "p999_us",
            "publisher_cpu",
            "consumer_cpu",
            "broker_cpu",
        )
    }
    rates = sorted(round(sample.value, 3) for sample in samples)
    latency = "p50 {p50_us:.0f}, p99 {p99_us:.0f}, p99.9 {p999_us:.0f} us".format_map(middle)
    cores = "broker {broker_cpu:.2f}, publishers {publisher_cpu:.2f}, consumers {consumer_cpu:.2f}"
    published = f"published {middle['published_per_s']:,.0f}/s"
    spread = f"{rates[0]:,g} to {rates[-1]:,g}"
    return [f"{name}: {spread}; {published}; {latency}; cores: {cores.format_map(middle)}"]


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return "not measured"
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def _bound(value: float | None, row: Row) -> str:
    if value is None:
        return "report" if row.least is None and row.aim is not None else ""
    if row.against is None:
        return f"{value:g} {row.unit}"
    return f"{'below ' if row.lower_is_better else ''}{value:g} times"


def _cells(outcome: Outcome) -> tuple[str, ...]:
    row, seen = outcome.row, outcome.seen()
    peer = next((name for name in row.contestants if name != LEVERET), None)
    shown = "not measured" if seen is None else f"{seen:.3g} times"
    if row.against is None:
        shown = _figure(seen, row.unit)
    return (
        row.title,
        _figure(outcome.median(LEVERET), row.unit),
        "" if peer is None else f"{_figure(outcome.median(peer), row.unit)} ({peer})",
        shown,
        _bound(row.least, row),
        _bound(row.aim, row),
        outcome.verdict(),
    )


def text_table(outcomes: Iterable[Outcome]) -> str:
    """Columns aligned by spaces, each row's notes below it."""
    lines: list[tuple[tuple[str, ...], list[str]]] = [(HEADINGS, [])]
    lines += [(_cells(outcome), outcome.notes()) for outcome in outcomes]
    widths = [max(len(cells[i]) for cells, _ in lines) for i in range(len(HEADINGS))]
    printed: list[str] = []
    for cells, notes in lines:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        printed.append("  ".join(padded).rstrip())
        printed += [f"    {line}" for note in notes for line in note.splitlines()]
    return "\n".join(printed)


def markdown_table(outcomes: Iterable[Outcome], facts: Mapping[str, str]) -> str:
    """The table in Markdown, and below it the machine and the contestants it was measured with."""
    lines = ["| | Leveret | peer | seen | at least | aim |", "|---|---|---|---|---|---|"]
    lines += [f"| {' | '.join(_cells(outcome)[:-1])} |" for outcome in outcomes]
    described = "; ".join(f"{name}: {fact}" for name, fact in facts.items())
    return "\n".join([*lines, "", f"{described}."])


def as_json(outcomes: Iterable[Outcome], facts: Mapping[str, str]) -> dict[str, object]:
    """Everything that was measured, sample by sample."""
    rows = [
        {
            "row": outcome.row.key,
            "title": outcome.row.title,
            "unit": outcome.row.unit,
            "against": outcome.row.against,
            "least": outcome.row.least,
            "aim": outcome.row.aim,
            "seen": outcome.seen(),
            "verdict": outcome.verdict(),
            "samples": {
                name: [asdict(sample) for sample in samples]
                for name, samples in outcome.samples.items()
            },
            "failures": outcome.failures,
        }
        for outcome in outcomes
    ]
    return {"facts": dict(facts), "rows": rows}
