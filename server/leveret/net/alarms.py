"""Resource alarms: publishers are blocked while memory or disk is short.

Source: RabbitMQ, "Memory and Disk Alarms". The reason has the words of RabbitMQ's
connection.blocked.
"""

from collections.abc import Callable
from enum import Enum


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
