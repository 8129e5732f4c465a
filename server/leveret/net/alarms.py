"""Resource alarms: publishers are blocked while memory or disk is short, or the storage is away.

Source: RabbitMQ, "Memory and Disk Alarms". The reason has the words of RabbitMQ's
connection.blocked.
"""

import time
from collections.abc import Callable, Set
from enum import Enum
from typing import Protocol

from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work, WorkQueue


class Resource(Enum):
    """A resource that can be short; memory and disk in the order of the reason."""

    MEMORY = "memory"
    DISK = "disk"
    STORAGE = "storage"
    """What everything is persisted in, which is short while it cannot be reached."""


class Alarms:
    """The alarms that are set, and the reason made of them."""

    def __init__(
        self, changed: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`changed` is called with each new reason, and with "" when the last alarm is cleared.

        :param clock: seconds of a monotonic clock.
        """
        self._changed = changed
        self._clock = clock
        self._measured: set[Resource] = set()
        """The resources that are short."""
        self._held: set[Resource] = set()
        self._since: dict[Resource, float] = {}
        """When each alarm that is set was set."""
        self._seconds = dict.fromkeys(Resource, 0.0)
        """For how long each alarm was set before."""

    def set(self, resource: Resource, short: bool) -> None:
        """Set or clear the alarm of a resource, which was measured."""
        _put(self._measured, resource, short)
        self._update(resource)

    def hold(self, resource: Resource, held: bool) -> None:
        """Have the alarm of a resource set whatever is measured, or have it as measured again."""
        _put(self._held, resource, held)
        self._update(resource)

    def _update(self, resource: Resource) -> None:
        short = resource in self._measured or resource in self._held
        if short == self.is_set(resource):
            return
        if short:
            self._since[resource] = self._clock()
        else:
            self._seconds[resource] += self._clock() - self._since.pop(resource)
        self._changed(self._reason())

    def _reason(self) -> str:
        short = [each.value for each in (Resource.MEMORY, Resource.DISK) if self.is_set(each)]
        reasons = [f"low on {' & '.join(short)}"] if short else []
        if self.is_set(Resource.STORAGE):
            reasons.append("storage unreachable")
        return ", ".join(reasons)

    def is_set(self, resource: Resource) -> bool:
        """Whether the alarm of a resource is set."""
        return resource in self._since

    def seconds(self, resource: Resource) -> float:
        """For how long the alarm of a resource was set since the start, in seconds."""
        since = self._since.get(resource)
        return self._seconds[resource] + (0.0 if since is None else self._clock() - since)


def _put(resources: set[Resource], resource: Resource, present: bool) -> None:
    """Add a resource to a set, or remove it."""
    if present:
        resources.add(resource)
    else:
        resources.discard(resource)


class Alarmed(Protocol):
    """A connection, as an alarm sees it."""

    def alarm_changed(self) -> None:
        """Apply the alarm that there is, or that there is none."""


class AlarmPass(Work):
    """Tells all connections of an alarm that has begun or ended, in slices: ten thousand blocked
    publishers are as many log lines and frames."""

    def __init__(self, work: WorkQueue, connections: Set[Alarmed]) -> None:
        """
        :param connections: the live set, which changes as sockets open and close.
        """
        self._work = work
        self._connections = connections
        self._remaining: list[Alarmed] = []

    def begin(self) -> None:
        """Tell every open connection; also those that were told of the change before."""
        if not self._remaining and self._connections:
            self._work.add(self)
        self._remaining = list(self._connections)

    def run(self, time_slice: TimeSlice) -> bool:
        while self._remaining:
            connection = self._remaining.pop()
            if connection in self._connections:
                connection.alarm_changed()
            if time_slice.is_over_now():
                break
        return not self._remaining
