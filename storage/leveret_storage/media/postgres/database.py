"""The connections of a broker to its database: made, lost, and made again.

A connection that breaks is no failure: the outcome of what was under way is unknown, so it is done
again on new connections, which are looked for on all hosts until there are some. Each store that is
owned is first taken again with a new token, so nothing of the old connections can follow. Only
these end an owner: another one has taken the store (LostEpoch), what was durable is not there
(DataLost), or the server lets in the connections of other stores, and not its own (MediumFailed).

Meanwhile every call waits, and those who watch are told why. The same holds while the database
answers and commits wait for their standbys.

The supervisor is the thread that does this. It also looks at whatever waits longer than STALL_S: it
asks all hosts again, since a server that hangs does not end its connections.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from queue import SimpleQueue
from threading import Condition, RLock, Thread
from typing import Final, TypeAlias, TypeVar

from leveret_storage.errors import (
    DataLost,
    LostEpoch,
    MediumFailed,
    MediumFull,
    ReadFailed,
    StorageError,
    UnsuitableMedium,
)
from leveret_storage.media.postgres.appender import Appender
from leveret_storage.media.postgres.checks import Report, check
from leveret_storage.media.postgres.connecting import WrongLogin, connect_newest, connect_to
from leveret_storage.media.postgres.io_thread import (
    FULL_STATES,
    REPEATED_STATES,
    Connections,
    IoThread,
)
from leveret_storage.media.postgres.link import (
    DatabaseError,
    Interrupt,
    Link,
    LinkBroken,
    number,
)
from leveret_storage.media.postgres.location import Location
from leveret_storage.media.postgres.operations import Operation
from leveret_storage.media.postgres.owned_store import OwnedStore
from leveret_storage.media.postgres.ownership import Fence
from leveret_storage.media.postgres.pipeline import Pipeline
from leveret_storage.media.postgres.schema import LOST_STATE, Schema, find_schema, make_schema
from leveret_storage.media.postgres.session import Ended, ServerSession

STALL_S: Final = 1.0
"""Seconds that a statement may take before all hosts are asked again, and publishers are told."""

SUPERVISION_S: Final = 0.25
RECONNECT_INTERVAL_S: Final = 0.1
RECONNECT_INTERVAL_MAX_S: Final = 0.4
TAKE_AGAIN_TIMEOUT_S: Final = 15.0
NO_ROOM_S: Final = 5.0
"""Seconds for which connections of stores are tried that the server does not let in: those of a
network that was cut may count for a while."""

Result = TypeVar("Result")
Job: TypeAlias = Callable[[Link, Schema], Result]
Watcher: TypeAlias = Callable[[str], None]


class Database:
    """A database, shared by the stores of a broker. For any thread."""

    def __init__(self, location: Location, *, read_only: bool = False) -> None:
        """Connect, check what is relied on, and make or migrate the schema, unless `read_only`.

        :raises ReadFailed: if no host accepts writes, or there is no schema to read.
        :raises UnsuitableMedium: if Leveret cannot rely on the database, or is not let in.
        :raises UnknownFormat: if a newer program made the schema.
        """
        self.location: Final = location
        self.read_only: Final = read_only
        self._changed = Condition()
        self._telling = RLock()
        self._session: ServerSession | None = None
        self._stores: list[OwnedStore] = []
        self._watchers: list[Watcher] = []
        self._reason = ""
        self._closed = False
        self._connecting = Interrupt()
        self._timeline = 0
        self._ask_again_at = 0.0
        self._no_room_since: float | None = None
        """Since when the server has not let in the connections of all stores."""
        self._shut_out_since: float | None = None
        self._system = ""
        try:
            session = self._connect()
        except WrongLogin as error:
            raise UnsuitableMedium(f"{location}: {error}") from error
        except LinkBroken as error:
            raise ReadFailed(f"{location}: {error}") from error
        except DatabaseError as error:
            raise ReadFailed(f"{location}: {error} ({error.state})") from error
        self._session = session
        self._io = IoThread(self._io_broken)
        try:
            self._io.connect(self._connections(session))
        except LinkBroken as error:
            self._io.close()
            session.close()
            raise ReadFailed(f"{location}: {error}") from error
        self._upkeep: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = [
            Thread(target=self._supervise, name="leveret-postgres-supervisor", daemon=True),
            Thread(target=self._keep_up, name="leveret-postgres-upkeep", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def durability(self) -> str:
        """How commits are synchronous, for the fence."""
        location = self.location
        if location.replicated_by_provider or location.replicas_min == 0:
            return "local"
        return "replicated"

    @property
    def timeline(self) -> int:
        """Of the newest server that was found."""
        return self._timeline

    @property
    def report(self) -> Report | None:
        """What was found at the last connect; None while the database is away."""
        with self._changed:
            return None if self._session is None else self._session.report

    @property
    def reason(self) -> str:
        """Why calls wait; empty while the database answers."""
        return self._reason

    @property
    def shut_out_s(self) -> float:
        """Seconds for which no server that accepts writes has let a connection in; 0 if one has."""
        since = self._shut_out_since
        return 0.0 if since is None else time.monotonic() - since

    def watch(self, watcher: Watcher) -> None:
        """Have `watcher` called with each new reason, from any thread. It may not block."""
        with self._telling:
            self._watchers.append(watcher)
            if self._reason:
                watcher(self._reason)

    def now_ms(self) -> int:
        """The time of the database, in milliseconds since the epoch; waits while it is away."""
        question = "select (extract(epoch from clock_timestamp()) * 1000)::bigint"
        return self.call(lambda link, _: number(link.execute(question)[0][0]), lambda: None)

    # --- calls ------------------------------------------------------------------------------

    def call(self, job: Job[Result], ended: Ended) -> Result:
        """Run a job on a link, as often as its outcome is unknown: what it does twice has to have
        the effect of once.

        :param ended: returns the error with which to stop trying, or None.
        :raises StorageError: LostEpoch and MediumFull by what the database says; what the job
            raises; what `ended` returns.
        """
        while True:
            session = self._await_session(ended)
            try:
                with session.borrow(ended) as link:
                    return job(link, session.schema)
            except LinkBroken as error:
                if ended() is None:
                    self._give_up(session.interrupt, str(error))
            except DatabaseError as error:
                if error.state == LOST_STATE:
                    if session.interrupt.is_set:
                        # The owner may have taken the store again on other connections.
                        continue
                    raise LostEpoch(str(error)) from error
                if error.state in FULL_STATES:
                    raise MediumFull(str(error)) from error
                if error.state not in REPEATED_STATES:
                    self._give_up(session.interrupt, f"{error} ({error.state})")

    def _await_session(self, ended: Ended) -> ServerSession:
        with self._changed:
            while True:
                if self._closed:
                    raise MediumFailed(f"{self.location}: it was closed")
                error = ended()
                if error is not None:
                    raise error
                if self._session is not None:
                    return self._session
                self._changed.wait(STALL_S)

    def connect(self, interrupt: Interrupt, ended: Ended) -> tuple[Link, Schema]:
        """A link for one purpose alone, which is not given up with the others.

        :param interrupt: ends its calls.
        :raises LinkBroken: if it cannot be made.
        :raises StorageError: as `call`.
        """
        session = self._await_session(ended)
        try:
            return connect_to(self.location, session.server, interrupt), session.schema
        except LinkBroken as error:
            if not interrupt.is_set and not session.answers():
                self._give_up(session.interrupt, str(error))
            raise

    def in_background(self, job: Callable[[], None]) -> None:
        """Run a job in the thread for upkeep. A StorageError in it is nobody's: it is left for
        whoever needs what the job was to do."""
        self._upkeep.put(job)

    def _keep_up(self) -> None:
        while (job := self._upkeep.get()) is not None:
            try:
                job()
            except StorageError:
                continue

    # --- stores -----------------------------------------------------------------------------

    def wake(self) -> None:
        """Operations were submitted."""
        self._io.wake()

    def send_alone(self, appender: Appender, operation: Operation) -> bool:
        """Submit an operation and send it, if nothing has to be waited for; whether that was
        done."""
        return self._io.send_alone(appender, operation)

    def own(self, store: OwnedStore) -> None:
        """A store was taken: append to it, and take it again after each reconnect.

        :raises ReadFailed: if there is no further connection, while those that are there work.
        """
        while True:
            with self._changed:
                session = self._session
                if session is None:
                    self._stores.append(store)
                    return
            try:
                pipeline = Pipeline(session.connect())
            except LinkBroken as error:
                if session.answers():
                    raise ReadFailed(f"{self.location}: no further connection: {error}") from error
                self._give_up(session.interrupt, str(error))
                continue
            with self._changed:
                if self._session is session:
                    self._stores.append(store)
                    break
            pipeline.close()
        self._io.add(session.interrupt, store.appender, pipeline)

    def end(self, store: OwnedStore, error: StorageError) -> None:
        """Append to a store no more: what is not durable, and every call that waits, fails so."""
        self._remove(store)
        self._io.remove(store.appender)
        store.appender.fail(error)
        self.end_calls()

    def end_calls(self) -> None:
        """Have every call look whether it has ended. Those of other stores go on."""
        with self._changed:
            session = self._session
            self._changed.notify_all()
        if session is not None:
            session.end_calls()

    # --- connecting -------------------------------------------------------------------------

    def _connect(self) -> ServerSession:
        """Find the newest primary, and check it."""
        interrupt = self._new_interrupt()
        connected = connect_newest(
            self.location,
            interrupt,
            self._timeline,
            again=self._timeline > 0,
            first=self._timeline == 0,
        )
        server, link = connected.server, connected.link
        self._shut_out_since = None
        with ExitStack() as on_failure:
            on_failure.callback(link.close)
            link.timeout_s = TAKE_AGAIN_TIMEOUT_S
            report = check(link, self.location, server, self._system)
            schema = self._schema(link)
            link.timeout_s = None
            on_failure.pop_all()
        self._timeline, self._system = server.timeline, report.system
        return ServerSession(self.location, server, schema, report, link)

    def _new_interrupt(self) -> Interrupt:
        """Of connections that are to be made; `close` sets it."""
        interrupt = Interrupt()
        with self._changed:
            self._connecting = interrupt
            if self._closed:
                interrupt.set()
        return interrupt

    def _schema(self, link: Link) -> Schema:
        # One that was there and is missing was lost, and is not to be made anew.
        if not self.read_only and not self._timeline:
            return make_schema(link, self.location.schema)
        schema = find_schema(link, self.location.schema)
        if schema is None:
            raise ReadFailed(f"{self.location}: there is no schema {self.location.schema}")
        return schema

    def _connections(self, session: ServerSession) -> Connections:
        fence = Fence(session.schema, 0, 0, "", self.durability)
        return Connections(session.interrupt, Pipeline(session.connect()), fence)

    def _take_again(self, session: ServerSession) -> Connections:
        """Connections for all stores that are still owned."""
        connections = self._connections(session)
        with self._changed:
            stores = list(self._stores)
        with ExitStack() as on_failure:
            on_failure.callback(connections.close)
            for store in stores:
                try:
                    link = session.connect()
                except LinkBroken as error:
                    if not self._has_no_room(session):
                        raise
                    self._remove(store)
                    text = f"{self.location}: no further connection: {error}"
                    store.appender.fail(MediumFailed(text))
                    continue
                on_failure.callback(link.close)
                link.timeout_s = TAKE_AGAIN_TIMEOUT_S
                try:
                    store.take_again(link, session.schema)
                except (LostEpoch, DataLost) as error:
                    link.close()
                    self._remove(store)
                    store.appender.fail(error)
                else:
                    link.timeout_s = None
                    connections.appends[store.appender] = Pipeline(link)
            on_failure.pop_all()
        return connections

    def _has_no_room(self, session: ServerSession) -> bool:
        """Whether the server answers, and has let no further connection in for long."""
        if not session.answers():
            return False
        now = time.monotonic()
        if self._no_room_since is None:
            self._no_room_since = now
        return now - self._no_room_since >= NO_ROOM_S

    def _remove(self, store: OwnedStore) -> None:
        with self._changed:
            if store in self._stores:
                self._stores.remove(store)

    # --- when it is away --------------------------------------------------------------------

    def _io_broken(self, interrupt: Interrupt, text: str) -> None:
        self._give_up(interrupt, text)

    def _give_up(self, interrupt: Interrupt, text: str) -> None:
        """End a session, if it is still the one in use; the supervisor makes another."""
        interrupt.set()
        with self._changed:
            session = self._session
            if session is None or session.interrupt is not interrupt or self._closed:
                return
            self._session = None
            self._changed.notify_all()
        session.close()
        self._shut_out_since = time.monotonic()
        self._set_reason(text or "the connection was lost")

    def _set_reason(self, reason: str) -> None:
        # Under a lock, so that what is told last is what holds.
        with self._telling:
            if reason == self._reason:
                return
            self._reason = reason
            for watcher in self._watchers:
                watcher(reason)

    def _supervise(self) -> None:
        interval = RECONNECT_INTERVAL_S
        while True:
            with self._changed:
                if not self._closed and self._session is not None:
                    self._changed.wait(SUPERVISION_S)
                if self._closed:
                    return
                session = self._session
            if session is not None:
                interval = RECONNECT_INTERVAL_S
                self._look_for_stall(session)
            elif not self._reconnect():
                with self._changed:
                    self._changed.wait_for(lambda: self._closed, interval)
                interval = min(2 * interval, RECONNECT_INTERVAL_MAX_S)

    def _reconnect(self) -> bool:
        self._io.disconnect()
        session: ServerSession | None = None
        try:
            session = self._connect()
            connections = self._take_again(session)
        except DatabaseError as error:
            self._set_reason(f"{error} ({error.state})")
        except (LinkBroken, StorageError) as error:
            self._set_reason(str(error))
        else:
            self._io.connect(connections)
            if self._begin(session, connections):
                self._set_reason("")
                return True
        if session is not None:
            session.close()
        return False

    def _begin(self, session: ServerSession, connections: Connections) -> bool:
        """Let calls use a session, unless it broke meanwhile, or lacks a store that was taken."""
        with self._changed:
            owned = {store.appender for store in self._stores}
            if session.interrupt.is_set or self._closed or owned - connections.appends.keys():
                return False
            self._session = session
            self._no_room_since = None
            self._changed.notify_all()
        for appender in connections.appends.keys() - owned:
            self._io.remove(appender)
        return True

    def _look_for_stall(self, session: ServerSession) -> None:
        """Ask all hosts again if something waits for long."""
        appends_stall = _is_long_ago(self._io.waiting_since())
        if not appends_stall:
            self._set_reason("")
            if not _is_long_ago(session.waiting_since()):
                return
        if time.monotonic() < self._ask_again_at:
            return
        self._ask_again_at = time.monotonic() + STALL_S
        if appends_stall and not self.reason:
            self._set_reason(f"the database has not answered for {STALL_S:g} s")
        try:
            found = connect_newest(self.location, self._new_interrupt(), self._timeline, again=True)
        except LinkBroken as error:
            if not session.answers():
                self._give_up(session.interrupt, str(error))
            return
        except ReadFailed as error:
            self._set_reason(str(error))
            return
        found.link.close()
        if found.server != session.server:
            self._give_up(session.interrupt, f"{found.server} is the primary")
        elif _is_long_ago(self._io.waiting_since()):
            self._set_reason("commits wait for a standby that has not answered")

    def close(self) -> None:
        """End all threads and calls. What is not durable gets MediumFailed."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            session, self._session = self._session, None
            stores, self._stores = self._stores, []
            self._changed.notify_all()
            self._connecting.set()
        self._upkeep.put(None)
        for store in stores:
            store.appender.fail(MediumFailed(f"{self.location}: it was closed"))
        if session is not None:
            session.close()
        for thread in self._threads:
            thread.join()
        self._io.close()


def _is_long_ago(since: float | None) -> bool:
    """Whether what began then, by time.monotonic, takes longer than it may."""
    return since is not None and time.monotonic() - since > STALL_S
