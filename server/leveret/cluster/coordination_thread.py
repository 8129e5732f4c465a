"""The thread that asks the database who owns what, so that the event loop does not wait for it.

It renews the leases at intervals, whatever the loop does: a long turn of the loop loses no lease.
It ends renewing when the loop has not answered for LOOP_SILENCE_MAX_S or three lease lengths: a
broker that serves nobody is not to keep stores from those that would.

Calls are carried out one after the other, in order, renewals that are due before the others. So
results come in the order of their questions.

A member whose process was killed is found before its lease ends: it has no connection to the
database, and its address refuses one. Only both together say so, for a connection may be lost. The
leases of such a member are ended, which concerns liveness only, as every decision here. Stores
that were given back are found in the same glance.
"""

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final, NamedTuple, TypeAlias

from leveret_storage.coordination import ClusterView, Coordination, Unseen
from leveret_storage.errors import StorageError

RENEWALS_PER_LEASE: Final = 3
LOOK_INTERVAL_S: Final = 0.05
"""Seconds between two looks while something is about to change."""

GLANCE_INTERVAL_S: Final = 0.1
"""Seconds between two glances, at members that were killed and stores that were given back."""

KNOCK_TIMEOUT_S: Final = 0.5
KNOCK_INTERVAL_S: Final = 1.0
"""Seconds until a member that has answered is asked again."""

LOOP_SILENCE_MAX_S: Final = 10.0
"""Seconds for which leases are renewed though the event loop does not answer."""


class Renewed(NamedTuple):
    """The result of a renewal, or of a look, which renews nothing."""

    view: ClusterView
    asked_at: float
    """By time.monotonic, before the question was sent."""
    stores: frozenset[int]


class NotRenewed(NamedTuple):
    """A renewal or a look failed."""

    error: StorageError


class Answer(NamedTuple):
    """The result of another call."""

    result: bool | StorageError | None
    asked_at: float


Call: TypeAlias = Callable[[], bool | None]
Deliver: TypeAlias = Callable[[Callable[[], None]], None]


class CoordinationThread:
    """Calls of a `Coordination`. Everything but `_run` and what it calls is for the event loop."""

    def __init__(
        self,
        coordination: Coordination,
        lease_s: float,
        deliver: Deliver,
        on_view: Callable[[Renewed | NotRenewed], None],
    ) -> None:
        """:param deliver: has a function called in the event loop; called in the thread."""
        self.held: frozenset[int] = frozenset()
        """The leases that are to be renewed; replaced as a whole."""
        self.expects_change = False
        """Whether to look often."""
        self._coordination: Final = coordination
        self._deliver: Final = deliver
        self._on_view: Final = on_view
        self._interval_s: Final = lease_s / RENEWALS_PER_LEASE
        self._silence_max_s: Final = max(LOOP_SILENCE_MAX_S, 3 * lease_s)
        self._loop_asked_at: float | None = None
        """Since when the event loop has not answered; None if it has."""
        self._renew_at = 0.0
        self._look_at = float("inf")
        self._glance_at = float("inf")
        self._knock_at: dict[str, float] = {}
        """When members that have no connection to the database may be asked, by incarnation."""
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._is_closed = False
        self._thread: Final = Thread(target=self._run, name="leveret-cluster", daemon=True)

    def start(self) -> None:
        """Renew at once, and then at intervals."""
        self._thread.start()

    def call(self, call: Call, on_answer: Callable[[Answer], None]) -> None:
        """Have a call be made; its result, or its StorageError, is delivered to the loop."""
        self._jobs.put(lambda: self._make(call, on_answer))

    def look_by(self, at: float) -> None:
        """Look at that time of time.monotonic at the latest."""
        self._jobs.put(lambda: self._note_look(at))

    def close(self) -> None:
        """Renew no more. What was to be called before is called first."""
        self._jobs.put(self._end)

    def join(self) -> None:
        """Wait for the end of the thread. Blocks: not for the event loop."""
        self._thread.join()

    # --- in the thread ----------------------------------------------------------------------

    def _run(self) -> None:
        while not self._is_closed:
            if time.monotonic() >= self._renew_at:
                self._renew()
            elif time.monotonic() >= self._look_at:
                self._look()
            elif time.monotonic() >= self._glance_at:
                self._glance()
            if self.expects_change:
                self._look_at = min(self._look_at, time.monotonic() + LOOK_INTERVAL_S)
            wait_s = min(self._renew_at, self._look_at, self._glance_at) - time.monotonic()
            try:
                job = self._jobs.get(timeout=max(0.0, wait_s))
            except Empty:
                continue
            job()

    def _make(self, call: Call, on_answer: Callable[[Answer], None]) -> None:
        asked_at = time.monotonic()
        result: bool | StorageError | None
        try:
            result = call()
        except StorageError as error:
            result = error
        answer = Answer(result, asked_at)
        self._deliver(lambda: on_answer(answer))

    def _note_look(self, at: float) -> None:
        self._look_at = min(self._look_at, at)

    def _end(self) -> None:
        self._is_closed = True

    def _renew(self) -> None:
        asked_at = time.monotonic()
        self._renew_at = asked_at + self._interval_s
        self._look_at = float("inf")
        if self._loop_asked_at is None:
            self._loop_asked_at = asked_at
            self._deliver(self._loop_answers)
        if self._loop_is_silent(asked_at):
            return
        held = self.held
        self._ask(lambda: Renewed(self._coordination.renew(held), asked_at, held))

    def _look(self) -> None:
        asked_at = time.monotonic()
        self._look_at = float("inf")
        if self._loop_is_silent(asked_at):
            return
        self._ask(lambda: Renewed(self._coordination.look(), asked_at, frozenset()))

    def _ask(self, question: Callable[[], Renewed]) -> None:
        result: Renewed | NotRenewed
        try:
            result = question()
            self._plan_glance(result.view)
        except StorageError as error:
            result = NotRenewed(error)
            self._glance_at = float("inf")
        self._deliver(lambda: self._on_view(result))

    # --- what cannot wait for the next renewal ----------------------------------------------

    def _plan_glance(self, view: ClusterView) -> None:
        """Glance while there are others."""
        alive = {each.incarnation for each in view.members if each.is_alive}
        self._knock_at = {each: at for each, at in self._knock_at.items() if each in alive}
        if len(alive) < 2:
            self._glance_at = float("inf")
        else:
            self._glance_at = min(self._glance_at, time.monotonic() + GLANCE_INTERVAL_S)

    def _glance(self) -> None:
        now = time.monotonic()
        self._glance_at = now + GLANCE_INTERVAL_S
        try:
            unseen, has_free = self._coordination.glance()
        except StorageError:
            # The next renewal tells that the database does not answer, and plans again.
            self._glance_at = float("inf")
            return
        for each in unseen:
            if each.address and now >= self._knock_at.get(each.incarnation, 0.0):
                self._knock_at[each.incarnation] = now + KNOCK_INTERVAL_S
                # A name that is not resolved is not to delay a renewal.
                Thread(target=self._knock, args=(each,), name="leveret-knock", daemon=True).start()
        if has_free and not self.expects_change:
            self._look()

    def _knock(self, member: Unseen) -> None:
        if refuses(member.address):
            self._jobs.put(lambda: self._end_leases(member.incarnation))

    def _end_leases(self, incarnation: str) -> None:
        try:
            self._coordination.end_leases(incarnation)
        except StorageError:
            return  # they end by themselves
        self._look()

    def _loop_answers(self) -> None:
        """Called in the event loop."""
        self._loop_asked_at = None

    def _loop_is_silent(self, now: float) -> bool:
        since = self._loop_asked_at
        return since is not None and now - since > self._silence_max_s


def end_leases_of_killed(coordination: Coordination, own_address: str) -> None:
    """End the leases of members that were killed. After the loss of all brokers nobody else does,
    and a lease may be long. Blocks.

    :param own_address: where this process listens, so that no other one does.
    """
    with suppress(StorageError):
        for each in coordination.glance().unseen:
            if each.address and (each.address == own_address or refuses(each.address)):
                coordination.end_leases(each.incarnation)


def refuses(address: str) -> bool:
    """Whether the machine of an address answers, and nobody listens there."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_TIMEOUT_S).close()
    except ConnectionRefusedError:
        return True
    except (OSError, ValueError):
        return False
    return False
