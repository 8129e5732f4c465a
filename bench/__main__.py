"""`python -m bench`: measure Leveret, RabbitMQ and LavinMQ, or two builds of Leveret, in turns.

Exit status: 0 if every selected row was measured for every selected contestant, 1 otherwise. The
bounds do not change it, because the figures of a busy machine decide nothing.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.contestants import (
    LAVINMQ_NAME,
    LEVERET,
    RABBITMQ,
    RELAY,
    Contestant,
    NotMeasured,
    allow_open_files,
    lavinmq,
    leveret_version,
    other_leveret,
    running,
)
from bench.load import Timing, compile_load
from bench.quiet import describe
from bench.report import Outcome, as_json, markdown_table, text_table
from bench.row import Row, Tool
from bench.rows import GROUPS, ROWS
from tests.support.brokers import BrokerError

WARMUP_S = 2.0
DRAIN_S = 10.0
QUICK_S = 2.0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the selected rows.

    :returns: the exit status.
    """
    arguments = _parser().parse_args(argv)
    if arguments.quick:
        arguments.seconds, arguments.repeat = QUICK_S, 1
    peers = _contestants(arguments)
    keys = _row_keys(arguments.rows)
    timing = Timing(WARMUP_S, arguments.seconds, DRAIN_S)
    allow_open_files()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        tool = Tool(compile_load(Path(directory)), timing)
        facts = _facts(peers, arguments)
        selected = [row for row in ROWS if row.key in keys and set(row.contestants) & set(peers)]
        outcomes = [_measure(row, tool, peers, arguments.repeat) for row in selected]
    if arguments.json:
        print(json.dumps(as_json(outcomes, facts), indent=2))
    elif arguments.markdown:
        print(markdown_table(outcomes, facts))
    else:
        print("\n".join(f"{name}: {fact}" for name, fact in facts.items()))
        print(text_table(outcomes, beside_other=arguments.other is not None))
    return 1 if any(outcome.failures for outcome in outcomes) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rows", default="", help=", ".join([*GROUPS, *(row.key for row in ROWS)]))
    parser.add_argument("--peers", default="", help="leveret,rabbitmq (both; leveret with --other)")
    parser.add_argument(
        "--other", type=Path, metavar="PATH", help="the `leveret` of another build, to compare with"
    )
    parser.add_argument(
        "--lavinmq", type=Path, metavar="PATH", help="the binary of a LavinMQ, to measure it too"
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement (5)")
    parser.add_argument("--repeat", type=int, default=3, help="measurements of each contestant (3)")
    parser.add_argument(
        "--quick", action="store_true", help="one measurement of each contestant, of 2 s"
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print every sample")
    output.add_argument("--markdown", action="store_true", help="print the table for a README")
    return parser


def _contestants(arguments: argparse.Namespace) -> list[Contestant]:
    """Leveret, RabbitMQ and another build of Leveret, as the arguments select them."""
    selectable = {each.name: each for each in (LEVERET, RABBITMQ)}
    default = [LEVERET.name] if arguments.other else list(selectable)
    names = _names(arguments.peers, list(selectable), "contestant", default)
    other = [other_leveret(arguments.other)] if arguments.other else []
    named = [lavinmq(arguments.lavinmq)] if arguments.lavinmq else []
    return [*(selectable[name] for name in names), *named, *other]


def _names(text: str, known: list[str], what: str, default: list[str] | None = None) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()] or default or known
    for name in names:
        if name not in known:
            raise SystemExit(f"no {what} is called {name!r}; there are {', '.join(known)}")
    return names


def _row_keys(text: str) -> set[str]:
    """The keys of the selected rows: of those named, and of all rows of a group named."""
    names = _names(text, [*GROUPS, *(row.key for row in ROWS)], "row", [next(iter(GROUPS))])
    grouped = {row.key for name in names for row in GROUPS.get(name, ())}
    return grouped | {name for name in names if name not in GROUPS}


def _measure(row: Row, tool: Tool, peers: list[Contestant], repeat: int) -> Outcome:
    """Measure one row: each contestant once a round, and each round starts with another one."""
    outcome = Outcome(row)
    selected = [each for each in row.contestants if each in peers or each == RELAY]
    if RABBITMQ in row.contestants:
        selected += [each for each in peers if each.kind == LAVINMQ_NAME]
    if LEVERET in row.contestants:
        selected += [each for each in peers if each.kind == LEVERET.kind and each != LEVERET]
    for i in range(max(repeat, row.leveret_repeat)):
        first = i % len(selected)
        for contestant in selected[first:] + selected[:first]:
            is_leveret = contestant.kind == LEVERET.kind
            wanted = max(repeat, row.leveret_repeat) if is_leveret else repeat
            if contestant.name not in outcome.failures and i < wanted:
                _measure_once(outcome, tool, contestant)
    return outcome


def _measure_once(outcome: Outcome, tool: Tool, contestant: Contestant) -> None:
    row, name = outcome.row, contestant.name
    try:
        sample = row.measure(tool, contestant)
    except (NotMeasured, BrokerError, OSError, subprocess.SubprocessError) as error:
        outcome.failures[name] = str(error) or type(error).__name__
        print(f"{row.key}: {name}: not measured: {error}", file=sys.stderr)
        return
    outcome.samples.setdefault(name, []).append(sample)
    remarks = "".join(f"; {remark}" for remark in sample.remarks)
    print(f"{row.key}: {name}: {sample.value:,.4g} {row.unit}{remarks}", file=sys.stderr)


def _facts(peers: list[Contestant], arguments: argparse.Namespace) -> dict[str, str]:
    facts = {"machine": f"{os.cpu_count()} cores, {_processor()}, {platform.platform()}"}
    for each in peers:
        is_leveret = each.kind == LEVERET.kind
        facts[each.name] = leveret_version(each) if is_leveret else _peer_version(each)
    facts["measured"] = f"{arguments.repeat} times {arguments.seconds:g} s each, medians"
    return facts


def _peer_version(contestant: Contestant) -> str:
    try:
        with running(contestant) as broker:
            return describe(broker)
    except (NotMeasured, BrokerError, OSError) as error:
        return f"did not run: {error}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NotMeasured as error:
        sys.exit(f"bench: {error}")
