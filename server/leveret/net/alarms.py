"""Resource alarms: publishers are blocked while memory or disk is short.

Source: RabbitMQ, "Memory and Disk Alarms". The reason has the words of RabbitMQ's
connection.blocked.
"""

from collections.abc import Callable, Set
from enum import Enum
from typing import Protocol

from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work, WorkQueue


class Resource(Enum):
    """A resource that can be short, in the order of the reason."""

    MEMORY = "memory"
    DISK = "disk"


class Alarms:
    """The alarms that are set, and the reason made of them."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        """`changed` is called with each new reason, and with "" when the last alarm is cleared."""
        self._changed = changed
        self._short: set[Resource] = set()

    def set(self, resource: Resource, short: bool) -> None:
        """Set or clear the alarm of a resource."""
        if short == (resource in self._short):
            return
        self._short ^= {resource}
        names = [each.value for each in Resource if each in self._short]
        self._changed(f"low on {' & '.join(names)}" if names else "")


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
