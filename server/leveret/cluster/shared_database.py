"""What the brokers of a cluster share, behind interfaces that know no database.

Only opening it imports the client library, which not every installation has.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from leveret.config import Config
from leveret_storage.coordination import Coordination
from leveret_storage.media.locations import client_library
from leveret_storage.medium import Medium
from leveret_storage.shared_log import SharedLog


class Report(Protocol):
    """What was found of a database, as operators see it. Its text is one line."""

    @property
    def server(self) -> str:
        """Its primary, as HOST:PORT."""

    @property
    def version(self) -> str:
        """Of PostgreSQL."""

    @property
    def timeline(self) -> int:
        """It grows with each failover."""

    @property
    def system(self) -> str:
        """The identifier of the database system."""

    @property
    def tls(self) -> bool:
        """Whether the connection to it is encrypted."""

    @property
    def standby_names(self) -> str:
        """Its `synchronous_standby_names`."""

    @property
    def replicas(self) -> int | None:
        """Standbys that had what was committed; None where that was not measured."""


class Standby(NamedTuple):
    """A standby, as the primary lists it."""

    name: str
    address: str
    """Empty on the primary's machine."""
    state: str
    """`streaming` of one that follows; empty if the role may not see it (pg_monitor)."""
    sync_state: str
    """`sync` or `quorum` if commits may wait for it."""
    behind_bytes: int
    """Of the write-ahead log that it has not flushed; -1 if unknown."""
    silent_ms: int
    """Since its last reply; -1 if unknown."""


@dataclass(frozen=True)
class SharedDatabase:
    """A database that was opened and checked."""

    coordination: Coordination
    definitions: SharedLog
    open_medium: Callable[[str, int], Medium]
    """The medium of a store, not taken, by the incarnation of a process and the number of the
    store: without the lease the process cannot take it."""
    watch: Callable[[Callable[[str], None]], None]
    """As `Medium.watch`, for all stores."""
    schema: str
    hosts: tuple[str, ...]
    """HOST:PORT of each server that may be the primary."""
    now_ms: Callable[[], int]
    """The time of the database, in milliseconds since the epoch. Waits for it."""
    report: Callable[[], Report | None]
    """What was found at the last connect; None while it is away."""
    shut_out_s: Callable[[], float]
    """Seconds for which it has let in no connection for stores; 0 if it has."""
    standbys: Callable[[], list[Standby]]
    """The standbys at this moment. Waits for the database."""
    close: Callable[[], None]


def open_shared_database(config: Config) -> SharedDatabase:
    """Connect to the database that `storage.data_dir` names, and check what is relied on.

    :raises UnknownMedium: if it names none, or the client library is missing.
    :raises StorageError: as `Database` does.
    """
    with client_library():
        from leveret_storage.media.postgres import (
            coordination,
            database,
            medium,
            shared_log,
            standbys,
        )
        from leveret_storage.media.postgres.location import parse_location
    storage = config.storage
    location = parse_location(
        storage.data_dir,
        password=storage.password,
        replicas_min=storage.replicas_min,
        provider=storage.replicas == "provider",
    )
    opened = database.Database(location)
    members = coordination.PostgresCoordination(
        location, opened.durability, lambda: opened.timeline
    )

    def close() -> None:
        members.close()
        opened.close()

    return SharedDatabase(
        coordination=members,
        definitions=shared_log.PostgresSharedLog(opened),
        open_medium=lambda holder, store: medium.PostgresMedium(opened, store, holder=holder),
        watch=opened.watch,
        schema=location.schema,
        hosts=tuple(":".join(filter(None, each)) for each in location.hosts),
        now_ms=opened.now_ms,
        report=lambda: opened.report,
        shut_out_s=lambda: opened.shut_out_s,
        standbys=lambda: [Standby(*each) for each in standbys.find_standbys(opened)],
        close=close,
    )
