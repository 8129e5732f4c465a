"""Which stores this broker takes, hands over and gives up: decisions only.

Whoever calls this says what has happened and what time it is, and carries out the actions that
`take_actions` returns. Nothing here has a clock, a thread or a connection. Times are seconds of one
monotonic clock; that of the other brokers and of the database do not matter.

Rules:

- A store is in one state (`store_state.py`), and changes it by its table only.
- A lease lasts from before the renewal was *sent*, less a margin. When that is over the store is
  given up, whether anything was heard of the database or not.
- What a view says of a store counts only if it was asked for after the last change of that store
  here: an older one does not know of it.
- Stores are handed over one after the other: the next one when the member that gets the last one
  serves it, or has not done so for a lease length. They are handed over only to a member that has
  been alive for a while (`assignment.py`). A broker that stops hands several over at once.
- A store that fails here is given back, for another member to take it: the reason may be this
  broker's. The time until it is tried here again is doubled with each failure, of the store, or of
  all stores while none is opened.
- Safety does not depend on any of this: whether an owner may write is said by the epoch.
"""

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
from leveret.cluster.assignment import assign, is_live
from leveret.cluster.store_state import WITH_DEADLINE, WITH_LEASE, State, StoreRecord
from leveret_storage.coordination import ClusterView, StoreLease
from leveret_storage.errors import Damaged, DataLost, LostEpoch, StorageError

MARGIN: Final = 0.1
"""Part of a lease by which it is given up early: clocks may differ in speed by so much."""

OPENING_MAX: Final = 8
"""Stores that are taken and recovered at once."""

LEAVING_MAX: Final = 4
"""Stores that a broker which stops hands over at once."""

OVERDUE_LEASES: Final = 3
"""Lease lengths after which a free store is taken by any member, if the one that is to take it has
not done so."""

BACK_OFF_S: Final = 1.0
"""Seconds until a store is taken again that has failed; doubled each time."""

BACK_OFF_MAX_S: Final = 60.0
"""What has not failed for so long after its back-off has failed once only."""

HAND_OVER_REASON: Final = "the virtual host moves to another broker of the cluster: reconnect"
DRAIN_REASON: Final = "the broker is drained: reconnect"

_NOBODY_SHOULD_TRY_AGAIN: Final = (DataLost, Damaged)
"""Not UnknownFormat: during an upgrade there are brokers that can read it."""


class Counts:
    """What has happened since the start."""

    def __init__(self) -> None:
        self.taken = 0
        """Stores taken whose owner had died or had given up."""
        self.received = 0
        """Stores taken that another broker had handed over."""
        self.handed_over = 0
        self.lost = 0
        """Stores given up: another broker had taken them, or their lease could not be renewed."""
        self.failed = 0
        """Stores that could not be opened, or that failed while they were owned."""


class Ownership:
    """The stores of one broker. Not for several threads at once."""

    def __init__(self, node: str, incarnation: str, stores: int, lease_s: float) -> None:
        """:param lease_s: length of a lease, in seconds."""
        self.node: Final = node
        self.incarnation: Final = incarnation
        self.counts: Final = Counts()
        self.used: frozenset[int] = frozenset()
        """The stores that have virtual hosts, as the metadata say."""
        self._lease_s: Final = lease_s
        self._stores: Final = [StoreRecord(number) for number in range(stores)]
        self._actions: list[Action] = []
        self._view: ClusterView | None = None
        self._asked_at = float("-inf")
        self._targets: dict[int, str] = {}
        self._is_leaving = False
        self._has_ended = False
        self._not_before = float("-inf")
        """When stores may be taken whose last owner was another member."""
        self._failures = 0
        """Back-offs one after the other in which no store was opened."""
        self._backs_off_until = float("-inf")
        self._was_unreachable = False
        self._handed_over: tuple[int, float] | None = None
        """The store that was handed over last, and until when it is waited for."""

    # --- what others ask --------------------------------------------------------------------

    @property
    def held(self) -> frozenset[int]:
        """The stores whose leases are to be renewed."""
        return frozenset(each.number for each in self._stores if each.state in WITH_LEASE)

    @property
    def has_left(self) -> bool:
        """Whether everything was handed over after `leave`."""
        return self._is_leaving and all(each.state is State.ELSEWHERE for each in self._stores)

    def state(self, store: int) -> State:
        return self._stores[store].state

    def reason(self, store: int) -> str:
        """Why a store was given up or refused last; empty if it was not."""
        return self._stores[store].reason

    def target(self, store: int) -> str:
        """The member that is to own a store, by the last view; empty if none can."""
        return self._targets.get(store, "")

    def next_deadline(self) -> float | None:
        """When `tick` has to be called at the latest."""
        return min(
            (each.deadline for each in self._stores if each.state in WITH_DEADLINE), default=None
        )

    def take_actions(self) -> list[Action]:
        """What is to be done; each action is returned once."""
        actions, self._actions = self._actions, []
        return actions

    def expects_change(self) -> bool:
        """Whether the next view is likely to differ, so that it pays to look soon."""
        if self._view is None or self._has_ended:
            return False
        for lease in self._view.leases:
            state = self._stores[lease.store].state
            target = self._targets.get(lease.store, "")
            if lease.refused or not target:
                continue
            if not is_live(lease) or not lease.is_open:
                return True
            if self.node in (target, lease.owner) and target != lease.owner:
                return True
            if state not in (State.ELSEWHERE, State.OWNED):
                return True
        return False

    # --- what has happened ------------------------------------------------------------------

    def seen(self, view: ClusterView, asked_at: float, renewed: frozenset[int], now: float) -> None:
        """There is a new view. `renewed` are the leases whose renewal was part of the question, and
        `asked_at` is the time before that was sent. Call `tick` when all views that are there are
        seen: a later one may say that a lease was renewed again."""
        if self._has_ended:
            return
        if self._was_unreachable:
            # Others could not renew their leases either, and are to be first at their stores.
            self._was_unreachable = False
            self._not_before = now + self._lease_s / 2
        self._view, self._asked_at = view, asked_at
        for lease in view.leases:
            if lease.store < len(self._stores):
                self._compare(self._stores[lease.store], lease, asked_at, renewed, now)
        self._targets = assign(view, round(self._lease_s * 1000), self.used)
        self._decide(now)

    def unreachable(self) -> None:
        """The database did not answer."""
        self._was_unreachable = True

    def tick(self, now: float) -> None:
        """Give up what was not renewed in time."""
        for store in self._stores:
            if store.state in WITH_DEADLINE and now >= store.deadline:
                self._lose(
                    store,
                    "the lease of the virtual host could not be renewed in time: reconnect",
                    now,
                )

    def taken(self, store: int, asked_at: float, now: float) -> None:
        """The lease is ours, which was asked for at a time."""
        each = self._stores[store]
        if self._has_ended:
            return
        each.deadline = self._deadline(asked_at)
        if now >= each.deadline:
            each.change(State.ELSEWHERE, now)
            return
        each.change(State.OPENING, now)
        self._actions.append(Open(store))

    def not_taken(self, store: int, now: float) -> None:
        """The lease is not ours, or whether it is is not known."""
        if not self._has_ended:
            self._stores[store].change(State.ELSEWHERE, now)

    def opened(self, store: int, epoch: int, now: float) -> None:
        """The store is served."""
        each = self._stores[store]
        if each.state is State.GIVING_UP:
            self._actions.append(GiveUp(store, each.reason))
            each.change(State.ELSEWHERE, now)
            return
        self._failures = 0
        each.reason = ""
        each.epoch = epoch
        if each.is_received:
            self.counts.received += 1
        else:
            self.counts.taken += 1
        each.change(State.OWNED, now)
        self._actions.append(NoteEpoch(store, epoch))
        self._decide(now)

    def not_opened(self, store: int, error: StorageError, now: float) -> None:
        """Opening the store failed, and nothing of it is left."""
        each = self._stores[store]
        if each.state is State.GIVING_UP:
            each.change(State.ELSEWHERE, now)
        else:
            self._give_back(each, error, now)

    def handed_over(self, store: int, now: float) -> None:
        """The store is closed, and all that was confirmed is durable."""
        each = self._stores[store]
        if each.state is State.GIVING_UP:
            self._has_closed(each, now)
            return
        self.counts.handed_over += 1
        self._handed_over = (store, now + self._lease_s)
        self._release(each, each.successor, now)

    def not_handed_over(self, store: int, error: StorageError, now: float) -> None:
        """Handing the store over failed."""
        each = self._stores[store]
        if each.state is State.GIVING_UP:
            self._has_closed(each, now)
            return
        self._actions.append(GiveUp(store, str(error)))
        self._give_back(each, error, now)

    def failed(self, store: int, error: StorageError, now: float) -> None:
        """The owner of a store cannot go on. What is said of an earlier time, when it was owned
        before, changes nothing while it is opened."""
        each = self._stores[store]
        if each.state not in (State.OWNED, State.HANDING_OVER):
            return
        self._actions.append(GiveUp(store, str(error)))
        if each.state is State.HANDING_OVER:
            each.error = error
            each.change(State.GIVING_UP, now)
        else:
            self._give_back(each, error, now)

    def _has_closed(self, store: StoreRecord, now: float) -> None:
        """The end of handing over a store that was given up meanwhile."""
        error, store.error = store.error, None
        if error is None:
            store.change(State.ELSEWHERE, now)
        else:
            self._give_back(store, error, now)

    def _give_back(self, store: StoreRecord, error: StorageError, now: float) -> None:
        """A lease that is ours is of no use: of a store that failed."""
        store.reason = str(error)
        if isinstance(error, _NOBODY_SHOULD_TRY_AGAIN):
            self.counts.failed += 1
            store.change(State.REFUSING, now)
            self._actions.append(Refuse(store.number, store.reason))
            return
        if isinstance(error, LostEpoch):
            self.counts.lost += 1
        else:
            self.counts.failed += 1
        self._back_off(store, now)
        self._release(store, "", now)

    def _back_off(self, store: StoreRecord, now: float) -> None:
        """Try no store that has failed too often."""
        if now >= store.not_before + BACK_OFF_MAX_S:
            store.failures = 0
        if now >= self._backs_off_until:
            self._failures += 1
        times = max(store.failures, self._failures - 1)
        store.failures += 1
        store.not_before = now + min(BACK_OFF_MAX_S, BACK_OFF_S * 2**times)
        self._backs_off_until = max(self._backs_off_until, store.not_before)

    def released(self, store: int, now: float) -> None:
        """The lease was given back, or whether it was is not known."""
        if not self._has_ended:
            self._stores[store].change(State.ELSEWHERE, now)
            self._decide(now)

    def refused(self, store: int, now: float) -> None:
        """It is noted that nobody may take the store."""
        each = self._stores[store]
        if each.state is State.REFUSING:
            each.change(State.ELSEWHERE, now)

    def leave(self, now: float) -> None:
        """Hand everything over, and take nothing more."""
        self._is_leaving = True
        self._decide(now)

    def end(self, reason: str, now: float) -> None:
        """Give everything up, for good."""
        for store in self._stores:
            if store.state in WITH_DEADLINE:
                self._lose(store, reason, now)
        self._has_ended = True

    # --- decisions --------------------------------------------------------------------------

    def _compare(
        self,
        store: StoreRecord,
        lease: StoreLease,
        asked_at: float,
        renewed: frozenset[int],
        now: float,
    ) -> None:
        """What a view says of a store, and what is known here."""
        if is_live(lease) or lease.refused:
            store.free_since = None
        elif store.free_since is None:
            store.free_since = now
        if asked_at <= store.changed_at and store.number not in renewed:
            return
        is_ours = lease.incarnation == self.incarnation
        if is_ours and store.number in renewed and store.state in WITH_LEASE:
            store.deadline = max(store.deadline, self._deadline(asked_at))
        if asked_at <= store.changed_at or is_ours:
            return
        if store.state in WITH_DEADLINE:
            owner = f"{lease.owner} has taken it" if lease.owner else "its lease was taken away"
            self._lose(store, owner, now)
        elif store.state is State.REFUSING and not lease.refused:
            store.change(State.ELSEWHERE, now)

    def _decide(self, now: float) -> None:
        """Take what is free and ours, and hand over what is another's."""
        if self._view is None or self._has_ended:
            return
        for lease in self._view.leases:
            if lease.store < len(self._stores):
                store = self._stores[lease.store]
                if self._asked_at > store.changed_at:
                    self._decide_store(store, lease, now)
        if self._is_leaving:
            while self._count_handed_over() < LEAVING_MAX and self._hand_one_over(now):
                continue
        elif not self._hands_over(now):
            self._hand_one_over(now)

    def _decide_store(self, store: StoreRecord, lease: StoreLease, now: float) -> None:
        is_ours = lease.incarnation == self.incarnation
        if store.state is State.REFUSING:
            # The last attempt was in vain.
            self._actions.append(Refuse(store.number, store.reason))
            store.changed_at = now
        elif store.state is State.OWNED and is_ours and not lease.is_open:
            self._actions.append(NoteEpoch(store.number, store.epoch))
        if store.state is not State.ELSEWHERE:
            return
        if self._may_take(store, lease, is_ours, now):
            store.is_received = not lease.owner and bool(lease.successor)
            store.change(State.TAKING, now)
            self._actions.append(Take(store.number))
        elif is_ours:
            # A release that did not arrive, or one that a failover of the database undid.
            self._release(store, "", now)

    def _may_take(self, store: StoreRecord, lease: StoreLease, is_ours: bool, now: float) -> bool:
        if self._is_leaving or lease.refused or now < store.not_before:
            return False
        if (is_live(lease) and not is_ours) or self._count_opening() >= OPENING_MAX:
            return False
        if not is_ours and lease.owner not in ("", self.node) and now < self._not_before:
            return False
        target = self._targets.get(store.number, "")
        if target == self.node:
            return True
        since = store.free_since
        overdue = since is not None and now - since > OVERDUE_LEASES * self._lease_s
        return overdue and self._is_candidate()

    def _is_candidate(self) -> bool:
        """Whether this broker may own stores."""
        assert self._view is not None
        return any(
            each.name == self.node and each.is_alive and not each.draining
            for each in self._view.members
        )

    def _count_opening(self) -> int:
        opening = (State.TAKING, State.OPENING)
        return sum(each.state in opening for each in self._stores)

    def _count_handed_over(self) -> int:
        """Stores that are on their way from here."""
        passing = (State.HANDING_OVER, State.RELEASING)
        return sum(each.state in passing for each in self._stores)

    def _hands_over(self, now: float) -> bool:
        """Whether a store is on its way to another member."""
        if self._count_handed_over():
            return True
        if self._handed_over is None:
            return False
        assert self._view is not None
        store, until = self._handed_over
        lease = self._view.leases[store]
        if now >= until or (is_live(lease) and lease.is_open and lease.owner != self.node):
            self._handed_over = None
        return self._handed_over is not None

    def _hand_one_over(self, now: float) -> bool:
        """Hand over the first store that is to have another owner; whether there is one."""
        for store in self._stores:
            target = self._targets.get(store.number, "")
            if self._is_leaving and target == self.node:
                target = ""
            is_stale = self._asked_at <= store.changed_at and not self._is_leaving
            if store.state is not State.OWNED or is_stale:
                continue
            if self._is_leaving or target not in ("", self.node):
                store.successor = target
                store.change(State.HANDING_OVER, now)
                reason = DRAIN_REASON if self._is_leaving else HAND_OVER_REASON
                self._actions.append(HandOver(store.number, reason))
                return True
        return False

    def _lose(self, store: StoreRecord, reason: str, now: float) -> None:
        """Give a store up whose lease is not ours any more."""
        self.counts.lost += 1
        store.reason = reason
        self._actions.append(GiveUp(store.number, reason))
        is_busy = store.state in (State.OPENING, State.HANDING_OVER)
        store.change(State.GIVING_UP if is_busy else State.ELSEWHERE, now)

    def _release(self, store: StoreRecord, successor: str, now: float) -> None:
        store.change(State.RELEASING, now)
        back_off_s = store.not_before - now
        if back_off_s > 0:
            self._actions.append(GiveBack(store.number, back_off_s, store.reason))
        else:
            self._actions.append(Release(store.number, successor))

    def _deadline(self, asked_at: float) -> float:
        return asked_at + self._lease_s * (1 - MARGIN)
