"""The machines of a simulated cluster, on each of which one broker runs at a time."""

from collections.abc import Callable
from typing import Final, Protocol

from leveret.cluster.ownership import Ownership
from leveret.cluster.store_state import State
from leveret_storage.errors import StorageError
from tests.cluster.simulation.database import Database
from tests.cluster.simulation.events import Events
from tests.cluster.simulation.network import Network
from tests.cluster.simulation.oracle import Oracle, Violated

START_S: Final = 1.0
"""Seconds after which a process is started again that has ended."""

SERVING: Final = (State.OPENING, State.OWNED, State.HANDING_OVER)


class Process(Protocol):
    """A broker, as its machine sees it."""

    stopped_until: float
    busy_until: float
    is_killed: bool

    @property
    def incarnation(self) -> str:
        """Of the process."""

    @property
    def ownership(self) -> Ownership:
        """Its decisions."""

    @property
    def runs(self) -> bool:
        """Whether its event loop does what is due."""

    def start(self) -> None:
        """Begin."""

    def leave(self) -> None:
        """Hand everything over."""

    def fail(self, store: int, error: StorageError) -> None:
        """Have a store that it owns fail."""


class Machine:
    """A machine: a name, a clock of its own, connections to the database, and maybe a broker.

    The rate of the clock is not that of the database's, and it starts anywhere.
    """

    def __init__(
        self, name: str, events: Events, database: Database, new: Callable[["Machine"], Process]
    ) -> None:
        self.name: Final = name
        self.network: Final = Network(events, database)
        """Of the thread that renews leases."""
        self.store_network: Final = Network(events, database)
        self.rate: Final = events.between(0.97, 1.03)
        self.offset: Final = events.between(0.0, 1e6)
        self.starts = 0
        self.failing = 0.0
        """The probability with which a store cannot be opened here."""
        self.failed = 0
        """How often one could not."""
        self.broker: Process | None = None
        self.replaced: list[Process] = []
        """Processes that go on though another one has been started with their name."""
        self._events: Final = events
        self._new: Final = new

    def start(self) -> None:
        """Start a broker, if there is none."""
        if self.broker is None:
            self.starts += 1
            self.broker = self._new(self)
            self.broker.start()

    def replace(self) -> None:
        """Start another process with the same name beside the one that is there."""
        if self.broker is not None:
            self.replaced.append(self.broker)
            self.broker = None
        self.start()

    def kill(self) -> None:
        """Kill the broker, if there is one."""
        if self.broker is not None:
            self.broker.is_killed = True
            self.broker = None

    def has_ended(self, process: Process) -> None:
        """A process has ended by itself: whoever supervises it starts another."""
        process.is_killed = True
        if process is self.broker:
            self.broker = None
            self._events.after(START_S, self.start)
        else:
            self.replaced.remove(process)

    def kill_replaced(self) -> None:
        """Kill the processes that have been replaced."""
        for each in self.replaced:
            each.is_killed = True
        self.replaced.clear()

    def processes(self) -> list[Process]:
        """All that were not killed."""
        return [*self.replaced, *([] if self.broker is None else [self.broker])]

    def state(self, store: int) -> State:
        """Of a store, at the broker."""
        return State.ELSEWHERE if self.broker is None else self.broker.ownership.state(store)


class Cluster:
    """What all brokers have in common."""

    def __init__(self, events: Events, stores: int, lease_s: float) -> None:
        self.events: Final = events
        self.oracle: Final = Oracle(stores)
        self.database: Final = Database(events, self.oracle, stores)
        self.stores: Final = stores
        self.lease_s: Final = lease_s
        self.machines: list[Machine] = []
        self.ownership: type[Ownership] = Ownership
        self.confirms_without_sync = False

    def check_alone(self, store: int, taker: str) -> None:
        """Nobody that runs serves a store when another process is given its lease."""
        if self.oracle.failovers:
            return  # what is known of leases may be lost
        for machine in self.machines:
            for each in machine.processes():
                is_other = each.incarnation != taker and each.runs
                if is_other and each.ownership.state(store) in SERVING:
                    raise Violated(
                        f"store {store}: {taker} gets its lease, and {each.incarnation} serves it"
                    )
