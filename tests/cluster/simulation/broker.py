"""A broker: the decisions, the thread that renews leases, and its stores.

Its process may be stopped for a while, its event loop may be busy while its thread goes on, and it
may be killed: then its machine starts another one.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from leveret.cluster.actions import (
    Action,
    GiveBack,
    GiveUp,
    HandOver,
    NoteEpoch,
    Open,
    Refuse,
    Release,
    Take,
)
from leveret_storage.coordination import ClusterView
from leveret_storage.errors import MediumFailed, StorageError
from tests.cluster.simulation import rows
from tests.cluster.simulation.database import Reply
from tests.cluster.simulation.machine import Cluster, Machine
from tests.cluster.simulation.network import Statement
from tests.cluster.simulation.store import SimulatedStore

LOOK_S: Final = 0.1
JOIN_S: Final = 0.2

NAME_TAKEN: Final = "another process has the name"

Call = tuple[Statement, Callable[[object, float], None]]


class Broker:
    """One process."""

    def __init__(self, machine: Machine, cluster: Cluster) -> None:
        self.machine: Final = machine
        self.name: Final = machine.name
        self.incarnation: Final = f"{machine.name}-{machine.starts}"
        self.ownership: Final = cluster.ownership(
            self.name, self.incarnation, cluster.stores, cluster.lease_s
        )
        self.stopped_until = 0.0
        """Until when the process is stopped (SIGSTOP)."""
        self.busy_until = 0.0
        """Until when the event loop does something else."""
        self.is_killed = False
        self._cluster: Final = cluster
        self._events: Final = cluster.events
        self._database: Final = cluster.database
        self._stores: Final[dict[int, SimulatedStore]] = {}
        self._calls: Final[deque[Call]] = deque()
        self._is_asking = False
        self._has_joined = False
        self._renew_at = 0.0
        self._look_at = float("inf")
        self._wake_at = float("inf")
        self._expects_change = False
        self._held: frozenset[int] = frozenset()
        self._results: Final[deque[Callable[[], None]]] = deque()
        """What the thread has for the event loop."""
        self._takes: dict[int, int] = {}

    # --- life -------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """By the clock of its machine."""
        return self._events.now * self.machine.rate + self.machine.offset

    @property
    def runs(self) -> bool:
        """Whether its event loop does what is due."""
        return self._events.now >= max(self.stopped_until, self.busy_until)

    def start(self) -> None:
        self._ask_next()

    def leave(self) -> None:
        """Hand everything over, and then end."""
        self.ownership.leave(self.now)
        self._act()

    def fail(self, store: int, error: StorageError) -> None:
        """Have a store that it owns fail, in the event loop."""

        def fail() -> None:
            self.ownership.failed(store, error, self.now)
            self._act()

        self.later(0, fail)

    def later(self, seconds: float, event: Callable[[], None]) -> None:
        """In the event loop, when it runs."""
        self._when(seconds, event, lambda: max(self.stopped_until, self.busy_until))

    def _in_thread(self, seconds: float, event: Callable[[], None]) -> None:
        self._when(seconds, event, lambda: self.stopped_until)

    def _when(
        self, seconds: float, event: Callable[[], None], not_before: Callable[[], float]
    ) -> None:
        def happen() -> None:
            if self.is_killed:
                return
            wait = not_before() - self._events.now
            if wait > 0:
                self._events.after(wait, happen)
            else:
                event()

        self._events.after(seconds, happen)

    # --- the thread -------------------------------------------------------------------------

    def _ask_next(self) -> None:
        """Make the next call that is due, or wait for it."""
        if self._is_asking or self.is_killed:
            return
        now = self._events.now
        if now >= self._renew_at:
            self._renew_at = now + self._cluster.lease_s / 3
            held = self._held
            self._ask_for_view(self._renew(held), held)
        elif now >= self._look_at:
            self._ask_for_view(lambda reply: reply(self._view()), frozenset())
        elif self._calls:
            statement, answered = self._calls.popleft()
            asked_at = self.now
            self._ask(statement, lambda result: self._deliver(lambda: answered(result, asked_at)))
        else:
            wake_at = min(self._renew_at, self._look_at)
            if wake_at < self._wake_at:
                self._wake_at = wake_at
                self._in_thread(wake_at - now, self._wake)

    def _wake(self) -> None:
        self._wake_at = float("inf")
        self._ask_next()

    def _ask(self, statement: Statement, answered: Reply) -> None:
        """One call, with a timeout; None is the answer if there is none."""
        self._is_asking = True
        is_done = False

        def end(result: object) -> None:
            nonlocal is_done
            if not is_done:
                is_done = True
                self._is_asking = False
                answered(result)
                self._ask_next()

        self._network_ask(statement, end)
        timeout_s = self._cluster.lease_s / 3
        self._events.after(
            timeout_s, lambda: None if is_done else self._in_thread(0, lambda: end(None))
        )

    def _network_ask(self, statement: Statement, end: Reply) -> None:
        self.machine.network.ask(
            statement,
            lambda result: self._in_thread(0, lambda: end(result)),
            lambda: self._in_thread(0, lambda: end(None)),
        )

    def _ask_for_view(self, statement: Statement, held: frozenset[int]) -> None:
        asked_at = self.now
        self._look_at = float("inf")

        def answered(view: object) -> None:
            if self._expects_change:
                self._look_at = self._events.now + LOOK_S
            self._deliver(lambda: self._seen(view, asked_at, held))

        self._ask(statement, answered)

    def _view(self) -> ClusterView:
        return self._database.rows.view(self._database.now)

    def _renew(self, held: frozenset[int]) -> Statement:
        database, incarnation, lease_s = self._database, self.incarnation, self._cluster.lease_s

        def statement(reply: Reply) -> None:
            now = database.now
            database.commit(rows.clock_set_back(lease_s, now))
            known = database.rows.members.get(self.name)
            others = known is not None and known.incarnation != incarnation
            if known is not None and others and known.seen_at > now - lease_s:
                reply(NAME_TAKEN)
                return
            database.commit(rows.renewal(self.name, incarnation, held, lease_s, now))
            reply(self._view())

        return statement

    # --- the event loop ---------------------------------------------------------------------

    def _deliver(self, result: Callable[[], None]) -> None:
        self._results.append(result)
        self.later(0, self._process)

    def _process(self) -> None:
        while self._results and not self.is_killed:
            self._results.popleft()()
        self._act()

    def _seen(self, view: object, asked_at: float, held: frozenset[int]) -> None:
        if isinstance(view, ClusterView):
            self._has_joined = True
            self.ownership.seen(view, asked_at, held, self.now)
        elif view is NAME_TAKEN and self._has_joined:
            self.ownership.end(NAME_TAKEN, self.now)
            self._act()
            self.machine.has_ended(self)
        else:
            self.ownership.unreachable()

    def _act(self) -> None:
        self.ownership.tick(self.now)
        while actions := self.ownership.take_actions():
            for action in actions:
                self._carry_out(action)
        self._held = self.ownership.held
        expects_change = self.ownership.expects_change()
        if expects_change and not self._expects_change:
            self._look_at = min(self._look_at, self._events.now + LOOK_S)
        self._expects_change = expects_change
        deadline = self.ownership.next_deadline()
        if deadline is not None:
            wait_s = max(0.0, deadline - self.now) / self.machine.rate + 1e-6
            self.later(wait_s, self._process_if_due)
        self._ask_next()

    def _process_if_due(self) -> None:
        deadline = self.ownership.next_deadline()
        if deadline is not None and self.now >= deadline:
            self._process()

    def _carry_out(self, action: Action) -> None:
        store = action.store
        match action:
            case Take():
                self._calls.append((self._take(store), lambda *answer: self._taken(store, *answer)))
            case NoteEpoch():
                change = rows.note_epoch(store, self.incarnation, action.epoch)
                self._calls.append((self._commit(change), _ignore))
            case Release():
                takes = self._takes.get(store, float("inf"))
                change = rows.release(store, self.incarnation, action.successor, takes)
                self._calls.append((self._commit(change), lambda *_: self._released(store)))
            case GiveBack():
                self._calls.append((self._give_back(action), lambda *_: self._released(store)))
            case GiveUp():
                if store in self._stores:
                    self._stores[store].give_up()
            case Open():
                self._open(store)
            case HandOver():
                ownership = self.ownership
                self._stores[store].close(
                    lambda: self._handed_over(store), self._then(store, ownership.not_handed_over)
                )
            case Refuse():
                self._refuse(action)

    def _commit(self, change: rows.Change) -> Statement:
        def statement(reply: Reply) -> None:
            self._database.commit(change)
            reply(True)

        return statement

    def _refuse(self, action: Refuse) -> None:
        """Not by the thread that renews leases: it waits for a standby."""
        database, store = self._database, action.store
        change = rows.refuse(store, self.incarnation, action.reason)

        def statement(reply: Reply) -> None:
            database.commit(change)
            database.make_durable(lambda: reply(True))

        def refused() -> None:
            self.ownership.refused(store, self.now)
            self._act()

        self.machine.network.ask(statement, lambda _: self.later(0, refused), lambda: None)

    def _give_back(self, action: GiveBack) -> Statement:
        database, incarnation = self._database, self.incarnation
        takes = self._takes.get(action.store, float("inf"))

        def statement(reply: Reply) -> None:
            database.commit(
                rows.give_back(
                    action.store,
                    incarnation,
                    takes,
                    action.back_off_s,
                    action.reason,
                    database.now,
                )
            )
            reply(True)

        return statement

    def _take(self, store: int) -> Statement:
        database, incarnation = self._database, self.incarnation
        self._takes.pop(store, None)

        def statement(reply: Reply) -> None:
            now = database.now
            member = database.rows.members.get(self.name)
            if (
                member is None
                or member.incarnation != incarnation
                or not rows.may_take(database.rows, store, incarnation, now)
            ):
                reply(-1)
                return
            if not self.is_killed:
                self._cluster.check_alone(store, incarnation)
            until = now + self._cluster.lease_s
            database.commit(rows.take(store, self.name, incarnation, until))
            reply(database.rows.leases[store].takes)

        return statement

    def _taken(self, store: int, takes: object, asked_at: float) -> None:
        if isinstance(takes, int) and takes >= 0:
            self._takes[store] = takes
            self.ownership.taken(store, asked_at, self.now)
        else:
            self.ownership.not_taken(store, self.now)

    def _released(self, store: int) -> None:
        self.ownership.released(store, self.now)

    def _open(self, store: int) -> None:
        cluster = self._cluster
        opened = SimulatedStore(
            store, self._events, self._database, self.machine.store_network, cluster.oracle, self
        )
        opened.confirms_without_sync = cluster.confirms_without_sync
        self._stores[store] = opened
        opened.open(
            lambda epoch: self._opened(store, epoch),
            self._then(store, self.ownership.not_opened),
        )

    def _opened(self, store: int, epoch: int) -> None:
        if self._events.chance(self.machine.failing):
            self.machine.failed += 1
            self._stores.pop(store).give_up()
            self.ownership.not_opened(store, MediumFailed("no local directory"), self.now)
            self._act()
            return
        self._stores[store].serve(self._then(store, self.ownership.failed))
        self.ownership.opened(store, epoch, self.now)
        self._act()

    def _then(
        self, store: int, tell: Callable[[int, StorageError, float], None]
    ) -> Callable[[StorageError], None]:
        def failed(error: StorageError) -> None:
            tell(store, error, self.now)
            self._act()

        return failed

    def _handed_over(self, store: int) -> None:
        self.ownership.handed_over(store, self.now)
        self._act()


def _ignore(result: object, asked_at: float) -> None:
    del result, asked_at
