"""`python -m tests.crash ROUNDS [SEED]`: kill the broker so many times, and print the account."""

import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.crash.rounds import Result, Rounds


def main(count: int, seed: str) -> int:
    """Do the rounds until one fails. Returns the exit code."""
    directory = Path(tempfile.mkdtemp(prefix="leveret-crash-"))
    print(f"seed {seed}, {count} rounds, data in {directory}", flush=True)
    begun = time.monotonic()
    results: list[Result] = []
    with Rounds(directory, seed) as rounds:
        while len(results) < count and not (results and results[-1].wrong):
            results.append(rounds.run())
            if len(results) % 20 == 0:
                print(f"{len(results)} rounds, {time.monotonic() - begun:.0f} s", flush=True)
    account = rounds.account
    print(
        f"{len(results)} kills under load in {time.monotonic() - begun:.0f} s: "
        f"{account.published:,} messages published, {account.confirmed:,} confirmed, "
        f"{account.acknowledged:,} acknowledged, {account.moved:,} moved in transactions, "
        f"{account.defined:,} definitions answered; "
        f"{sum(result.found for result in results):,} looked at after a restart; "
        f"{sum(result.came_back for result in results):,} acknowledged ones came back, at most "
        f"{max(result.came_back_age_s for result in results):.2f} s old; "
        f"longest restart {max(result.restart_s for result in results):.2f} s"
    )
    wrong = results[-1].wrong
    for line in wrong:
        print(f"WRONG in round {results[-1].seed}: {line}")
    if wrong:
        print(f"the data are in {directory}")
        return 1
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    rounds_wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    sys.exit(main(rounds_wanted, sys.argv[2] if len(sys.argv) > 2 else secrets.token_hex(4)))
