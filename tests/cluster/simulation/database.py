"""The simulated database: a primary whose write-ahead log a standby has up to somewhere.

- A statement is carried out when it arrives. The fence holds a lock until the commit.
- A commit is asynchronous, but for those that say otherwise: these end when the standby has all of
  the log before them.
- A failover leaves what was synchronous, and as much of the rest as chance will have. Its clock is
  another one. Statements of connections to the old primary end nowhere.
"""

from collections.abc import Callable
from typing import Final

from tests.cluster.simulation.events import Events
from tests.cluster.simulation.oracle import Oracle
from tests.cluster.simulation.rows import Change, Record, Rows, add_record, set_head

LOCK_WAIT_S: Final = 0.3
"""Seconds after which who takes a store ends the sessions that hold its lock."""

Reply = Callable[[object], None]


class LostEpochReply:
    """A statement was refused: the store has another owner, or its connections another token."""


LOST: Final = LostEpochReply()


class StoreLock:
    """The advisory lock of one store: shared by statements of the owner, or held by a takeover."""

    def __init__(self) -> None:
        self.shared: set[int] = set()
        self.terminated: set[int] = set()
        self.exclusive = False
        self.waiting: list[Callable[[], None]] = []

    def try_waiting(self) -> None:
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            each()


class Database:
    """The primary, as long as there is one."""

    def __init__(self, events: Events, oracle: Oracle, stores: int) -> None:
        self.has_fence = True
        self.fence_has_lock = True
        self.events: Final = events
        self.generation = 1
        """Of the primary; connections are to one of them."""
        self.is_up = True
        self.standby_answers = True
        self.clock_offset = 1_000_000.0
        self.rows = Rows(stores)
        self._oracle: Final = oracle
        self._stores: Final = stores
        self._log: list[Change] = []
        self._durable = 0
        self._locks = [StoreLock() for _ in range(stores)]
        self._sessions = 0
        self._syncs: list[tuple[int, int, Callable[[], None]]] = []

    @property
    def now(self) -> float:
        """By its clock."""
        return self.events.now + self.clock_offset

    def commit(self, change: Change) -> None:
        """Commit asynchronously."""
        self._log.append(change)
        change(self.rows)

    def make_durable(self, reply: Callable[[], None]) -> None:
        """Reply when the standby has all of the log up to here."""
        self._syncs.append((self.generation, len(self._log), reply))
        self.events.after(self.events.between(0.0005, 0.01), self.replicate)

    def replicate(self) -> None:
        """The standby answers, if it does."""
        if not self.standby_answers or not self.is_up:
            return
        syncs, self._syncs = self._syncs, []
        for generation, position, reply in syncs:
            if generation == self.generation:
                self._durable = max(self._durable, position)
                reply()

    def fail(self) -> None:
        """The primary is gone."""
        self.is_up = False

    def fail_over(self, clock_offset: float) -> None:
        """The standby is the primary."""
        left = self.events.random.randint(self._durable, len(self._log))
        del self._log[left:]
        self._durable = left
        self.rows = Rows(self._stores)
        for change in self._log:
            change(self.rows)
        self._locks = [StoreLock() for _ in range(self._stores)]
        self._syncs.clear()
        self.generation += 1
        self.clock_offset += clock_offset
        self.is_up = True
        self._oracle.failed_over(self.rows.records)

    # --- statements of an owner -------------------------------------------------------------

    def append(self, store: int, epoch: int, token: str, record: Record, reply: Reply) -> None:
        """Append a record: the fence first, the commit some time later."""
        generation, lock = self.generation, self._locks[store]
        if lock.exclusive and self.fence_has_lock:
            lock.waiting.append(lambda: self.append(store, epoch, token, record, reply))
            return
        if self.has_fence and self.rows.heads[store] != (epoch, token):
            reply(LOST)
            return
        self._sessions += 1
        session = self._sessions
        if self.fence_has_lock:
            lock.shared.add(session)

        def end() -> None:
            if generation != self.generation or not self.is_up:
                return
            lock.shared.discard(session)
            if session not in lock.terminated:
                known = record.number in self.rows.records[store]
                self.commit(add_record(store, record))
                if not known:
                    self._oracle.appended(store, record, self.rows.heads[store][0])
                reply(True)
            lock.try_waiting()

        # A client may be stopped between its statement and its commit.
        slow = self.events.chance(0.08)
        self.events.after(self.events.between(0.0, 3.0 if slow else 0.02), end)

    def sync(self, store: int, epoch: int, token: str, reply: Reply) -> None:
        """Make durable what was appended."""
        if self.has_fence and self.rows.heads[store] != (epoch, token):
            reply(LOST)
            return
        self.commit(_nothing)
        self.make_durable(lambda: reply(True))

    def take(
        self, store: int, expected: int, epoch: int, token: str, known: set[str], reply: Reply
    ) -> None:
        """Make epoch and token the owner's, if the epoch is the expected one, or the token one of
        an earlier attempt."""
        self._with_lock(
            store, lambda: self._take(store, expected, epoch, token, known, reply), self.events.now
        )

    def _take(
        self, store: int, expected: int, epoch: int, token: str, known: set[str], reply: Reply
    ) -> None:
        found, found_token = self.rows.heads[store]
        if found != expected and found_token not in known:
            reply(LOST)
            return
        self.commit(set_head(store, epoch, token))
        self.make_durable(lambda: reply(True))

    def _with_lock(self, store: int, job: Callable[[], None], since: float) -> None:
        """Run a job under the exclusive lock, and end who holds it for too long."""
        lock, generation = self._locks[store], self.generation
        if not lock.shared or not self.fence_has_lock:
            job()
            return
        if self.events.now - since >= LOCK_WAIT_S:
            lock.terminated |= lock.shared
            lock.shared.clear()
            lock.exclusive = False
            job()
            lock.try_waiting()
            return
        lock.exclusive = True

        def again() -> None:
            if generation != self.generation or not self.is_up:
                return
            lock.exclusive = False
            self._with_lock(store, job, since)
            if not lock.exclusive:
                lock.try_waiting()

        self.events.after(0.02, again)


def _nothing(rows: Rows) -> None:
    del rows
