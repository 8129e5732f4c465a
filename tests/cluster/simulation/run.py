"""A run: brokers start, faults of all kinds come and go, then all is quiet and must be well."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from leveret.cluster.ownership import Ownership
from leveret.cluster.store_state import State
from leveret_storage.errors import DataLost
from tests.cluster.simulation import rows
from tests.cluster.simulation.broker import Broker
from tests.cluster.simulation.events import Events
from tests.cluster.simulation.machine import Cluster, Machine
from tests.cluster.simulation.network import FAST_S, Network
from tests.cluster.simulation.oracle import Violated

LEASE_S: Final = 3.0
FAULTS_S: Final = 30.0
"""Seconds in which faults begin."""

OWNED_AGAIN_S: Final = 20.0
"""Seconds after the last fault in which every store is to be owned."""

HAND_OVER_S: Final = 15.0
"""Seconds in which a store that is on its way to another member is owned again."""

QUIET_S: Final = 45.0
"""Seconds after the last fault in which shares are to be even; then nothing moves."""

BACKS_OFF_S: Final = 5 * 64.0
"""Seconds more for members that could not open stores: so long nothing is handed over to them."""

STILL_S: Final = 6.0
DATA_LOST: Final = "data were lost"


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
        # A few in each run: all at once would hide what only one of them shows.
        rarer = [self._lose_answers, self._replace, self._fail_to_open, self._order, self._lose]
        if self._has_failovers:
            rarer.append(self._set_clock)
        faults += events.random.sample(rarer, events.random.randint(0, 2))
        time = 2.0
        while time < FAULTS_S:
            time += events.random.expovariate(1 / 2.5)
            events.after(time, events.random.choice(faults))
        events.run(FAULTS_S + 10)
        self._heal()
        self._allow()
        still_failing = self._keep_failing()
        end = events.now
        events.run(end + OWNED_AGAIN_S)
        self._check_owned()
        for machine in still_failing:
            machine.failing = 0.0
        events.run(end + QUIET_S)
        has_failed = any(each.failed for each in cluster.machines)
        if has_failed and not self._is_even():
            self._run_until_even(end + QUIET_S + BACKS_OFF_S)
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

    def _networks(self) -> list[Network]:
        """The connections of a machine that something happens to: all, or some of them."""
        machine = self._machine()
        both = [machine.network, machine.store_network]
        return self.events.random.choice((both, both, both, both, both[:1], both[1:]))

    def _cut(self) -> None:
        networks = self._networks()
        for each in networks:
            each.is_cut = True

        def mend() -> None:
            for each in networks:
                each.is_cut = False

        self._for_a_while(8.0, mend)

    def _lose_answers(self) -> None:
        """Everything arrives at the database, and nothing comes back."""
        networks = self._networks()
        for each in networks:
            each.loses_answers = True

        def mend() -> None:
            for each in networks:
                each.loses_answers = False

        self._for_a_while(6.0, mend)

    def _slow(self) -> None:
        """A network becomes slow, and then mostly well again, or is cut."""
        networks = self._networks()
        is_cut = self.events.chance(0.4)
        delay = self.events.random.choice((0.05, 0.5, 1.0))
        for each in networks:
            each.delay_max_s = delay

        def mend() -> None:
            for each in networks:
                each.is_cut = False
                each.delay_max_s = FAST_S

        def end() -> None:
            if is_cut:
                for each in networks:
                    each.is_cut = True
                self._for_a_while(8.0, mend)
            else:
                mend()

        self._for_a_while(8.0, end)

    def _kill(self) -> None:
        machine = self._machine()
        if machine.broker is not None:
            machine.kill()
            self._for_a_while(8.0, machine.start)

    def _replace(self) -> None:
        """Another process of the same name is started, mostly because the first one is stopped."""
        machine = self._machine()
        broker = machine.broker
        if broker is None or machine.replaced:
            return
        if self.events.chance(0.8):
            broker.stopped_until = self.events.now + self.events.between(1.0, 8.0)
        machine.replace()
        self._for_a_while(12.0, machine.kill_replaced)

    def _fail_to_open(self) -> None:
        """A machine is short of something that opening a store needs."""
        machine = self._machine()
        machine.failing = self.events.random.choice((0.5, 1.0))

        def mend() -> None:
            machine.failing = 0.0

        self._for_a_while(12.0, mend)

    def _lose(self) -> None:
        """The owner of a store finds that data are missing; later an operator allows the store."""
        store = self.events.random.randrange(self.cluster.stores)
        for machine in self.cluster.machines:
            if machine.broker is not None and machine.state(store) is State.OWNED:
                machine.broker.fail(store, DataLost(DATA_LOST))
        self._for_a_while(8.0, lambda: self._command(rows.allow(store)))

    def _order(self) -> None:
        """An operator has a store moved, a member drained or forgotten; later takes it back."""
        name = self._machine().name
        store = self.events.random.randrange(self.cluster.stores)
        kind = self.events.random.choice(("move", "drain", "forget"))
        if kind == "move":
            self._command(rows.move(store, name))
            self._for_a_while(8.0, lambda: self._command(rows.move(store, "")))
        elif kind == "drain":
            self._command(rows.drain(name, True))
            self._for_a_while(8.0, lambda: self._command(rows.drain(name, False)))
        else:
            self._command(rows.forget(name, self.cluster.database.now))

    def _command(self, change: rows.Change) -> None:
        """An order, which is durable when it is answered; now, if the database is there."""
        database = self.cluster.database
        if database.is_up:
            database.commit(change)
            database.make_durable(lambda: None)

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

    def _set_clock(self) -> None:
        """The clock of the primary is set."""
        self.cluster.oracle.failovers += 1
        seconds = self.events.random.choice((0.5, -0.5, 3600.0, -3600.0))
        self.cluster.database.clock_offset += seconds

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
        for store in range(self.cluster.stores):
            self._command(rows.move(store, ""))
        for machine in self.cluster.machines:
            for network in (machine.network, machine.store_network):
                network.is_cut = network.loses_answers = False
                network.delay_max_s = FAST_S
            machine.failing = 0.0
            machine.kill_replaced()
            self._command(rows.drain(machine.name, False))
            machine.start()

    def _allow(self) -> None:
        """What is refused is allowed, from now on."""
        for store, lease in enumerate(self.cluster.database.rows.leases):
            if lease.refused:
                self._command(rows.allow(store))
        self.events.after(2.0, self._allow)

    def _keep_failing(self) -> list[Machine]:
        """Some machines can open no store for a while, but not all."""
        if self.events.chance(0.7):
            return []
        machines = self.cluster.machines
        count = self.events.random.randint(1, len(machines) - 1)
        failing = self.events.random.sample(machines, count)
        for each in failing:
            each.failing = 1.0
        return failing

    # --- what must be so --------------------------------------------------------------------

    def _owners(self) -> list[list[str]]:
        return [
            [each.name for each in self.cluster.machines if each.state(store) is State.OWNED]
            for store in range(self.cluster.stores)
        ]

    def _check_owned(self) -> None:
        """Each store has one owner, or gets it within a hand-over, which members that have failed
        are tried with again."""
        waiting = set(range(self.cluster.stores))
        end = self.events.now + HAND_OVER_S
        while waiting:
            waiting -= {store for store, each in enumerate(self._owners()) if len(each) == 1}
            if waiting and self.events.now >= end:
                raise Violated(f"after {OWNED_AGAIN_S} s of quiet the owners are {self._owners()}")
            self.events.run(self.events.now + 0.1)

    def _is_even(self) -> bool:
        owners = self._owners()
        shares = [
            sum(each == [machine.name] for each in owners) for machine in self.cluster.machines
        ]
        return all(len(each) == 1 for each in owners) and max(shares) - min(shares) <= 1

    def _run_until_even(self, end: float) -> None:
        while not self._is_even() and self.events.now < end:
            self.events.run(self.events.now + STILL_S)

    def _check_even(self) -> None:
        if not self._is_even():
            raise Violated(f"after {QUIET_S} s of quiet the owners are {self._owners()}")

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
