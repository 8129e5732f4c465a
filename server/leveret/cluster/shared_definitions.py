"""The metadata of a cluster: what its brokers have in common, on a log that they share.

A change is made in the metadata at once, and appended to the log by a thread. An append is based on
everything that the log has, so each record of the log was checked against all before it. Where
another broker was faster, its records are applied first, and the changes that wait are made again
on top of them, or dropped where they make no sense any more (`merge.py`). What is seen here is
always the log with the changes that wait on top.

All state belongs to the event loop; the thread makes one call after another, and hands over its
result. While the database is away the calls wait, and operators are refused before they change
anything.

Deliberately elsewhere: what a change may be (`engine/administration/`), and exchanges, queues and
bindings, which are in the store of their virtual host.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple
from uuid import uuid4

import msgspec

from leveret.cluster.blocking_calls import BlockingCalls, CallThread, NoCalls
from leveret.cluster.merge import PendingChange, merged, resolved
from leveret.config import Auth
from leveret.engine.access.accounts import ADMINISTRATOR
from leveret.engine.access.passwords import hash_password
from leveret.engine.access.rights import ANY
from leveret.engine.administration.operator import Unavailable
from leveret.engine.broker import CLUSTER_NAME
from leveret.engine.metadata.entities import (
    ENTITY_KINDS,
    Entity,
    EntityDeleted,
    GlobalParameter,
    Key,
    Permission,
    SessionKey,
    User,
    VirtualHostEntity,
    kind_of,
)
from leveret.engine.metadata.metadata import Metadata, Record
from leveret.engine.persistence.definitions import decode, encode
from leveret.logging import get_logger
from leveret_storage.coordination import Unreachable
from leveret_storage.errors import Damaged, StorageError
from leveret_storage.format.entries import StoredDefinition
from leveret_storage.format.file_header import FORMAT_VERSION
from leveret_storage.shared_log import Reading, SharedLog, SharedRecord

DURABLE_TIMEOUT_S: Final = 10.0
"""Seconds that a change may take to be durable before who asked for it is told to look later."""

REFRESH_TIMEOUT_S: Final = 10.0

UNAVAILABLE_AFTER_S: Final = 5.0
"""Seconds that a change may wait for the database before no further ones are taken."""

APPEND_RECORDS_MAX: Final = 1000
APPEND_BYTES_MAX: Final = 1024 * 1024

logger = get_logger()


class _Changes(NamedTuple):
    """What the log has had since it was read before."""

    version: int
    records: list[Record]
    is_everything: bool


@dataclass(eq=False)
class _Refresh:
    """Waits for a read that begins after it was asked for."""

    done: asyncio.Future[None]


class SharedDefinitions:
    """The metadata of a cluster, in one broker."""

    def __init__(self, log: SharedLog, auth: Auth, stores: int, cluster_name: str = "") -> None:
        """
        :param auth: the user and the virtual host that the first broker of the cluster adds.
        :param stores: how many the cluster has.
        :param cluster_name: what a cluster without a name is called from now on.
        """
        self.metadata: Final = Metadata()
        self.metadata.stores = stores
        self._log = log
        self._auth = auth
        self._cluster_name = cluster_name
        self._agreed = Metadata()
        """What the log says, without the changes that wait."""
        self._version = 0
        """Of the log, up to which it was applied."""
        self._pending: list[PendingChange] = []
        """The changes that are not in the log yet, in their order."""
        self._appending = 0
        """How many of them the thread appends."""
        self._changes = 0
        self._digest = ""
        """Of the definitions file that is being imported."""
        self._has_to_read = False
        self._refreshes: list[_Refresh] = []
        self._refreshing: list[_Refresh] = []
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._waiting_since = 0.0
        """When the oldest change that waits was made, or the last append succeeded."""
        self._error = ""
        self._is_busy = False
        self._stopped = False
        self._calls: BlockingCalls = NoCalls()

    @property
    def version(self) -> int:
        """Of the log, up to which this broker has what it says."""
        return self._version

    # --- starting and stopping ----------------------------------------------------------------

    def load(self) -> None:
        """Read everything, and add user and virtual host of the configuration if there never was
        anything: the first of several brokers that start at once does it. Blocks.

        :raises StorageError: if that cannot be read.
        """
        reading = self._log.read(0)
        while reading.version == 0:
            self._log.append(0, [stored_record(each) for each in first_entities(self._auth)])
            reading = self._log.read(0)
        records = read_records(reading)
        while missing := self._missing(records):
            self._log.append(reading.version, [stored_record(each) for each in missing])
            reading = self._log.read(0)
            records = read_records(reading)
        for record in records:
            self._agreed.restore(record)
            self.metadata.restore(record)
        self._version = reading.version

    def _missing(self, records: list[Record]) -> list[Entity]:
        """What every cluster has, and this one has not; as definitions that were copied from a
        directory."""
        name = self._cluster_name
        missing: list[Entity] = []
        if not any(isinstance(each, SessionKey) for each in records):
            missing.append(SessionKey.random())
        named = GlobalParameter(CLUSTER_NAME, name)
        found = [each for each in records if each.key == named.key and type(each) is type(named)]
        if name and not found:
            missing.append(named)
        elif name and found != [named]:
            logger.warning(
                "server.cluster_name is not the name of the cluster, which is set by"
                " rabbitmqctl set_cluster_name",
                configured=name,
            )
        return missing

    def start(self, calls: BlockingCalls | None = None) -> None:
        """Follow the log, and append changes, from now on; in the running event loop.

        :param calls: where the log is called; None for a thread.
        """
        self._loop = asyncio.get_running_loop()
        self._calls = calls or CallThread("leveret-definitions")
        self.metadata.persist(self._changed)
        self.metadata.refusal = self.why_unavailable
        self._log.watch(partial(self._calls.post, self._read_soon))

    async def stop(self, timeout_s: float = DURABLE_TIMEOUT_S) -> None:
        """Wait until all changes are durable, but not longer than so many seconds, and end."""
        try:
            await self.durable(timeout_s)
        except Unavailable as error:
            logger.warning("definitions that were not confirmed may be lost", reason=str(error))
        self.kill()
        await asyncio.to_thread(self._log.close)

    def kill(self) -> None:
        """Append nothing more, and wait for nothing."""
        self._stopped = True
        self._calls.stop()

    # --- for those who change something -------------------------------------------------------

    def why_unavailable(self) -> str:
        """Why changes are refused at the moment; empty while they are not."""
        if self._log.reason:
            return self._log.reason
        if self._error:
            return self._error
        waits_s = self._loop.time() - self._waiting_since
        if self._pending and waits_s > UNAVAILABLE_AFTER_S:
            return f"the database has not answered for {int(waits_s)} s"
        return ""

    async def durable(self, timeout_s: float = DURABLE_TIMEOUT_S) -> None:
        """Wait until every change that was made is in the log, or was dropped because of others.

        :raises Unavailable: if that takes longer. The changes that wait are made nevertheless, when
            the database is there again.
        """
        if not self._pending:
            return
        reached: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append((self._changes, reached))
        try:
            async with asyncio.timeout(timeout_s):
                await reached
        except TimeoutError:
            raise Unavailable(
                "the change is not durable yet, and is made when the database of the cluster"
                f" answers: {self.why_unavailable() or f'it has not within {timeout_s:g} s'}"
            ) from None

    async def refresh(self) -> None:
        """Read what the log has at this moment.

        :raises Unreachable: if the database does not answer in time.
        """
        refresh = _Refresh(self._loop.create_future())
        self._refreshes.append(refresh)
        self._read_soon()
        try:
            async with asyncio.timeout(REFRESH_TIMEOUT_S):
                await refresh.done
        except TimeoutError:
            raise Unreachable(
                f"the definitions of the cluster cannot be read: {self.why_unavailable()}"
            ) from None
        finally:
            if refresh in self._refreshes:
                # Nobody waits for it any more, and the database may be away for hours.
                self._refreshes.remove(refresh)

    def begin_import(self, digest: str) -> None:
        """What is changed from now on is of a definitions file, and is dropped when another broker
        has imported the same file."""
        self._digest = digest

    def end_import(self) -> None:
        """What is changed from now on is not of a definitions file."""
        self._digest = ""

    def _changed(self, record: Record) -> None:
        """A change is about to be made here."""
        if isinstance(record, EntityDeleted):
            kind, key = ENTITY_KINDS[record.entity], record.key
        else:
            kind, key = type(record), record.key
        if not self._pending:
            self._waiting_since = self._loop.time()
            # Not at once: what is changed in one go is appended together.
            self._loop.call_soon(self._step)
        self._changes += 1
        before = self.metadata.get(kind, *key)
        self._pending.append(PendingChange(self._changes, record, before, self._digest))

    # --- the log ------------------------------------------------------------------------------

    def _read_soon(self) -> None:
        self._has_to_read = True
        self._step()

    def _step(self) -> None:
        """Have the thread make the next call, if it makes none."""
        if self._is_busy or self._stopped:
            return
        if self._has_to_read:
            self._has_to_read = False
            self._refreshing += self._refreshes
            self._refreshes = []
            self._is_busy = True
            self._calls.submit(partial(self._read, self._version), self._was_read, self._failed)
        elif self._pending:
            records: list[SharedRecord] = []
            size = 0
            for change in self._pending[:APPEND_RECORDS_MAX]:
                records.append(stored_record(change.record))
                size += len(records[-1].data or b"")
                if size >= APPEND_BYTES_MAX:
                    break
            self._appending = len(records)
            self._is_busy = True
            append = partial(self._log.append, self._version, records)
            self._calls.submit(append, self._was_appended, self._failed)

    def _read(self, after: int) -> _Changes:
        """What has changed since a version; in the thread."""
        reading = self._log.read(after)
        return _Changes(reading.version, read_records(reading), reading.is_everything)

    def _failed(self, failure: StorageError) -> None:
        error = str(failure)
        if error != self._error:
            logger.error("the definitions of the cluster cannot be followed", error=error)
        self._error = error
        self._is_busy = False
        self._appending = 0
        self._refreshes = self._refreshing + self._refreshes
        self._refreshing = []
        self._has_to_read = True
        self._step()

    def _was_appended(self, version: int | None) -> None:
        self._is_busy = False
        if version is None:
            self._has_to_read = True
        else:
            for change in self._pending[: self._appending]:
                self._agreed.restore(change.record)
            del self._pending[: self._appending]
            self._version = version
            self._error = ""
            self._waiting_since = self._loop.time()
            self._tell_waiters()
        self._appending = 0
        self._step()

    def _was_read(self, changes: _Changes) -> None:
        self._is_busy = False
        self._version = changes.version
        if self._error:
            logger.warning("the definitions of the cluster are followed again")
            self._error = ""
        if changes.records or changes.is_everything:
            self._apply(changes.records, changes.is_everything)
        refreshing, self._refreshing = self._refreshing, []
        for refresh in refreshing:
            if not refresh.done.done():
                refresh.done.set_result(None)
        self._step()

    def _apply(self, records: list[Record], is_everything: bool) -> None:
        """Have the metadata be what the log says, with what waits on top."""
        touched = {_place(each) for each in records}
        touched.update(_place(each.record) for each in self._pending)
        if is_everything:
            touched.update(_place(each) for each in self.metadata.records())
            self._agreed = Metadata()
        for record in records:
            self._agreed.restore(record)
        self._pending, dropped = resolved(self._agreed, self._pending)
        touched.update(_place(each.record) for each in self._pending)
        for change in dropped:
            if not change.digest:
                kind, key = _place(change.record)
                logger.info(
                    "change dropped: others have changed what it depends on",
                    kind=kind,
                    key=list(key),
                )
        if any(change.digest for change in dropped):
            logger.info("definitions not imported: another broker has imported the same file")
        wanted = merged(self._agreed, self._pending)
        for record in _differences(self.metadata, wanted, touched):
            self.metadata.apply(record)
        self._tell_waiters()

    def _tell_waiters(self) -> None:
        durable = self._pending[0].number - 1 if self._pending else self._changes
        waiting, self._waiters = self._waiters, []
        for number, reached in waiting:
            if number > durable:
                self._waiters.append((number, reached))
            elif not reached.done():
                reached.set_result(None)


def first_entities(auth: Auth) -> list[Entity]:
    """What the first broker of a cluster adds: a user, a virtual host to which it has access, and
    the key that signs sessions."""
    user, vhost = auth.default_user, auth.default_vhost
    return [
        VirtualHostEntity(vhost, uid=uuid4().hex),
        User(user, hash_password(auth.default_pass.encode()), tags=(ADMINISTRATOR,)),
        Permission(user, vhost, ANY, ANY, ANY),
        SessionKey.random(),
    ]


def _place(record: Record) -> tuple[str, Key]:
    """The name of the kind, and the key."""
    if isinstance(record, EntityDeleted):
        return record.entity, record.key
    return kind_of(type(record)), record.key


def stored_record(record: Record) -> SharedRecord:
    kind, key = _place(record)
    # A name may be no UTF-8, and so no string in msgpack.
    parts = [each.encode("utf-8", "surrogateescape") for each in (kind, *key)]
    place = msgspec.msgpack.encode(parts)
    if isinstance(record, EntityDeleted):
        return SharedRecord(place, None)
    return SharedRecord(place, bytes([FORMAT_VERSION]) + encode(record))


def read_records(reading: Reading) -> list[Record]:
    """What was read.

    :raises UnknownFormat: if a newer program wrote any of it.
    :raises Damaged: if any of it is no record.
    """
    return [_record(each) for each in reading.records]


def _record(stored: SharedRecord) -> Record:
    if stored.data is None:
        parts = msgspec.msgpack.decode(stored.key, type=list[bytes])
        kind, *key = (each.decode("utf-8", "surrogateescape") for each in parts)
        return EntityDeleted(kind, tuple(key))
    record = decode(StoredDefinition(stored.data[1:], stored.data[0], "the shared log", 0))
    if not isinstance(record, Entity):
        raise Damaged(f"the shared log has a {record!r}")
    return record


def _differences(
    metadata: Metadata, wanted: Metadata, places: Iterable[tuple[str, Key]]
) -> list[Record]:
    """What leads from metadata to those that are wanted, in an order in which nothing refers to
    what is not there."""
    deleted: dict[str, list[Record]] = {kind: [] for kind in ENTITY_KINDS}
    put: dict[str, list[Record]] = {kind: [] for kind in ENTITY_KINDS}
    for kind, key in places:
        if kind not in ENTITY_KINDS:
            continue
        before = metadata.get(ENTITY_KINDS[kind], *key)
        after = wanted.get(ENTITY_KINDS[kind], *key)
        if after is not None and after != before:
            put[kind].append(after)
        elif after is None and before is not None:
            deleted[kind].append(EntityDeleted(kind, key))
    return [
        *(record for kind in reversed(ENTITY_KINDS) for record in deleted[kind]),
        *(record for kind in ENTITY_KINDS for record in put[kind]),
    ]
