"""Alarms: what the broker is short of, for which publishers wait.

(RabbitMQ: Memory and Disk Alarms. The words are those of its connection.blocked.)
"""

from collections.abc import Callable
from enum import Enum


class Resource(Enum):
    """What can be short, in the order in which it is told."""

    MEMORY = "memory"
    DISK = "disk"


class Alarms:
    """The resources that are short, and one reason made of them."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        """`changed` is told the reason when it changes; "" when nothing is short any more."""
        self._changed = changed
        self._short: set[Resource] = set()

    def set(self, resource: Resource, short: bool) -> None:
        """Say whether a resource is short."""
        if short == (resource in self._short):
            return
        self._short ^= {resource}
        names = [each.value for each in Resource if each in self._short]
        self._changed(f"low on {' & '.join(names)}" if names else "")
