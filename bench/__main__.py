"""`python -m bench`: measure Leveret and RabbitMQ in turns and print the table.

Exit status: 0 when every row asked for was measured for everyone asked for, 1 otherwise. Whether a
bound was met does not change it: figures of a busy machine decide nothing.
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
    LEVERET,
    RABBITMQ,
    NotMeasured,
    allow_open_files,
    leveret_version,
    running,
)
from bench.load import Timing, compile_load
from bench.quiet import describe
from bench.report import Outcome, as_json, markdown_table, text_table
from bench.rows import ROWS, Row, Tool
from tests.support.brokers import BrokerError

WARMUP_S = 2.0
DRAIN_S = 10.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for; the result is the exit status."""
    arguments = _parser().parse_args(argv)
    peers = _names(arguments.peers, [LEVERET, RABBITMQ], "contestant")
    keys = _names(arguments.rows, [row.key for row in ROWS], "row")
    timing = Timing(WARMUP_S, arguments.seconds, DRAIN_S)
    allow_open_files()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        tool = Tool(compile_load(Path(directory)), timing)
        facts = _facts(peers, arguments)
        outcomes = [_measure(row, tool, peers, arguments.repeat) for row in ROWS if row.key in keys]
    if arguments.json:
        print(json.dumps(as_json(outcomes, facts), indent=2))
    elif arguments.markdown:
        print(markdown_table(outcomes, facts))
    else:
        print("\n".join(f"{name}: {fact}" for name, fact in facts.items()))
        print(text_table(outcomes))
    return 1 if any(outcome.failures for outcome in outcomes) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rows", default="", help=", ".join(row.key for row in ROWS))
    parser.add_argument("--peers", default="", help=f"{LEVERET},{RABBITMQ} (both)")
    parser.add_argument("--seconds", type=float, default=5.0, help="measured each time (5)")
    parser.add_argument("--repeat", type=int, default=3, help="measurements of each (3)")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print every sample")
    output.add_argument("--markdown", action="store_true", help="print the table for a README")
    return parser


def _names(asked: str, known: list[str], what: str) -> list[str]:
    names = [name.strip() for name in asked.split(",") if name.strip()] or known
    for name in names:
        if name not in known:
            raise SystemExit(f"no {what} is called {name!r}; there are {', '.join(known)}")
    return names


def _measure(row: Row, tool: Tool, peers: list[str], repeat: int) -> Outcome:
    """Measure one row: everyone once a round, each round beginning with another."""
    outcome = Outcome(row)
    names = [name for name in row.contestants if name in peers or name not in (LEVERET, RABBITMQ)]
    for i in range(max(repeat, row.leveret_repeat)):
        first = i % len(names) if names else 0
        for name in names[first:] + names[:first]:
            wanted = max(repeat, row.leveret_repeat) if name == LEVERET else repeat
            if name not in outcome.failures and i < wanted:
                _measure_once(outcome, tool, name)
    return outcome


def _measure_once(outcome: Outcome, tool: Tool, name: str) -> None:
    row = outcome.row
    try:
        sample = row.measure(tool, name)
    except (NotMeasured, BrokerError, OSError, subprocess.SubprocessError) as error:
        outcome.failures[name] = str(error) or type(error).__name__
        print(f"{row.key}: {name}: not measured: {error}", file=sys.stderr)
        return
    outcome.samples.setdefault(name, []).append(sample)
    remarks = "".join(f"; {remark}" for remark in sample.remarks)
    print(f"{row.key}: {name}: {sample.value:,.4g} {row.unit}{remarks}", file=sys.stderr)


def _facts(peers: list[str], arguments: argparse.Namespace) -> dict[str, str]:
    facts = {"machine": f"{os.cpu_count()} cores, {_processor()}, {platform.platform()}"}
    for name in peers:
        facts[name] = leveret_version() if name == LEVERET else _peer_version(name)
    facts["measured"] = f"{arguments.repeat} times {arguments.seconds:g} s each, medians"
    return facts


def _peer_version(name: str) -> str:
    try:
        with running(name) as broker:
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
