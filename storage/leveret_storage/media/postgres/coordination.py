"""Members and leases of a cluster, as rows of the database (`cluster_schema.py`).

- Calls are short, and end: each has a timeout, and never waits for a standby while it holds a lock,
  so a database without standbys loses nobody a lease.
- A change is committed asynchronously. An order of an operator, a refusal and the number of stores
  are then made durable by a small commit, on a second connection, so that they hold after a
  failover. For the rest that is not needed:
    a take       its store is then taken by the epoch, synchronously, which makes it durable, too
    a renewal    the row is still ours, and the next one renews it
    a release    the row is ours again, names no store that this process renews, and so ends; and
                 who sees it releases it again
    a member     announces itself with each renewal
- A statement whose answer was lost may arrive late. A release carries the number of the take that
  it ends, so it does not end a later one.
- The server is the one that the stores are on: if these have found a newer one (`timeline`), a
  connection to an older one is given up. From time to time all hosts are asked, too.
"""

import json
import time
from collections.abc import Callable, Collection
from threading import Lock
from typing import Final

from leveret_storage.coordination import (
    ClusterView,
    Coordination,
    FailedOpening,
    Glance,
    Member,
    NameTaken,
    StoreLease,
    Unreachable,
    Unseen,
)
from leveret_storage.errors import ReadFailed, UnsuitableMedium
from leveret_storage.media.postgres.connecting import connect_newest
from leveret_storage.media.postgres.link import (
    DatabaseError,
    Interrupt,
    Link,
    LinkBroken,
    Parameter,
    Row,
    number,
    text,
)
from leveret_storage.media.postgres.location import Location
from leveret_storage.media.postgres.schema import EMIT_MESSAGE

CALL_TIMEOUT_S: Final = 1.0
"""Seconds for a call, unless a third of a lease is less."""

ORDER_TIMEOUT_S: Final = 3.0
"""Seconds for an order of an operator, which waits for a standby."""

ASK_HOSTS_S: Final = 10.0
"""Seconds after which all hosts are asked whether there is a newer primary."""

_FREE: Final = "owner = '', incarnation = '', until = 'epoch', is_open = false"
"""What makes the lease of nobody."""

_ASYNCHRONOUS: Final = "select set_config('synchronous_commit', 'off', false)"


class _Line:
    """One connection to the newest primary, made again when it was lost. For any thread."""

    def __init__(self, location: Location, timeline: Callable[[], int]) -> None:
        self.timeout_s = CALL_TIMEOUT_S
        self.repeats = False
        self._location: Final = location
        self._newest: Final = timeline
        self._lock: Final = Lock()
        self._interrupt: Final = Interrupt()
        self._link: Link | None = None
        self._timeline = 0
        self._asked_at = 0.0
        self.connections = 0
        """How often it was made."""

    def execute(self, statement: str, parameters: tuple[Parameter, ...] = ()) -> list[Row]:
        """Run one statement, which is a transaction.

        A connection that was made for an earlier one may have been lost since: where `repeats`, the
        statement is run again on a new one, so twice has to be as good as once.

        :raises Unreachable: if there is no answer in time, or the database refuses.
        """
        deadline = time.monotonic() + self.timeout_s
        with self._lock:
            try:
                was_used = self._link is not None
                link = self._connected(deadline)
                try:
                    return self._run(link, statement, parameters, deadline)
                except LinkBroken:
                    if not (self.repeats and was_used):
                        raise
                    self._give_up()
                return self._run(self._connected(deadline), statement, parameters, deadline)
            except (LinkBroken, ReadFailed) as error:
                self._give_up()
                raise Unreachable(str(error)) from error
            except DatabaseError as error:
                self._give_up()
                raise Unreachable(f"{error} ({error.state})") from error

    def _run(
        self, link: Link, statement: str, parameters: tuple[Parameter, ...], deadline: float
    ) -> list[Row]:
        left_s = max(0.05, deadline - time.monotonic())
        rows = link.execute(statement, parameters, timeout_s=left_s)
        if link.unreplicated:
            raise LinkBroken("the wait for a standby was cancelled")
        return rows

    def _connected(self, deadline: float) -> Link:
        """A link to the newest server. From time to time all hosts are asked whether there is a
        newer one than that of the link."""
        now = time.monotonic()
        if self._link is not None and self._timeline < self._newest():
            self._give_up()
        if self._link is not None and now - self._asked_at < ASK_HOSTS_S:
            return self._link
        self._asked_at = now
        try:
            found = connect_newest(
                self._location,
                self._interrupt,
                max(self._timeline, self._newest()),
                timeout_s=max(0.05, deadline - now),
            )
        except LinkBroken:
            if self._link is None:
                raise
            return self._link
        if self._link is not None:
            if found.server.timeline == self._timeline:
                found.link.close()
                return self._link
            self._give_up()
        self._link, self._timeline = found.link, found.server.timeline
        self.connections += 1
        found.link.execute(_ASYNCHRONOUS, timeout_s=max(0.05, deadline - time.monotonic()))
        return found.link

    def _give_up(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def close(self) -> None:
        """End the call that is under way, and all later ones."""
        self._interrupt.set()
        with self._lock:
            self._give_up()


class PostgresCoordination(Coordination):
    """Coordination through a database, whose schema is there (`Database` makes it)."""

    def __init__(
        self, location: Location, durability: str, timeline: Callable[[], int] = lambda: 0
    ) -> None:
        """:param durability: of orders, as Database.durability says.
        :param timeline: of the newest server that the stores have found.
        """
        self._schema: Final = f'"{location.schema}"'
        self._durability: Final = durability
        self._calls: Final = _Line(location, timeline)
        self._orders: Final = _Line(location, timeline)
        self._orders.timeout_s = ORDER_TIMEOUT_S
        self._orders.repeats = True
        self._member = Member("", "", "", "", 0, 0, 0, False, False)
        self._lease_ms = 0
        self._shown_in = 0
        """The connection that has the lock of this process, by its number."""
        self._takes: dict[int, int] = {}
        """How often a store had been taken when this process took it."""

    # --- members ----------------------------------------------------------------------------

    def join(self, member: Member, stores: int, lease_ms: int) -> None:
        self._member, self._lease_ms = member, lease_ms
        self._calls.timeout_s = min(CALL_TIMEOUT_S, lease_ms / 3000)
        found = number(
            self._orders.execute(
                f"with made as (insert into {self._schema}.cluster_setting values"
                " ('stores', $1::bigint) on conflict do nothing returning value)"
                " select coalesce((select value from made),"
                f" (select value from {self._schema}.cluster_setting where name = 'stores'), 0)",
                (stores,),
            )[0][0]
        )
        if found != stores:
            if not found:
                raise Unreachable("another broker is founding the cluster")
            raise UnsuitableMedium(
                f"the cluster in this database has {found} stores, not {stores}:"
                f" set cluster.stores = {found}"
            )
        # The number of stores is made durable with the first of their rows.
        made = self._orders.execute(
            f"insert into {self._schema}.lease (store) select generate_series(0, $1::int - 1)"
            " on conflict do nothing returning store",
            (stores,),
        )
        if made:
            self._make_durable()
        self.renew(())

    def renew(self, stores: Collection[int]) -> ClusterView:
        member = self._member
        rows = self._calls.execute(
            f"select {self._schema}.renew($1::text, $2::text, $3::text, $4::text, $5::bigint,"
            " $6::int[])",
            (
                member.name,
                member.incarnation,
                member.address,
                member.version,
                self._lease_ms,
                f"{{{','.join(map(str, sorted(stores)))}}}",
            ),
        )
        if rows[0][0] is None:
            raise NameTaken(
                f"another process has the node name {member.name}, and is alive:"
                " give each broker of a cluster a name of its own (server.node_name)"
            )
        self._show()
        return _view(text(rows[0][0]))

    def _show(self) -> None:
        """Take the lock of this process, once in each connection. An earlier connection may hold it
        for a while."""
        connection = self._calls.connections
        if self._shown_in != connection:
            rows = self._calls.execute(
                f"update {self._schema}.member set is_shown ="
                f" pg_try_advisory_lock({self._schema}.member_lock(incarnation))"
                " where name = $1::text and incarnation = $2::text returning is_shown",
                (self._member.name, self._member.incarnation),
            )
            if rows and rows[0][0] == b"t":
                self._shown_in = connection

    def glance(self) -> Glance:
        rows = self._calls.execute(
            f"select incarnation, address from {self._schema}.member"
            " where is_shown and seen_at > clock_timestamp() - lease and incarnation <> $1::text"
            f" and {self._schema}.is_unseen(incarnation)"
            f" union all (select '', '' from {self._schema}.lease"
            " where incarnation = '' and refused = '' limit 1)",
            (self._member.incarnation,),
        )
        self._show()
        found = [Unseen(text(row[0]), text(row[1])) for row in rows]
        return Glance([each for each in found if each.incarnation], Unseen("", "") in found)

    def end_leases(self, incarnation: str) -> None:
        self._calls.execute(
            f"with ended as (update {self._schema}.member set seen_at = seen_at - lease"
            f" where incarnation = $1::text and is_shown and {self._schema}.is_unseen(incarnation)"
            f" returning 1) update {self._schema}.lease set until = 'epoch'"
            " where incarnation = $1::text and exists (select from ended)",
            (incarnation,),
        )

    def look(self) -> ClusterView:
        rows = self._calls.execute(f"select {self._schema}.cluster_view(clock_timestamp())")
        return _view(text(rows[0][0]))

    def agree(self, name: str, value: int) -> bool:
        table = f"{self._schema}.cluster_setting"
        self._orders.execute(
            f"insert into {table} values ($1::text, $2::bigint) on conflict (name) do update set"
            f" value = excluded.value where {table}.value <> excluded.value and not exists (select"
            f" from {self._schema}.member where seen_at > clock_timestamp() - lease)",
            (name, value),
        )
        rows = self._orders.execute(f"select value from {table} where name = $1::text", (name,))
        return number(rows[0][0]) == value

    def leave(self) -> None:
        self._calls.execute(
            f"update {self._schema}.lease set {_FREE}, successor = '' where incarnation = $1::text",
            (self._member.incarnation,),
        )
        self._calls.execute(
            f"delete from {self._schema}.member where name = $1::text and incarnation = $2::text",
            (self._member.name, self._member.incarnation),
        )

    def drain(self, member: str, draining: bool) -> bool:
        return self._order(
            "update {schema}.member set draining = $2::boolean where name = $1::text",
            (member, "true" if draining else "false"),
        )

    def forget(self, member: str) -> bool:
        return self._order(
            "delete from {schema}.member where name = $1::text"
            " and seen_at <= clock_timestamp() - lease",
            (member,),
        )

    # --- leases -----------------------------------------------------------------------------

    def try_take(self, store: int) -> bool:
        member = self._member
        # If the answer is lost, it is not known how often the store was taken.
        self._takes.pop(store, None)
        rows = self._calls.execute(
            f"update {self._schema}.lease set owner = $2::text, incarnation = $3::text,"
            " takes = takes + 1, is_open = false, successor = '',"
            " until = clock_timestamp() + $4::bigint * interval '1 millisecond'"
            " where store = $1::int and refused = ''"
            " and (incarnation in ('', $3::text) or until <= clock_timestamp())"
            f" and exists (select from {self._schema}.member"
            "   where name = $2::text and incarnation = $3::text) returning takes",
            (store, member.name, member.incarnation, self._lease_ms),
        )
        if rows:
            self._takes[store] = number(rows[0][0])
        return bool(rows)

    def note_epoch(self, store: int, epoch: int) -> None:
        self._calls.execute(
            f"with opened as (delete from {self._schema}.failed_opening"
            " where store = $1::int and incarnation = $2::text)"
            f" update {self._schema}.lease set epoch = $3::bigint, is_open = true"
            " where store = $1::int and incarnation = $2::text",
            (store, self._member.incarnation, epoch),
        )

    def release(self, store: int, successor: str = "") -> None:
        self._calls.execute(
            f"update {self._schema}.lease set {_FREE}, successor = $3::text"
            " where store = $1::int and incarnation = $2::text and takes <= $4::bigint",
            (store, self._member.incarnation, successor, self._takes.get(store, 2**62)),
        )

    def give_back(self, store: int, back_off_ms: int, reason: str) -> None:
        failed = f"{self._schema}.failed_opening"
        self._calls.execute(
            f"with given as (update {self._schema}.lease set {_FREE}, successor = ''"
            "   where store = $1::int and incarnation = $2::text and takes <= $3::bigint"
            "   returning 1),"
            # Of processes that are gone.
            f" obsolete as (delete from {failed} where incarnation <> $2::text and not exists ("
            f"   select from {self._schema}.member m where m.incarnation = {failed}.incarnation))"
            f" insert into {failed} select $1::int, $2::text, clock_timestamp(),"
            "   $4::bigint * interval '1 millisecond', $5::text from given"
            " on conflict (store, incarnation) do update set failed_at = excluded.failed_at,"
            "   back_off = excluded.back_off, reason = excluded.reason",
            (
                store,
                self._member.incarnation,
                self._takes.get(store, 2**62),
                back_off_ms,
                reason,
            ),
        )

    def refuse(self, store: int, reason: str) -> None:
        self._calls.execute(
            f"update {self._schema}.lease set {_FREE}, successor = '', refused = $3::text"
            " where store = $1::int and incarnation = $2::text",
            (store, self._member.incarnation, reason),
        )
        self._make_durable()

    def allow(self, store: int) -> None:
        self._order("update {schema}.lease set refused = '' where store = $1::int", (store,))

    def move(self, store: int, member: str) -> None:
        self._order(
            "with forgotten as (delete from {schema}.failed_opening where store = $1::int)"
            " update {schema}.lease set wanted = $2::text where store = $1::int",
            (store, member),
        )

    # --- durability -------------------------------------------------------------------------

    def _order(self, statement: str, parameters: tuple[Parameter, ...]) -> bool:
        """Carry out an order of an operator; whether there was such a row."""
        rows = self._orders.execute(
            statement.format(schema=self._schema) + " returning 1", parameters
        )
        if rows:
            self._make_durable()
        return bool(rows)

    def _make_durable(self) -> None:
        """Have a standby have what was committed before. No row is locked meanwhile."""
        self._orders.execute(
            f"select {EMIT_MESSAGE} where {self._schema}.commit_as($1)", (self._durability,)
        )

    def close(self) -> None:
        self._calls.close()
        self._orders.close()


def _view(encoded: str) -> ClusterView:
    decoded = json.loads(encoded)
    return ClusterView(
        tuple(Member(*each) for each in decoded["members"]),
        tuple(
            StoreLease._make((*lease, tuple(FailedOpening(*each) for each in failed)))
            for *lease, failed in decoded["leases"]
        ),
    )
