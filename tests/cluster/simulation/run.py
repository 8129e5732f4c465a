"""A run: brokers start, faults of all kinds come and go, then all is quiet and must be well."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from leveret.cluster.ownership import Ownership
from leveret.cluster.store_state import State
from tests.cluster.simulation.broker import Broker
from tests.cluster.simulation.events import Events
from tests.cluster.simulation.machine import Cluster, Machine
from tests.cluster.simulation.oracle import Violated

LEASE_S: Final = 3.0
FAULTS_S: Final = 30.0
"""Seconds in which faults begin."""

OWNED_AGAIN_S: Final = 20.0
"""Seconds after the last fault in which every store is to be owned."""

QUIET_S: Final = 45.0
"""Seconds after the last fault in which shares are to be even; then nothing moves."""

STILL_S: Final = 6.0


@dataclass(frozen=True)
class Defects:
    """What is wrong on purpose, to see that a run finds it."""

    has_fence: bool = True
    fence_has_lock: bool = True
    confirms_without_sync: bool = False
    ownership: type[Ownership] = Ownership


class Run:
    """One run, by its seed."""

    def __init__(self, seed: int, defects: Defects = Defects()) -> None:
        self.events = Events(seed)
        random = self.events.random
        self.cluster = Cluster(self.events, random.choice((1, 3, 4, 5)), LEASE_S)
        self.cluster.ownership = defects.ownership
        self.cluster.confirms_without_sync = defects.confirms_without_sync
        self.cluster.database.has_fence = defects.has_fence
        self.cluster.database.fence_has_lock = defects.fence_has_lock
        self.cluster.machines += [
            Machine(name, self.events, self.cluster.database, self._broker)
            for name in "abcd"[: random.choice((2, 3, 3, 4))]
        ]
        self._has_failovers = self.events.chance(0.5)

    def run(self) -> None:
        """:raises Violated: if something happens that must not happen."""
        events, cluster = self.events, self.cluster
        for machine in cluster.machines:
            events.after(events.between(0.0, events.random.choice((0.5, 8.0))), machine.start)
        faults = [self._pause, self._be_busy, self._cut, self._slow, self._kill, self._restart]
        if self._has_failovers:
            faults += [self._fail_over, self._fail_over, self._lose_standby]
        time = 2.0
        while time < FAULTS_S:
            time += events.random.expovariate(1 / 2.5)
            events.after(time, events.random.choice(faults))
        events.run(FAULTS_S + 10)
        self._heal()
        end = events.now
        events.run(end + OWNED_AGAIN_S)
        self._check_owned()
        events.run(end + QUIET_S)
        self._check_even()
        self._check_still()

    # --- faults -----------------------------------------------------------------------------

    def _broker(self, machine: Machine) -> Broker:
        return Broker(machine, self.cluster)

    def _machine(self) -> Machine:
        return self.events.random.choice(self.cluster.machines)

    def _for_a_while(self, longest: float, end: Callable[[], None]) -> None:
        self.events.after(self.events.between(0.01, longest), end)

    def _pause(self) -> None:
        """SIGSTOP, for longer than a lease or not."""
        broker = self._machine().broker
        if broker is not None:
            until = self.events.now + self.events.between(0.01, 8.0)
            broker.stopped_until = max(broker.stopped_until, until)

    def _be_busy(self) -> None:
        """A long turn of the event loop."""
        broker = self._machine().broker
        if broker is not None:
            until = self.events.now + self.events.between(0.01, 6.0)
            broker.busy_until = max(broker.busy_until, until)

    def _cut(self) -> None:
        network = self._machine().network
        network.is_cut = True

        def mend() -> None:
            network.is_cut = False

        self._for_a_while(8.0, mend)

    def _slow(self) -> None:
        network = self._machine().network
        network.delay_max_s = self.events.random.choice((0.05, 0.5, 1.0))

        def mend() -> None:
            network.delay_max_s = 0.002

        self._for_a_while(8.0, mend)

    def _kill(self) -> None:
        machine = self._machine()
        if machine.broker is not None:
            machine.kill()
            self._for_a_while(8.0, machine.start)

    def _restart(self) -> None:
        """SIGTERM: hand over, end, and start again."""
        machine = self._machine()
        broker = machine.broker
        if broker is None:
            return
        broker.leave()

        def end() -> None:
            if machine.broker is broker:
                machine.kill()
                machine.start()

        self.events.after(5.0, end)

    def _fail_over(self) -> None:
        database = self.cluster.database
        if not database.is_up:
            return
        database.fail()
        offset = self.events.random.choice((0.0, 0.0, 0.01, -0.01, 3600.0, -3600.0))
        self._for_a_while(6.0, lambda: database.fail_over(offset))

    def _lose_standby(self) -> None:
        database = self.cluster.database
        database.standby_answers = False

        def answer() -> None:
            database.standby_answers = True
            database.replicate()

        self._for_a_while(4.0, answer)

    def _heal(self) -> None:
        database = self.cluster.database
        if not database.is_up:
            database.fail_over(0.0)
        database.standby_answers = True
        database.replicate()
        for machine in self.cluster.machines:
            machine.network.is_cut = False
            machine.network.delay_max_s = 0.002
            machine.start()

    # --- what must be so --------------------------------------------------------------------

    def _owners(self) -> list[list[str]]:
        return [
            [each.name for each in self.cluster.machines if each.state(store) is State.OWNED]
            for store in range(self.cluster.stores)
        ]

    def _check_owned(self) -> None:
        owners = self._owners()
        if any(len(each) != 1 for each in owners) and not self._is_moving():
            raise Violated(f"after {OWNED_AGAIN_S} s of quiet the owners are {owners}")

    def _is_moving(self) -> bool:
        """Whether each store that nobody owns is being handed over."""
        passing = (State.HANDING_OVER, State.RELEASING, State.TAKING, State.OPENING)
        return all(
            any(each.state(store) in passing for each in self.cluster.machines)
            for store, owners in enumerate(self._owners())
            if len(owners) != 1
        )

    def _check_even(self) -> None:
        owners = self._owners()
        shares = [
            sum(each == [machine.name] for each in owners) for machine in self.cluster.machines
        ]
        if any(len(each) != 1 for each in owners) or max(shares) - min(shares) > 1:
            raise Violated(f"after {QUIET_S} s of quiet the owners are {owners}")

    def _check_still(self) -> None:
        """Nothing moves, and everybody is served."""
        before = self._owners()
        confirmed = [len(each) for each in self.cluster.oracle.confirmed]
        epochs = [head[0] for head in self.cluster.database.rows.heads]
        self.events.run(self.events.now + STILL_S)
        if before != self._owners() or epochs != [
            head[0] for head in self.cluster.database.rows.heads
        ]:
            raise Violated(f"the owners {before} became {self._owners()}")
        for store, records in enumerate(self.cluster.oracle.confirmed):
            if len(records) <= confirmed[store]:
                raise Violated(f"store {store}: nothing is confirmed")
