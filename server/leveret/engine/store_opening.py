"""Opening a store in turns: its virtual hosts, queues and messages are restored a few milliseconds
at a time, while the broker serves others.

Rules:
- Until it is whole nobody finds anything of it: its virtual hosts are apart, its timers do not
  ring, and nothing is written.
- What restoring leads to, the removal of bindings of a deleted queue for example, is done before
  the next definition is restored. So the work of the broker is set aside in a turn.

Deliberately elsewhere: what the steps are (`hosted_store.py`), and who takes the turns.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from leveret.engine.hosted_store import HostedStore, VirtualHostFactory
from leveret.engine.metadata.metadata import Metadata
from leveret.engine.values.clock import Clock
from leveret.engine.values.nested_timers import NestedTimers
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.timers import Timers
from leveret.engine.values.work import Work, WorkQueue
from leveret.engine.vhost import VirtualHost
from leveret_storage.format.entries import StoredMessage
from leveret_storage.segments.queue_journal import Run

TURN_NS: Final = 3_000_000
"""Nanoseconds of a turn: as much as others wait, several times in a second or two."""


class VirtualHostMaker(Protocol):
    """What makes virtual hosts (`Broker`)."""

    metadata: Metadata
    clock: Clock
    timers: Timers
    time_slice: TimeSlice

    def check_not_carried(self, name: str) -> None:
        """Check that no store carries a virtual host.

        :raises StorageError: if one does.
        """

    def make_vhost(self, name: str, timers: Timers) -> VirtualHost:
        """A virtual host that nobody finds."""

    def apply_metadata(self, vhosts: Iterable[VirtualHost]) -> Iterator[None]:
        """As of `VirtualHostFactory`."""


class VirtualHostsApart(VirtualHostFactory):
    """The virtual hosts of a store that is being opened: nobody finds them, and their timers do not
    ring."""

    def __init__(self, broker: VirtualHostMaker) -> None:
        self.timers: Final = NestedTimers(broker.timers, broker.clock, broker.time_slice)
        self.made: Final[list[VirtualHost]] = []
        """All of them, also those that were deleted."""
        self.metadata_version = -1
        """Of the metadata that were applied to them."""
        self._broker = broker

    def create_vhost(self, name: str) -> VirtualHost:
        self._broker.check_not_carried(name)
        vhost = self._broker.make_vhost(name, self.timers.inner)
        self.made.append(vhost)
        return vhost

    def apply_metadata(self, vhosts: Iterable[VirtualHost]) -> Iterator[None]:
        self.metadata_version = self._broker.metadata.version
        return self._broker.apply_metadata(vhosts)

    def drop_vhost(self, name: str) -> None:
        """Its contents are removed already."""


class StoreOpening:
    """The opening of one store."""

    def __init__(self, hosted: HostedStore, work: WorkQueue) -> None:
        """
        :param hosted: of which nothing is restored yet.
        :param work: that of its virtual hosts, and of others.
        """
        self.is_done = False
        """Whether everything is restored, and the store has begun to write."""
        self.wanted: Run | None = None
        """The run whose messages the next turn needs, if it needs any."""
        self._steps = hosted.steps
        self._work = work
        self._own: deque[Work] = deque()
        """What restoring has led to and is not done."""
        self._time_slice = TimeSlice()

    def turn(self, messages: list[StoredMessage] | None, length_ns: int) -> None:
        """Go on for so many nanoseconds; one step at least is done.

        :param messages: those of the run that is wanted, if one is.
        :raises StorageError: if anything cannot be restored.
        """
        others = self._work.set_aside()
        self._work.put_back(self._own)
        try:
            self._time_slice.begin(length_ns)
            self._go_on(messages)
        finally:
            self._own = self._work.set_aside()
            self._work.put_back(others)

    def _go_on(self, messages: list[StoredMessage] | None) -> None:
        try:
            self.wanted = self._steps.send(messages)
            while self.wanted is None and not self._time_slice.is_over_now():
                self.wanted = next(self._steps)
        except StopIteration:
            self.is_done = True
