"""The head of a store: who owns it, and the statements of its owner.

An owner is known by its epoch, and each set of its connections by a token, a random UUID. Taking a
store, and taking it again on new connections, hold the advisory lock of the store exclusively: so
they wait for what earlier ones have begun, and after them the fence refuses these. A session that
holds the shared lock and does not end (its client was stopped between statement and commit, say) is
terminated.
"""

import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from leveret_storage.errors import DataLost, LostEpoch
from leveret_storage.media.postgres.link import DatabaseError, Link, Parameter, number, text
from leveret_storage.media.postgres.schema import EMIT_MESSAGE, Schema

LOCK_WAIT_MS: Final = 300
"""Milliseconds that the sessions of an earlier owner have to end by themselves."""

TERMINATED_WAIT_S: Final = 10.0
"""Seconds until a takeover gives up, with what was terminated still there."""

_LOCK_NOT_AVAILABLE: Final = "55P03"


@dataclass(frozen=True)
class Fence:
    """What a statement of the owner proves: SQL for it is `fence`, its parameters `parameters`."""

    schema: Schema
    store: int
    epoch: int
    token: str
    durability: str
    """How a commit is synchronous: `replicated`, or `local` where PostgreSQL knows no standbys."""

    def call(self, first: int, durability: str) -> str:
        """The call of the fence in a statement whose parameters from `first` on are `keys`."""
        return (
            f"{self.schema.name}.fence(${first}::int, ${first + 1}::bigint, ${first + 2}::uuid,"
            f" '{durability}')"
        )

    @property
    def keys(self) -> tuple[Parameter, ...]:
        return (self.store, self.epoch, self.token)

    def check(self, link: Link) -> None:
        """Begin a transaction of the owner, committed synchronously.

        :raises DatabaseError: LV001 if the store has another owner.
        """
        link.execute(f"select {self.call(1, self.durability)}", self.keys)


@dataclass
class Ownership:
    """What a handle knows of the head that it owns."""

    epoch: int = 0
    """0: it owns nothing."""
    token: str = ""
    tokens: set[str] = field(default_factory=set)
    """All that it may have written, since the outcome of a commit can be unknown."""
    data: list[bytes] = field(default_factory=list)
    """What the head may hold: the last that is durable, and the one being written."""


def read_head(link: Link, schema: Schema, store: int) -> tuple[int, bytes]:
    """Epoch and data of a store's head; (0, b"") if it has none."""
    rows = link.execute(
        f"select epoch::bigint, data from {schema.name}.head where store = $1::int",
        (store,),
        binary=True,
    )
    if not rows:
        return 0, b""
    epoch, data = rows[0]
    assert epoch is not None
    assert data is not None
    return int.from_bytes(epoch, "big"), data


def take(
    link: Link, fence: Fence, expected_epoch: int, data: bytes, tokens: set[str], holder: str = ""
) -> None:
    """Make the epoch and the token of `fence` the owner's, if the epoch is the expected one.

    An earlier attempt with one of `tokens`, whose outcome is unknown, may have succeeded.

    :param holder: incarnation of the process that has to have the lease of the store; empty if it
        takes none. The lease may have been taken at another server, or long ago.
    :raises LostEpoch: if the head has another epoch, or another process has the lease; the head is
        unchanged.
    """
    schema, store = fence.schema, fence.store
    with link.transaction():
        _lock(link, fence)
        if holder and not _has_lease(link, fence, holder):
            raise LostEpoch(f"the lease of store {store} is not this broker's any more")
        epoch, token = _found(link, fence)
        if epoch != expected_epoch and token not in tokens:
            raise LostEpoch(f"the owner of store {store} has epoch {epoch}, not {expected_epoch}")
        link.execute(
            f"insert into {schema.name}.head as head values ($1::int, $2::bigint, $3::uuid, $4)"
            " on conflict (store) do update set epoch = excluded.epoch, token = excluded.token,"
            " data = excluded.data",
            (store, fence.epoch, fence.token, data),
        )
    make_durable(link, schema, fence.durability)


def take_again(link: Link, fence: Fence, owned: Ownership) -> None:
    """Make the token of `fence` that of the owner's new connections.

    :raises LostEpoch: if the store has another owner.
    :raises DataLost: if the head is older than one that was durable.
    """
    with link.transaction():
        _lock(link, fence)
        epoch, token = _found(link, fence)
        if epoch > owned.epoch or (epoch == owned.epoch and token not in owned.tokens):
            raise LostEpoch(f"the owner of store {fence.store} has epoch {epoch}")
        _, data = read_head(link, fence.schema, fence.store)
        if epoch < owned.epoch or data not in owned.data:
            raise DataLost(
                f"the head of store {fence.store} is older than the one that was confirmed: epoch"
                f" {epoch}, where {owned.epoch} was"
            )
        link.execute(
            f"update {fence.schema.name}.head set token = $2::uuid where store = $1::int",
            (fence.store, fence.token),
        )
    make_durable(link, fence.schema, fence.durability)


def replace_data(link: Link, fence: Fence, data: bytes) -> None:
    """Replace the data of the owner's head."""
    with owner_transaction(link, fence):
        link.execute(
            f"update {fence.schema.name}.head set data = $2 where store = $1::int",
            (fence.store, data),
        )


def remove_head(link: Link, fence: Fence, name: str) -> None:
    """Set the data of the head aside under a name, and remove it, whoever owns it."""
    schema, store = fence.schema, fence.store
    with link.transaction():
        _lock(link, fence)
        _, data = read_head(link, schema, store)
        set_aside(link, fence, name, data)
        link.execute(f"delete from {schema.name}.head where store = $1::int", (store,))
    make_durable(link, schema, fence.durability)


def set_aside(link: Link, fence: Fence, name: str, data: bytes) -> None:
    """Keep bytes under a name, in a transaction that is under way."""
    link.execute(
        f"insert into {fence.schema.name}.salvaged values ($1::int, $2::text, $3)"
        " on conflict (store, name) do update set data = excluded.data",
        (fence.store, name, data),
    )


def _found(link: Link, fence: Fence) -> tuple[int, str]:
    rows = link.execute(
        f"select epoch, token from {fence.schema.name}.head where store = $1::int", (fence.store,)
    )
    return (number(rows[0][0]), text(rows[0][1])) if rows else (0, "")


def _has_lease(link: Link, fence: Fence, holder: str) -> bool:
    rows = link.execute(
        f"select from {fence.schema.name}.lease where store = $1::int and incarnation = $2::text",
        (fence.store, holder),
    )
    return bool(rows)


def _lock(link: Link, fence: Fence) -> None:
    """Lock the store exclusively until the end of the transaction, which commits synchronously."""
    link.execute(f"select {fence.schema.name}.commit_as($1)", (fence.durability,))
    link.execute(f"set local lock_timeout = {LOCK_WAIT_MS}")
    deadline = time.monotonic() + TERMINATED_WAIT_S
    while True:
        link.execute("savepoint unlocked")
        try:
            link.execute(
                "select pg_advisory_xact_lock($1::int, $2::int)",
                (fence.schema.lock_class, fence.store),
            )
            return
        except DatabaseError as error:
            if error.state != _LOCK_NOT_AVAILABLE or time.monotonic() > deadline:
                raise
        link.execute("rollback to unlocked")
        _terminate_holders(link, fence)


def _terminate_holders(link: Link, fence: Fence) -> None:
    """End the sessions that hold the lock of the store. (Keys of locks are shown as unsigned.)"""
    link.execute(
        "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'"
        " and database = (select oid from pg_database where datname = current_database())"
        " and classid::bigint = $1::bigint and objid::bigint = $2::bigint and objsubid = 2"
        " and granted and pid <> pg_backend_pid()",
        (fence.schema.lock_class % 2**32, fence.store),
    )


@contextmanager
def owner_transaction(link: Link, fence: Fence) -> Generator[None, None, None]:
    """A transaction of the owner, durable at its end.

    :raises DatabaseError: LV001 if the store has another owner.
    """
    with link.transaction():
        fence.check(link)
        yield
    make_durable(link, fence.schema, fence.durability)


def make_durable(link: Link, schema: Schema, durability: str) -> None:
    """Repeat a small commit until no wait for standbys was cancelled since the last look."""
    while link.unreplicated:
        link.unreplicated = False
        link.execute(
            f"select {EMIT_MESSAGE} where {schema.name}.commit_as($1)",
            (durability,),
        )


def new_token() -> str:
    return str(uuid.uuid4())
