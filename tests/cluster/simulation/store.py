"""One store at a broker: it is taken, recovered, appended to, and closed, as a medium does it.

What was sent and is not known to be durable is sent again after a connection broke, under a new
token, and confirmed when a synchronous commit followed it.
"""

from collections.abc import Callable
from itertools import count
from typing import Final, Protocol

from leveret_storage.errors import LostEpoch, StorageError
from tests.cluster.simulation.database import LOST, Database, Reply
from tests.cluster.simulation.events import Events
from tests.cluster.simulation.network import Network, Statement
from tests.cluster.simulation.oracle import Oracle
from tests.cluster.simulation.rows import Record

ANSWER_S: Final = 1.5
"""Seconds after which a connection is given up that does not answer."""

RETRY_S: Final = 0.1
PENDING_MAX: Final = 3

_TOKENS: Final = count(1)


class Runner(Protocol):
    """The broker that a store is at."""

    def later(self, seconds: float, event: Callable[[], None]) -> None:
        """Have something happen in the event loop, when it runs."""


class SimulatedStore:
    """A store from its opening until it is closed or given up."""

    def __init__(
        self,
        store: int,
        events: Events,
        database: Database,
        network: Network,
        oracle: Oracle,
        runner: Runner,
    ) -> None:
        self.confirms_without_sync = False
        self._store: Final = store
        self._events: Final = events
        self._database: Final = database
        self._network: Final = network
        self._oracle: Final = oracle
        self._runner: Final = runner
        self._is_given_up = False
        self._epoch = 0
        self._token = ""
        self._tokens: set[str] = set()
        self._pending: list[Record] = []
        self._appended: set[int] = set()
        self._connection = 0
        self._server = 0
        """The primary that its connection is to, by its generation."""
        self._next_number = 1
        self._is_syncing = False
        self._is_connecting = False
        self._opened: Callable[[int], None] = _ignore
        self._failed: Callable[[StorageError], None] = _ignore
        """Called once, by whichever of opening, serving and closing is under way."""
        self._closed: Callable[[], None] | None = None
        self._is_open = False
        self._is_over = False

    # --- opening ----------------------------------------------------------------------------

    def open(
        self, opened: Callable[[int], None], not_opened: Callable[[StorageError], None]
    ) -> None:
        self._opened, self._failed = opened, not_opened
        database, store = self._database, self._store

        def take(result: object) -> None:
            assert isinstance(result, int)
            self._epoch, self._token = result + 1, _new_token()
            self._tokens.add(self._token)
            expected = result
            self._ask(
                lambda reply: self._take(expected, self._token, self._tokens, reply), self._read
            )

        self._ask(lambda reply: reply(database.rows.heads[store][0]), take)

    def _take(self, expected: int, token: str, known: set[str], reply: Reply) -> None:
        self._server = self._database.generation
        self._database.take(self._store, expected, self._epoch, token, known, reply)

    def _read(self, result: object) -> None:
        if result is LOST:
            self._fail("another broker was faster")
            return
        database, store = self._database, self._store

        def read(reply: Reply) -> None:
            if database.rows.heads[store] != (self._epoch, self._token):
                reply(LOST)
                return
            records = dict(database.rows.records[store])
            self._oracle.recovered(store, self._epoch, records)
            reply(max(records, default=0))

        def recovered(last: object) -> None:
            if last is LOST:
                self._fail("another broker was faster")
                return
            assert isinstance(last, int)
            self._next_number = last + 1
            self._runner.later(self._events.between(0.01, 0.5), self._serve)

        self._ask(read, recovered)

    def _serve(self) -> None:
        if self._is_given_up:
            self._fail("it was given up")
            return
        self._is_open = True
        self._opened(self._epoch)
        self._publish()

    def serve(self, failed: Callable[[StorageError], None]) -> None:
        """It was opened: say when it cannot go on."""
        self._failed = failed

    # --- appending --------------------------------------------------------------------------

    def _publish(self) -> None:
        """A client publishes, and later again."""
        if self._is_given_up or self._is_over or self._closed is not None:
            return
        if len(self._pending) < PENDING_MAX:
            record = Record(self._next_number, self._epoch)
            self._next_number += 1
            self._pending.append(record)
            if not self._is_connecting:
                self._append(record)
        self._runner.later(self._events.between(0.2, 1.2), self._publish)

    def _append(self, record: Record) -> None:
        token, epoch, connection = self._token, self._epoch, self._connection

        def answered(result: object) -> None:
            if connection != self._connection:
                return
            if result is LOST:
                self._fail("another broker has taken the store")
                return
            self._appended.add(record.number)
            if self.confirms_without_sync:
                self._confirm(1)
            self._sync()

        def broken() -> None:
            if connection == self._connection:
                self._connect_again()

        self._ask_once(
            lambda reply: self._database.append(self._store, epoch, token, record, reply),
            answered,
            broken,
            server=self._server,
        )

    def _sync(self) -> None:
        """Make durable the records at the front that were appended."""
        covered = 0
        while covered < len(self._pending) and self._pending[covered].number in self._appended:
            covered += 1
        if self._is_syncing or not covered or self._is_over:
            return
        self._is_syncing = True
        token, epoch, connection = self._token, self._epoch, self._connection

        def answered(result: object) -> None:
            if connection != self._connection:
                return
            self._is_syncing = False
            if result is LOST:
                self._fail("another broker has taken the store")
                return
            self._confirm(covered)
            self._sync()
            self._close_if_done()

        def broken() -> None:
            if connection == self._connection:
                self._connect_again()

        self._ask_once(
            lambda reply: self._database.sync(self._store, epoch, token, reply),
            answered,
            broken,
            server=self._server,
        )

    def _confirm(self, covered: int) -> None:
        if self._is_given_up:
            return
        for record in self._pending[:covered]:
            self._oracle.confirmed_record(self._store, record)
        del self._pending[:covered]

    def _connect_again(self) -> None:
        """Take the store again with another token, and send again what is not durable."""
        if self._is_over:
            return
        self._connection += 1
        self._is_connecting = True
        self._is_syncing = False
        self._appended.clear()
        token, connection = _new_token(), self._connection
        known = set(self._tokens)
        self._tokens.add(token)

        def answered(result: object) -> None:
            if connection != self._connection:
                return
            if result is LOST:
                self._fail("another broker has taken the store")
                return
            self._token = token
            self._is_connecting = False
            for record in list(self._pending):
                self._append(record)
            self._close_if_done()

        self._ask(lambda reply: self._take(-1, token, known | {token}, reply), answered)

    # --- the end ----------------------------------------------------------------------------

    def close(self, closed: Callable[[], None], not_closed: Callable[[StorageError], None]) -> None:
        """Confirm what is under way, then close."""
        self._closed, self._failed = closed, not_closed
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._closed is not None and not self._pending and not self._is_over:
            self._is_over = True
            self._closed()

    def give_up(self) -> None:
        """Confirm nothing more."""
        self._is_given_up = True
        if self._closed is not None:
            self._fail("it was given up")
        elif self._is_open:
            self._is_over = True

    def _fail(self, reason: str) -> None:
        if not self._is_over:
            self._is_over = True
            self._failed(LostEpoch(reason))

    def _ask_once(
        self,
        statement: Statement,
        answered: Reply,
        broken: Callable[[], None],
        server: int | None = None,
    ) -> None:
        """Ask; one of the two is called, in the event loop.

        :param server: that the connection is to; any if it is made for this question.
        """
        is_done = False

        def end(event: Callable[[], None]) -> None:
            def in_loop() -> None:
                nonlocal is_done
                if not is_done and not self._is_over:
                    is_done = True
                    event()

            self._runner.later(0, in_loop)

        def connected(reply: Reply) -> None:
            if server in (None, self._database.generation):
                statement(reply)
            else:
                end(broken)

        self._network.ask(
            connected, lambda result: end(lambda: answered(result)), lambda: end(broken)
        )
        self._events.after(ANSWER_S, lambda: None if is_done else end(broken))

    def _ask(self, statement: Statement, answered: Reply) -> None:
        """Ask until there is an answer, or the store is given up."""

        def again() -> None:
            if self._is_given_up:
                self._fail("it was given up")
            else:
                self._ask(statement, answered)

        self._ask_once(statement, answered, lambda: self._runner.later(RETRY_S, again))


def _new_token() -> str:
    return str(next(_TOKENS))


def _ignore(value: object) -> None:
    del value
