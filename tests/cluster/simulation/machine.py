"""The machines of a simulated cluster, on each of which one broker runs at a time."""

from collections.abc import Callable
from typing import Final, Protocol

from leveret.cluster.ownership import Ownership
from leveret.cluster.store_state import State
from tests.cluster.simulation.database import Database
from tests.cluster.simulation.events import Events
from tests.cluster.simulation.network import Network
from tests.cluster.simulation.oracle import Oracle, Violated

SERVING: Final = (State.OPENING, State.OWNED, State.HANDING_OVER)


class Process(Protocol):
    """A broker, as its machine sees it."""

    stopped_until: float
    busy_until: float
    is_killed: bool

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


class Machine:
    """A machine: a name, a clock of its own, connections to the database, and maybe a broker.

    The rate of the clock is not that of the database's, and it starts anywhere.
    """

    def __init__(
        self, name: str, events: Events, database: Database, new: Callable[["Machine"], Process]
    ) -> None:
        self.name: Final = name
        self.network: Final = Network(events, database)
        self.rate: Final = events.between(0.97, 1.03)
        self.offset: Final = events.between(0.0, 1e6)
        self.starts = 0
        self.broker: Process | None = None
        self._new: Final = new

    def start(self) -> None:
        """Start a broker, if there is none."""
        if self.broker is None:
            self.starts += 1
            self.broker = self._new(self)
            self.broker.start()

    def kill(self) -> None:
        """Kill the broker, if there is one."""
        if self.broker is not None:
            self.broker.is_killed = True
            self.broker = None

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

    def check_alone(self, store: int, taker: Machine) -> None:
        """Nobody that runs serves a store when another one is given its lease."""
        if self.oracle.failovers:
            return  # what is known of leases may be lost
        for each in self.machines:
            if each is taker or each.broker is None or not each.broker.runs:
                continue
            if each.state(store) in SERVING:
                raise Violated(
                    f"store {store}: {taker.name} gets its lease, and {each.name} serves it"
                )
