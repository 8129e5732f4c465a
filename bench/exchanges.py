"""The cost of a match by exchange type and number of bindings, compiled and as plain Python.

    python bench/exchanges.py [--bindings 1000,10000,100000]

Every binding has a destination of its own, and a message matches about as many bindings whatever
their number: finding them is measured, not delivery to them. The topic exchange has patterns of all
kinds. "hit" keys are in its cache. "miss" keys come again only after the cache was emptied; they
are the same messages for every number of bindings. "hostile" is a key of 125 words with at most
5,000 random patterns of wildcards. "cold" keys are such keys spread over all
bindings, so the more bindings there are, the more of them the processor has to fetch from memory;
this is so in direct and headers, too. Each build runs in a process of its own, from a copy of the
sources, which mypyc compiles there.
"""

import argparse
import json
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("server/leveret", "storage/leveret_storage")
COMPILED_PACKAGES = ("leveret.engine.routing.", "leveret.engine.values.")
"""The packages to compile: those that match messages."""
COLUMNS = (
    "topic hit",
    "topic miss",
    "topic cold",
    "hostile",
    "direct",
    "headers",
    "hash key",
    "hash header",
    "hash bind",
    "hash bytes",
    "bind",
    "drop",
    "matched",
    "bytes",
)
EXPLANATION = (
    "topic hit to hash header: ns a match; hash bind, hash bytes: ns and memory of a binding to a\n"
    "consistent hash exchange, of which there are at most 10,000; bind, drop: ns a topic binding\n"
    "made, a queue deleted; matched: destinations a topic match found; bytes: memory of a topic\n"
    "binding"
)


def run_build(compiled: bool, sizes: list[int]) -> dict[str, dict[str, float]]:
    """Measure one build in a process of its own.

    :raises CalledProcessError: if it does not compile or run.
    """
    with tempfile.TemporaryDirectory() as scratch:
        ignored = shutil.ignore_patterns("*.so", "*.c", "__pycache__")
        for package in PACKAGES:
            shutil.copytree(ROOT / package, Path(scratch, Path(package).name), ignore=ignored)
        if compiled:
            modules = [
                f"{module.replace('.', '/')}.py"
                for module in runpy.run_path(str(ROOT / "server/leveret/compiled.py"))["COMPILED"]
                if module.startswith(COMPILED_PACKAGES)
            ]
            subprocess.run(
                [sys.executable, "-m", "mypyc", *modules],
                cwd=scratch,
                check=True,
                capture_output=True,
                text=True,
            )
        answer = subprocess.run(
            [sys.executable, str(ROOT / "bench/exchange_matching.py"), *map(str, sizes)],
            env={**os.environ, "PYTHONPATH": scratch},
            check=True,
            capture_output=True,
            text=True,
        )
    figures: dict[str, dict[str, float]] = json.loads(answer.stdout)
    return figures


def print_table(build: str, figures: dict[str, dict[str, float]]) -> None:
    print(f"\n{build}\n{'bindings':>10}" + "".join(f"{column:>12}" for column in COLUMNS))
    for bindings, row in figures.items():
        cells = [f"{row[column]:>12,.1f}" for column in COLUMNS]
        print(f"{int(bindings):>10,}" + "".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--bindings", default="1000,10000,100000", help="separated by commas")
    options = parser.parse_args()
    sizes = [int(size) for size in options.bindings.split(",")]
    print(EXPLANATION)
    for build, compiled in (("compiled", True), ("plain Python", False)):
        try:
            print_table(build, run_build(compiled, sizes))
        except subprocess.CalledProcessError as failure:
            print(f"\n{build}: not measured\n{failure.stdout}{failure.stderr}")


if __name__ == "__main__":
    main()
