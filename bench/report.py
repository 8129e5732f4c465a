"""The results as a table for people, as Markdown for the README, and as JSON for programs."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from bench.contestants import LEVERET, OTHER_NAME, Contestant
from bench.row import Row, Sample

HEADINGS = ("", "Leveret", "peer", "figure", "at least", "aim", "")
OTHER_HEADINGS = ("", "Leveret", "other", "of other", "lowest", "highest", "cpu", "")

WITHIN = 0.02
"""The difference from the other build that counts as none: 2 %."""


@dataclass
class Outcome:
    """The samples of one row by contestant, or why there are none."""

    row: Row
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def median(self, contestant: Contestant) -> float | None:
        """The median of a contestant's figures; None if it was not measured."""
        samples = self.samples.get(contestant.name)
        return statistics.median(sample.value for sample in samples) if samples else None

    def ratios_to_other(self) -> list[float]:
        """Leveret's figure over that of the other build, round by round.

        If lower figures are better it is the inverse, so that above 1 is better in every row.
        """
        own, other = self.samples.get(LEVERET.name, []), self.samples.get(OTHER_NAME, [])
        rounds = [(a.value, b.value) for a, b in zip(own, other, strict=False)]
        if self.row.lower_is_better:
            return [theirs / ours for ours, theirs in rounds if ours]
        return [ours / theirs for ours, theirs in rounds if theirs]

    def cpu_ratios_to_other(self) -> list[float]:
        """The other build's processor time a message over Leveret's, round by round.

        Other processes change it less than they change the rate. Empty for a row without a load.
        """
        own, other = self.samples.get(LEVERET.name, []), self.samples.get(OTHER_NAME, [])
        rounds = [(_cpu_s(a), _cpu_s(b)) for a, b in zip(own, other, strict=False)]
        return [theirs / ours for ours, theirs in rounds if ours and theirs]

    def best_peer(self) -> tuple[str, float] | None:
        """Name and median of the peer with the best figure; None if no peer was measured."""
        medians = [
            (name, statistics.median(sample.value for sample in samples))
            for name, samples in self.samples.items()
            if samples and name not in (LEVERET.name, OTHER_NAME)
        ]
        if not medians:
            return None
        best = min if self.row.lower_is_better else max
        return best(medians, key=lambda each: each[1])

    def figure(self) -> float | None:
        """The value to compare with the bounds: Leveret's figure, or its ratio to the best peer."""
        own = self.median(LEVERET)
        if self.row.against is None or own is None:
            return own
        peer = self.best_peer()
        return own / peer[1] if peer and peer[1] else None

    def verdict(self) -> str:
        """The bounds that the figure meets."""
        figure = self.figure()
        if figure is None:
            return "not measured"
        if self._within(figure, self.row.aim):
            return "aim"
        if self._within(figure, self.row.least):
            return "met"
        return "reported" if self.row.least is None else "MISSED"

    def _within(self, figure: float, bound: float | None) -> bool:
        if bound is None:
            return False
        return figure < bound if self.row.lower_is_better else figure >= bound

    def notes(self) -> list[str]:
        """The remarks on the figures, each once."""
        notes = [f"{name}: not measured: {why}" for name, why in self.failures.items()]
        for name, samples in self.samples.items():
            remarks = dict.fromkeys(remark for sample in samples for remark in sample.remarks)
            notes += [f"{name}: {remark}" for remark in remarks]
            notes += _details(name, samples)
        return notes


def _cpu_s(sample: Sample) -> float:
    """Processor time of the broker for a message, in seconds; 0 if it was not measured."""
    details = sample.details
    if not details:
        return 0.0
    rate = float(str(details["received_per_s"])) or float(str(details["published_per_s"]))
    return float(str(details["broker_cpu"])) / rate if rate else 0.0


LATENCY = "p50 {p50_us:.0f}, p99 {p99_us:.0f}, p99.9 {p999_us:.0f}, max {max_us:.0f} us"


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
            "max_us",
            "publisher_cpu",
            "consumer_cpu",
            "broker_cpu",
        )
    }
    rates = sorted(round(sample.value, 3) for sample in samples)
    latency = LATENCY.format_map(middle)
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


def _peer_cell(peer: tuple[str, float] | None, expected: str | None, unit: str) -> str:
    if peer is not None:
        return f"{_figure(peer[1], unit)} ({peer[0]})"
    return "" if expected is None else f"{_figure(None, unit)} ({expected})"


def _cells(outcome: Outcome) -> tuple[str, ...]:
    row, figure = outcome.row, outcome.figure()
    peer = outcome.best_peer()
    expected = next((each.name for each in row.contestants if each != LEVERET), None)
    shown = "not measured" if figure is None else f"{figure:.3g} times"
    if row.against is None:
        shown = _figure(figure, row.unit)
    return (
        row.title,
        _figure(outcome.median(LEVERET), row.unit),
        _peer_cell(peer, expected, row.unit),
        shown,
        _bound(row.least, row),
        _bound(row.aim, row),
        outcome.verdict(),
    )


def _cells_beside_other(outcome: Outcome) -> tuple[str, ...]:
    """The cells of a comparison with the other build: medians, and the ratios' median and range.

    The ratio is the median of the rounds' ratios, because both builds are measured in each round: a
    machine that becomes slower between two rounds changes both.
    """
    row = outcome.row
    own = outcome.median(LEVERET)
    other = outcome.samples.get(OTHER_NAME, [])
    its = statistics.median(sample.value for sample in other) if other else None
    ratios = sorted(outcome.ratios_to_other())
    if not ratios:
        return (row.title, _figure(own, row.unit), _figure(its, row.unit), "", "", "", "", "")
    ratio = statistics.median(ratios)
    verdict = "slower" if ratio < 1 - WITHIN else "faster" if ratio > 1 + WITHIN else "same"
    shown = [f"{each:.3f}" for each in (ratio, ratios[0], ratios[-1])]
    cpu = outcome.cpu_ratios_to_other()
    shown.append(f"{statistics.median(cpu):.3f}" if cpu else "")
    return (row.title, _figure(own, row.unit), _figure(its, row.unit), *shown, verdict)


def text_table(outcomes: Iterable[Outcome], beside_other: bool = False) -> str:
    """Columns aligned by spaces, and the notes of each row below it.

    :param beside_other: compare with the other build, not with the row's peer.
    """
    cells_of = _cells_beside_other if beside_other else _cells
    headings = OTHER_HEADINGS if beside_other else HEADINGS
    lines: list[tuple[tuple[str, ...], list[str]]] = [(headings, [])]
    lines += [(cells_of(outcome), outcome.notes()) for outcome in outcomes]
    widths = [max(len(cells[i]) for cells, _ in lines) for i in range(len(headings))]
    printed: list[str] = []
    for cells, notes in lines:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        printed.append("  ".join(padded).rstrip())
        printed += [f"    {line}" for note in notes for line in note.splitlines()]
    return "\n".join(printed)


def markdown_table(outcomes: Iterable[Outcome], facts: Mapping[str, str]) -> str:
    """The table in Markdown, and the machine and the contestants below it."""
    lines = ["| | Leveret | peer | figure | at least | aim |", "|---|---|---|---|---|---|"]
    lines += [f"| {' | '.join(_cells(outcome)[:-1])} |" for outcome in outcomes]
    described = "; ".join(f"{name}: {fact}" for name, fact in facts.items())
    return "\n".join([*lines, "", f"{described}."])


def as_json(outcomes: Iterable[Outcome], facts: Mapping[str, str]) -> dict[str, object]:
    """Everything that was measured, by sample."""
    rows = [
        {
            "row": outcome.row.key,
            "title": outcome.row.title,
            "unit": outcome.row.unit,
            "against": outcome.row.against and outcome.row.against.name,
            "least": outcome.row.least,
            "aim": outcome.row.aim,
            "figure": outcome.figure(),
            "ratios_to_other": outcome.ratios_to_other(),
            "cpu_ratios_to_other": outcome.cpu_ratios_to_other(),
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
