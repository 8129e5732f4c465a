"""A log that the brokers of a cluster share, for what is the same in all of them.

It is versioned: each record is one version. A record has a key, and replaces what was there of that
key, so the log is as long as there are keys: who reads it gets what is, and not how it came about.
An append names the version that it is based on, and has no effect if there is a newer one: so
everybody has the same order, and nobody appends without having seen all before it.

The log knows bytes. What is in them is a matter of its user.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple


class SharedRecord(NamedTuple):
    """What is of a key."""

    key: bytes
    data: bytes | None
    """None: there is nothing of this key any more."""


class Reading(NamedTuple):
    """What was read."""

    version: int
    """Of the last record of the log; 0 if it never had any."""
    records: tuple[SharedRecord, ...]
    """The last one of each key that has changed, in the order of their versions."""
    is_everything: bool
    """Whether there is nothing of any other key, since the log does not know what has changed."""


class SharedLog(ABC):
    """One log. `read` and `append` block while its medium is away, and may be called by one thread
    at a time, which is not that of the event loop."""

    @property
    @abstractmethod
    def reason(self) -> str:
        """Why calls wait; empty while the medium answers."""

    @abstractmethod
    def read(self, after_version: int) -> Reading:
        """Everything that has changed since a version; 0 for everything there is.

        :raises DataLost: if the log is older than it was when this process read or appended last.
            A later call may find that it is not.
        :raises StorageError: if it was closed.
        """

    @abstractmethod
    def append(self, expected_version: int, records: Sequence[SharedRecord]) -> int | None:
        """Append records, all or none, durably, and once, however often a connection breaks.

        :returns: the version of the last one; None if the log has another version than expected:
            then it is unchanged.
        :raises DataLost: as `read`.
        :raises StorageError: if it was closed; the outcome is unknown.
        """

    @abstractmethod
    def watch(self, changed: Callable[[], None]) -> None:
        """Have `changed` called, from another thread, when the log may have changed: soon after
        each append of anybody, and when it may have been missed. It may not block."""

    @abstractmethod
    def close(self) -> None:
        """End calls and watching. The medium stays open."""
