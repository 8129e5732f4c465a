"""The part that a broker takes in its cluster: it owns its share of the stores.

The decisions are in `ownership.py`, the calls of the database in a thread
(`coordination_thread.py`), and what is done with a store in the `StoreHost`. The agent is in the
event loop, and connects these.

- While the database is away the stores are kept until their leases end by this broker's clock; then
  they are given up. When it is back those that are free are taken.
- A broker whose name another process has taken gives everything up, and takes nothing more
  (`failure` says so): whoever runs it ends it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeAlias

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
from leveret.cluster.assignment import is_live, is_recent
from leveret.cluster.cluster_status import (
    ClusterCounts,
    ClusterStatus,
    FailedMember,
    StoreStatus,
)
from leveret.cluster.coordination_thread import (
    LOOK_INTERVAL_S,
    Answer,
    CoordinationThread,
    NotRenewed,
    Renewed,
    end_leases_of_killed,
)
from leveret.cluster.ownership import Ownership
from leveret.cluster.patience import call_patiently
from leveret.cluster.store_host import SHUT_OUT, SHUT_OUT_MAX_S, StoreHost
from leveret.cluster.store_state import State
from leveret.logging import get_logger
from leveret_storage.coordination import (
    ClusterView,
    Coordination,
    Member,
    NameTaken,
    StoreLease,
)
from leveret_storage.errors import MediumFailed, StorageError

JOIN_INTERVAL_S: Final = 0.2
DRAIN_TOLD_S: Final = 1.0
"""Seconds for which a stop waits until the others know of it."""

GIVE_UP_S: Final = 5.0
"""Seconds for which a stop waits for stores that were given up."""

NAME_TAKEN_LEASES: Final = 1.5
"""Lease lengths for which a start waits for a process of the same name that may have died."""

NotDone: TypeAlias = Callable[[StorageError, float], None]

logger = get_logger()


class Agent:
    """One broker in its cluster. For the event loop."""

    def __init__(
        self,
        coordination: Coordination,
        host: StoreHost,
        member: Member,
        stores: int,
        lease_s: float,
    ) -> None:
        """:param member: name, incarnation, address and version of this broker; the rest of it is
            not looked at.
        :param stores: how many there are in the cluster.
        :param lease_s: length of a lease, in seconds.
        """
        self.used_stores: Callable[[], frozenset[int]] = frozenset
        """Returns the stores that have virtual hosts."""
        self.failure: StorageError | None = None
        """Why this broker has left the cluster, if it had to."""
        self._coordination: Final = coordination
        self._host: Final = host
        self._member: Final = member
        self._stores: Final = stores
        self._lease_s: Final = lease_s
        self._ownership: Final = Ownership(member.name, member.incarnation, stores, lease_s)
        self._thread: Final = CoordinationThread(
            coordination, lease_s, self._deliver, self._on_view
        )
        self._results: Final[deque[Callable[[], None]]] = deque()
        self._watchers: Final[list[Callable[[], None]]] = []
        self._tasks: Final[set[asyncio.Task[None]]] = set()
        self._has_left: Final = asyncio.Event()
        self._looked: Final = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._view = ClusterView((), ())
        self._leases: dict[int, StoreLease] = {}
        self._addresses: dict[str, str] = {}
        self._processes: dict[str, str] = {}
        """The names of the members, by incarnation."""
        self._viewed_at = 0.0
        self._renewed_at = 0.0
        self._unreachable_at = 0.0
        self._reason = ""
        self._is_draining = False
        self._is_closed = False

    # --- start and stop ---------------------------------------------------------------------

    async def start(self) -> None:
        """Join the cluster, and take the share of this broker. Returns when the cluster was looked
        at; stores are opened later.

        :raises NameTaken: if another process of the same node name is alive.
        :raises UnsuitableMedium: if the cluster has another number of stores.
        :raises Unreachable: if the database does not answer.
        """
        self._loop = asyncio.get_running_loop()
        await self._join()
        self._thread.start()
        await self._looked.wait()

    async def _join(self) -> None:
        began = time.monotonic()
        lease_ms = round(self._lease_s * 1000)
        while True:
            try:
                await call_patiently(
                    partial(self._coordination.join, self._member, self._stores, lease_ms)
                )
                return
            except NameTaken:
                # The process of that name may have been killed: then its lease ends soon.
                if time.monotonic() - began > NAME_TAKEN_LEASES * self._lease_s:
                    raise
                address = self._member.address
                await asyncio.to_thread(end_leases_of_killed, self._coordination, address)
            await asyncio.sleep(JOIN_INTERVAL_S)

    async def drain_and_stop(self, timeout_s: float) -> None:
        """Hand all stores over to other members, and leave the cluster. What is not handed over in
        time is given up."""
        if self.failure is None:
            await self._tell_drain()
            try:
                await asyncio.wait_for(self._has_left.wait(), timeout_s)
            except TimeoutError:
                logger.warning("not all stores could be handed over in time")
        self._ownership.end("the broker is stopped", time.monotonic())
        self._act()
        self._thread.call(self._coordination.leave, _no_answer)
        self._thread.close()
        await asyncio.to_thread(self._thread.join)
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=GIVE_UP_S)

    def kill(self) -> None:
        """End without a word to the others, as a killed process does."""
        self._is_closed = True
        self._thread.close()
        if self._timer is not None:
            self._timer.cancel()

    async def _tell_drain(self) -> None:
        """Have the others know that this broker is to own nothing. If they do not, what is handed
        over is free for all of them."""
        drain = partial(self._coordination.drain, self.node, True)
        # An order waits for a standby, which a renewal may not.
        assert self._loop is not None
        told = self._loop.run_in_executor(None, _attempt, drain)
        await asyncio.wait([told], timeout=DRAIN_TOLD_S)
        self._is_draining = True
        self._thread.look_by(time.monotonic())

    # --- what others ask --------------------------------------------------------------------

    @property
    def node(self) -> str:
        """The name of this broker."""
        return self._member.name

    @property
    def is_cut_off(self) -> bool:
        """Whether nothing was heard of the cluster for the length of a lease."""
        return time.monotonic() - self._viewed_at > self._lease_s

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Have a function called in the event loop after each change of a store or a member."""
        self._watchers.append(changed)

    def unsubscribe(self, changed: Callable[[], None]) -> None:
        """Undo `subscribe`."""
        self._watchers.remove(changed)

    def store(self, store: int) -> StoreStatus:
        """What is known of a store."""
        ownership = self._ownership
        state = ownership.state(store)
        lease = self._leases.get(store)
        if lease is None:
            return StoreStatus(store, "", "", False, str(state), 0, 0, "", "", "")
        owner = lease.owner if is_live(lease) else ""
        is_ours = owner == self.node
        is_served = state is State.OWNED or (bool(owner) and not is_ours and lease.is_open)
        if state is State.OWNED:
            owner = self.node
        return StoreStatus(
            store=store,
            owner=owner,
            address=self._addresses.get(owner, ""),
            is_served=is_served,
            state=self._state_in_words(lease, state),
            epoch=lease.epoch,
            left_ms=lease.left_ms,
            target=ownership.target(store),
            wanted=lease.wanted,
            reason=lease.refused or ownership.reason(store),
            failed=tuple(
                FailedMember(self._processes[each.incarnation], each.reason)
                for each in lease.failed
                if each.incarnation in self._processes and is_recent(each)
            ),
        )

    def _state_in_words(self, lease: StoreLease, state: State) -> str:
        if state is not State.ELSEWHERE:
            return str(state)
        if lease.refused:
            return "refused"
        if not is_live(lease):
            return "free"
        return "owned" if lease.is_open else "opening"

    def view(self) -> ClusterStatus:
        """Everything that is known of the cluster."""
        now = time.monotonic()
        counts = self._ownership.counts
        return ClusterStatus(
            node=self.node,
            members=self._view.members,
            stores=tuple(self.store(number) for number in range(self._stores)),
            counts=ClusterCounts(
                counts.taken, counts.received, counts.handed_over, counts.lost, counts.failed
            ),
            is_reachable=not self._reason,
            reason=self._reason,
            view_age_s=now - self._viewed_at if self._viewed_at else -1.0,
            renewal_age_s=now - self._renewed_at if self._renewed_at else -1.0,
        )

    def store_failed(self, store: int, error: StorageError) -> None:
        """The owner of a store cannot go on: LostEpoch if another broker has taken it, DataLost if
        nobody should try again, any other error if a recovery may help. It is given up."""
        self._ownership.failed(store, error, time.monotonic())
        self._act()

    # --- results of the thread --------------------------------------------------------------

    def _deliver(self, result: Callable[[], None]) -> None:
        """Called in the thread. The results are in a queue of their own, so that the timer finds
        those that came during a long turn of the loop."""
        if self._is_closed:
            return
        self._results.append(result)
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._process)

    def _process(self) -> None:
        while self._results:
            self._results.popleft()()
        self._act()

    def _on_view(self, result: Renewed | NotRenewed) -> None:
        now = time.monotonic()
        if isinstance(result, NotRenewed):
            self._on_failure(result.error, now)
            return
        if self._reason and self.failure is None:
            logger.info("the cluster's database answers again")
            self._reason = ""
        self._viewed_at = result.asked_at
        if result.stores or not self._ownership.held:
            self._renewed_at = result.asked_at
        self._tell_of_members(result.view)
        self._view = result.view
        self._leases = {lease.store: lease for lease in result.view.leases}
        self._addresses = {member.name: member.address for member in result.view.members}
        self._processes = {each.incarnation: each.name for each in result.view.members}
        self._ownership.used = self.used_stores()
        self._ownership.seen(result.view, result.asked_at, result.stores, now)
        if min(self._host.shut_out_s(), now - self._unreachable_at) >= SHUT_OUT_MAX_S:
            self._give_back_all(now)
        if self._is_draining:
            self._ownership.leave(now)
        self._looked.set()
        for watcher in self._watchers:
            watcher()

    def _give_back_all(self, now: float) -> None:
        """The database lets in this thread and nothing else: others may serve the stores."""
        for store in range(self._stores):
            if self._ownership.state(store) is State.OPENING:
                self._host.give_up(store, SHUT_OUT)
            self._ownership.failed(store, MediumFailed(SHUT_OUT), now)

    def _tell_of_members(self, view: ClusterView) -> None:
        """Log which other members have died since the last view, or live again."""
        before = {each.name: each.is_alive for each in self._view.members}
        for each in view.members:
            was_alive = before.get(each.name)
            if each.name == self.node or was_alive is None or was_alive == each.is_alive:
                continue
            if each.is_alive:
                logger.info("node is up again", node=each.name)
            else:
                logger.warning("node is down: others take its stores", node=each.name)

    def _on_failure(self, error: StorageError, now: float) -> None:
        if isinstance(error, NameTaken):
            if self.failure is None:
                logger.error("another process has taken the name of this node", node=self.node)
                self.failure = error
            self._reason = str(error)
            self._ownership.end(str(error), now)
            self._thread.close()
            self._looked.set()
            return
        self._unreachable_at = now
        if not self._reason:
            logger.warning("the cluster's database does not answer", reason=str(error))
        self._reason = str(error)
        self._ownership.unreachable()
        if self._is_draining:
            self._ownership.leave(now)

    # --- actions ----------------------------------------------------------------------------

    def _act(self) -> None:
        """Carry out what the decisions ask for, and set the timer for the next deadline."""
        if self._is_closed:
            return
        ownership, thread = self._ownership, self._thread
        ownership.tick(time.monotonic())
        has_changed = False
        while actions := ownership.take_actions():
            has_changed = True
            for action in actions:
                self._carry_out(action)
        thread.held = ownership.held
        expects_change = ownership.expects_change()
        if expects_change and not thread.expects_change:
            thread.look_by(time.monotonic() + LOOK_INTERVAL_S)
        thread.expects_change = expects_change
        if ownership.has_left:
            self._has_left.set()
        self._set_timer()
        if has_changed:
            for watcher in self._watchers:
                watcher()

    def _carry_out(self, action: Action) -> None:
        call, coordination = self._thread.call, self._coordination
        store = action.store
        match action:
            case Take():
                call(partial(coordination.try_take, store), partial(self._take_answered, store))
            case NoteEpoch():
                call(partial(coordination.note_epoch, store, action.epoch), _no_answer)
            case Release():
                call(
                    partial(coordination.release, store, action.successor),
                    partial(self._release_answered, store),
                )
            case GiveBack():
                back_off_ms = round(action.back_off_s * 1000)
                call(
                    partial(coordination.give_back, store, back_off_ms, action.reason),
                    partial(self._release_answered, store),
                )
            case Refuse():
                logger.error("store refused", store=store, reason=action.reason)
                self._spawn(self._refuse(action), _left_to_next_view)
            case GiveUp():
                logger.warning("store given up", store=store, reason=action.reason)
                self._host.give_up(store, action.reason)
            case Open():
                self._spawn(self._open(store), partial(self._ownership.not_opened, store))
            case HandOver():
                not_done = partial(self._ownership.not_handed_over, store)
                self._spawn(self._hand_over(store, action.reason), not_done)

    def _take_answered(self, store: int, answer: Answer) -> None:
        now = time.monotonic()
        if answer.result is True:
            self._ownership.taken(store, answer.asked_at, now)
        else:
            self._ownership.not_taken(store, now)

    def _release_answered(self, store: int, answer: Answer) -> None:
        del answer  # one that did not arrive is seen in the next view
        self._ownership.released(store, time.monotonic())

    async def _refuse(self, action: Refuse) -> None:
        """Not in the thread that renews leases: a refusal waits for a standby."""
        refuse = partial(self._coordination.refuse, action.store, action.reason)
        error = await asyncio.to_thread(_attempt, refuse)
        if error is None:
            self._ownership.refused(action.store, time.monotonic())

    async def _open(self, store: int) -> None:
        try:
            epoch = await self._host.open(store)
        except StorageError as error:
            logger.warning("store not opened", store=store, reason=str(error))
            self._ownership.not_opened(store, error, time.monotonic())
        else:
            logger.info("store opened", store=store, epoch=epoch)
            self._ownership.opened(store, epoch, time.monotonic())

    async def _hand_over(self, store: int, reason: str) -> None:
        try:
            await self._host.hand_over(store, reason)
        except StorageError as error:
            logger.warning("store not handed over", store=store, reason=str(error))
            self._ownership.not_handed_over(store, error, time.monotonic())
        else:
            logger.info("store handed over", store=store)
            self._ownership.handed_over(store, time.monotonic())

    def _spawn(self, coroutine: Coroutine[Any, Any, None], not_done: NotDone) -> None:
        assert self._loop is not None
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(partial(self._has_ended, not_done))

    def _has_ended(self, not_done: NotDone, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or error is not None:
            # What is no StorageError is a defect: the store is not kept by it, and it is told.
            not_done(MediumFailed(f"internal error: {error!r}"), time.monotonic())
        self._act()
        if error is not None:
            raise error

    # --- time -------------------------------------------------------------------------------

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._ownership.next_deadline()
        if deadline is None or self._loop is None or self._is_closed:
            return
        left_s = max(0.0, deadline - time.monotonic())
        self._timer = self._loop.call_later(left_s, self._process)


def _attempt(call: Callable[[], object]) -> StorageError | None:
    """Make a call; the error with which it failed."""
    try:
        call()
    except StorageError as error:
        return error
    return None


def _left_to_next_view(error: StorageError, now: float) -> None:
    """What was not noted is noted after the next view."""
    del error, now


def _no_answer(answer: Answer) -> None:
    """What failed is seen in the next view."""
    del answer
