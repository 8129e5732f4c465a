"""Random faults of a cluster under load; afterwards everything that was confirmed has arrived.

    python -m tests.cluster.crash [KILLS [SEED]]

Each round is one fault: brokers and servers of the database are killed, stopped, restarted or cut
off, one or several at once. The clients of a round work before, during and after it; then the
account of each queue is checked, and that no store had two owners.
"""

import logging
import os
import secrets
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from random import Random
from typing import Final

from leveret_storage.media.postgres.location import PASSWORD_VARIABLE
from tests.cluster.world import Load, World
from tests.support.postgres import PASSWORD

KILLS: Final = 20
PAUSE_S: Final = 5.0
"""Up to how long something stands still: longer and shorter than a lease."""


class Crash:
    """A world that is harmed and mended round by round."""

    def __init__(self, world: World, seed: str) -> None:
        self.random = Random(seed)
        self.confirmed = 0
        self.not_served: dict[str, list[float]] = defaultdict(list)
        """Seconds that clients were not served, by the fault."""
        self._world = world
        self._faults: list[Callable[[Load], None]] = [
            self.kill_owner,
            self.kill_owner,
            self.kill_broker,
            self.kill_primary,
            self.kill_primary_and_owner,
            self.kill_standby,
            self.kill_all_brokers,
            self.pause_owner,
            self.pause_primary,
            self.replace_paused_primary,
            self.cut_owner_off,
            self.cut_connections,
            self.restart_owner,
        ]

    def run(self) -> str:
        """Do one round; the name of its fault."""
        fault = self.random.choice(self._faults)
        name = fault.__name__
        with self._world.load(balanced=self.random.random() < 0.5) as load:
            time.sleep(self.random.random() / 2)
            load.fault()
            fault(load)
            self.not_served[name].append(load.served_again(name))
        self.confirmed += sum(account.confirmed for account in load.accounts)
        self._world.mend()
        return name

    def report(self) -> str:
        """How long clients were not served, by fault."""
        lines = []
        for name, seconds in sorted(self.not_served.items()):
            ordered = sorted(seconds)
            middle = ordered[len(ordered) // 2]
            lines.append(
                f"{name:<24} {len(seconds):4} times  median {middle:5.2f} s"
                f"  longest {ordered[-1]:5.2f} s"
            )
        return "\n".join(lines)

    # --- faults -----------------------------------------------------------------------------

    def kill_owner(self, _load: Load) -> None:
        self._world.owner().kill()

    def kill_broker(self, _load: Load) -> None:
        self.random.choice(list(self._world.brokers.nodes.values())).kill()

    def kill_primary(self, _load: Load) -> None:
        self._world.database.primary.kill()
        time.sleep(self.random.random() / 5)
        self._world.database.fail_over()

    def kill_primary_and_owner(self, _load: Load) -> None:
        owner = self._world.owner()
        self._world.database.primary.kill()
        owner.kill()
        self._world.database.fail_over()

    def kill_standby(self, _load: Load) -> None:
        self.random.choice(self._world.database.standbys).kill()

    def kill_all_brokers(self, _load: Load) -> None:
        for node in self._world.brokers.nodes.values():
            node.kill()
        self._world.brokers.start()

    def pause_owner(self, load: Load) -> None:
        owner = self._world.owner()
        load.pause(owner)
        time.sleep(self.random.random() * PAUSE_S)
        owner.resume()

    def pause_primary(self, load: Load) -> None:
        primary = self._world.database.primary
        primary.pause()
        time.sleep(self.random.random() * PAUSE_S)
        primary.resume()
        load.fault()

    def replace_paused_primary(self, load: Load) -> None:
        old = self._world.database.primary
        old.pause()
        self._world.database.fail_over()
        load.await_confirmed()
        old.resume()
        time.sleep(self.random.random())
        old.kill()

    def cut_owner_off(self, _load: Load) -> None:
        network = self._world.networks[self._world.owner().name]
        network.close()
        time.sleep(self.random.random() * PAUSE_S)
        network.open()

    def cut_connections(self, _load: Load) -> None:
        network = self._world.networks[self._world.owner().name]
        network.hold_answers()
        time.sleep(self.random.random() / 2)
        network.lose_answers_and_cut()

    def restart_owner(self, _load: Load) -> None:
        owner = self._world.owner()
        owner.stop()
        owner.start()


def main() -> None:
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else KILLS
    seed = sys.argv[2] if len(sys.argv) > 2 else secrets.token_hex(4)
    os.environ[PASSWORD_VARIABLE] = PASSWORD
    logging.disable(logging.CRITICAL)
    print(f"seed {seed}, {kills} kills", flush=True)
    began = time.monotonic()
    with World() as world:
        crash = Crash(world, seed)
        for count in range(1, kills + 1):
            name = crash.run()
            print(f"{count}: {name}, {time.monotonic() - began:.0f} s", flush=True)
    print(crash.report())
    print(
        f"{kills} kills in {time.monotonic() - began:.0f} s: {crash.confirmed:,} messages"
        " confirmed, all of them there, in order, and no store with two owners"
    )


if __name__ == "__main__":
    main()
