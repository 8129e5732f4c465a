"""`python -m tests.cluster.simulation SEEDS [FIRST]`: so many runs, from a first seed on."""

import sys
import time

from tests.cluster.simulation.oracle import Violated
from tests.cluster.simulation.run import Run


def main() -> int:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    began, violated, confirmed = time.monotonic(), 0, 0
    for seed in range(first, first + seeds):
        run = Run(seed)
        try:
            run.run()
        except Violated as error:
            violated += 1
            print(f"seed {seed}: {error}")
        confirmed += sum(map(len, run.cluster.oracle.confirmed))
    elapsed = time.monotonic() - began
    print(f"{seeds} seeds, {confirmed} records confirmed, {violated} violations, {elapsed:.1f} s")
    return 1 if violated else 0


if __name__ == "__main__":
    sys.exit(main())
