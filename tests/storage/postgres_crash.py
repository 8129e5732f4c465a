"""Random faults of the database under an owner that appends: what was confirmed is there after.

    python -m tests.storage.postgres_crash [ROUNDS [SEED]]

Each round is one fault: servers killed and promoted, or paused, sessions terminated, waits
cancelled, the store taken by another owner. A killed server comes back as a standby. The load goes
on meanwhile, in one blob after another. Every row says its epoch: in a table epochs only grow.
"""

import os
import sys
import time
from collections.abc import Callable
from random import Random
from typing import Final

from leveret_storage.errors import LostEpoch
from leveret_storage.media.locations import open_medium
from leveret_storage.media.postgres.location import PASSWORD_VARIABLE
from leveret_storage.medium import Medium
from tests.storage.append_load import AppendLoad
from tests.storage.owning import take
from tests.support.postgres import DATABASE, PASSWORD, PostgresCluster, await_state

ROUNDS: Final = 20
SERVED_AGAIN_S: Final = 30.0


class Crash:
    """The servers, the owner, and its load."""

    def __init__(self, cluster: PostgresCluster, seed: int) -> None:
        self.random = Random(seed)
        self.rounds = 0
        self.confirmed = 0
        self.away: list[float] = []
        """Seconds from each fault until something was confirmed again."""
        self._cluster = cluster
        self._medium = open_medium(cluster.url())
        take(self._medium)
        self._begin()

    def _begin(self) -> None:
        self._name = f"blob-{self.rounds}"
        self._medium.create(self._name)
        self._load = AppendLoad(self._medium, self._name, window=self.random.choice((1, 4, 16)))
        self._load.start()
        self._load.await_confirmed(20)

    def run(self, rounds: int) -> None:
        faults: list[Callable[[], None]] = [
            self.kill_primary,
            self.kill_primary,
            self.kill_standby,
            self.pause_primary,
            self.replace_paused_primary,
            self.pause_standbys,
            self.terminate_sessions,
            self.cancel_waits,
            self.take_over,
        ]
        for _ in range(rounds):
            self.rounds += 1
            fault = self.random.choice(faults)
            time.sleep(self.random.random() / 5)
            began = time.monotonic()
            self._run(fault)
            if fault != self.take_over:
                self._load.await_confirmed(20, SERVED_AGAIN_S)
            self.away.append(time.monotonic() - began)
            print(f"{self.rounds}: {fault.__name__}, {self.away[-1]:.2f} s", flush=True)
            self._mend()
            self._check(fault.__name__)
            self._begin()
        self._load.stop()
        self._medium.close()

    def _run(self, fault: Callable[[], None]) -> None:
        try:
            fault()
        except AssertionError:
            for server in self._cluster.servers:
                print(f"{server.name}: {server.log_end()}")
            raise

    def _check(self, name: str) -> None:
        load = self._load
        if load.error is None:
            load.stop()
        assert load.error is None or isinstance(load.error, LostEpoch), (name, load.error)
        other = open_medium(self._cluster.url())
        for medium in (self._medium, other):
            load.check(medium)
        other.close()
        self.confirmed += load.confirmed
        self._check_epochs()
        self._medium.delete(self._name)

    def _check_epochs(self) -> None:
        owner = self._cluster.owner
        (table,), *_ = owner(f"select table_number from leveret.blob where name = '{self._name}'")
        rows = owner(
            "select count(*) from (select epoch, lag(epoch) over (order by start) as before"
            f" from leveret.b{table}) as rows where epoch < before"
        )
        assert rows == [(0,)]

    def _mend(self) -> None:
        """Have a primary and two standbys again."""
        for server in self._cluster.servers:
            if server.is_paused:
                server.resume()
            if not server.running:
                self._cluster.replace(server)
        await_state(lambda: self._cluster.count_streaming() == 2, "both standbys follow")

    # --- faults -----------------------------------------------------------------------------

    def kill_primary(self) -> None:
        self._cluster.primary.kill()
        time.sleep(self.random.random() / 5)
        self._cluster.fail_over()

    def kill_standby(self) -> None:
        self.random.choice(self._cluster.standbys).kill()

    def pause_primary(self) -> None:
        self._cluster.primary.pause()
        time.sleep(self.random.random() * 4)
        self._cluster.primary.resume()

    def replace_paused_primary(self) -> None:
        old = self._cluster.primary
        old.pause()
        self._cluster.fail_over()
        old.resume()
        self._load.await_confirmed(20, SERVED_AGAIN_S)
        old.kill()

    def pause_standbys(self) -> None:
        standbys = self._cluster.standbys
        for each in standbys:
            each.pause()
        time.sleep(self.random.random() * 2)
        for each in standbys:
            each.resume()

    def terminate_sessions(self) -> None:
        self._signal_sessions("pg_terminate_backend")

    def cancel_waits(self) -> None:
        for _ in range(20):
            self._signal_sessions("pg_cancel_backend")

    def _signal_sessions(self, function: str) -> None:
        self._cluster.owner(
            f"select {function}(pid) from pg_stat_activity"
            f" where datname = '{DATABASE}' and usename = 'leveret'"
        )

    def take_over(self) -> None:
        """Another process takes the store; it owns it from now on."""
        following: Medium = open_medium(self._cluster.url())
        take(following)
        assert isinstance(self._load.await_error(), LostEpoch)
        self._medium.close()
        self._medium = following


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else Random().randrange(10**6)
    os.environ[PASSWORD_VARIABLE] = PASSWORD
    print(f"seed {seed}")
    with PostgresCluster() as cluster:
        crash = Crash(cluster, seed)
        crash.run(rounds)
        print(
            f"{crash.rounds} faults, {crash.confirmed} records confirmed, all of them there;"
            f" served again after {max(crash.away):.2f} s at most"
        )


if __name__ == "__main__":
    main()
