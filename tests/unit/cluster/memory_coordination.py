"""Coordination in memory, for agents in one process: the rows of the simulated database."""

import time
from collections.abc import Collection
from threading import Lock
from typing import Final

from leveret_storage.coordination import ClusterView, Coordination, Member, NameTaken
from leveret_storage.errors import StorageError
from tests.cluster.simulation import rows
from tests.cluster.simulation.rows import Change, Rows


class SharedRows:
    """What all members share; its clock is time.monotonic."""

    def __init__(self, stores: int) -> None:
        self.lock: Final = Lock()
        self.rows: Final = Rows(stores)
        self.refused: Final[dict[int, str]] = {}

    def change(self, change: Change) -> None:
        with self.lock:
            change(self.rows)

    def view(self) -> ClusterView:
        with self.lock:
            view = self.rows.view(time.monotonic())
        return view._replace(
            leases=tuple(
                each._replace(refused=self.refused.get(each.store, "")) for each in view.leases
            )
        )


class MemoryCoordination(Coordination):
    """The calls of one member."""

    def __init__(self, shared: SharedRows) -> None:
        self.error: StorageError | None = None
        """What every call raises, if it is set."""
        self._shared: Final = shared
        self._name = self._incarnation = ""
        self._lease_s = 0.0

    def join(self, member: Member, stores: int, lease_ms: int) -> None:
        self._name, self._incarnation = member.name, member.incarnation
        self._lease_s = lease_ms / 1000
        self.renew(())

    def renew(self, stores: Collection[int]) -> ClusterView:
        self._check()
        now = time.monotonic()
        known = self._shared.rows.members.get(self._name)
        if (
            known is not None
            and known.incarnation != self._incarnation
            and known.seen_at > now - self._lease_s
        ):
            raise NameTaken(f"another process has the node name {self._name}")
        self._shared.change(
            rows.renewal(self._name, self._incarnation, frozenset(stores), self._lease_s, now)
        )
        return self._shared.view()

    def look(self) -> ClusterView:
        self._check()
        return self._shared.view()

    def try_take(self, store: int) -> bool:
        self._check()
        now = time.monotonic()
        with self._shared.lock:
            found = self._shared.rows
            if store in self._shared.refused or not rows.may_take(
                found, store, self._incarnation, now
            ):
                return False
            rows.take(store, self._name, self._incarnation, now + self._lease_s)(found)
        return True

    def note_epoch(self, store: int, epoch: int) -> None:
        self._check()
        self._shared.change(rows.note_epoch(store, self._incarnation, epoch))

    def release(self, store: int, successor: str = "") -> None:
        self._check()
        self._shared.change(rows.release(store, self._incarnation, successor, float("inf")))

    def give_back(self, store: int, back_off_ms: int, reason: str) -> None:
        self._check()
        self._shared.change(
            rows.give_back(
                store,
                self._incarnation,
                float("inf"),
                back_off_ms / 1000,
                reason,
                time.monotonic(),
            )
        )

    def refuse(self, store: int, reason: str) -> None:
        self.release(store)
        self._shared.refused[store] = reason

    def allow(self, store: int) -> None:
        self._shared.refused.pop(store, None)

    def move(self, store: int, member: str) -> None:
        self._shared.rows.leases[store].wanted = member

    def drain(self, member: str, draining: bool) -> bool:
        self._check()
        self._shared.rows.members[member].draining = draining
        return True

    def forget(self, member: str) -> bool:
        return self._shared.rows.members.pop(member, None) is not None

    def leave(self) -> None:
        self._check()
        self._shared.change(rows.leave(self._name, self._incarnation))

    def close(self) -> None: ...

    def _check(self) -> None:
        if self.error is not None:
            raise self.error
