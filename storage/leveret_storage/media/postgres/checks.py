"""What Leveret relies on in a database, checked after each connect.

Nothing here is taken from what a server says of its replicas: a small commit is made, and a standby
counts when it has flushed it (`flush_lsn`). One that was lost is listed as streaming for a while.
"""

import re
import time
from dataclasses import dataclass
from typing import Final

from leveret_storage.errors import ReplicasAway, UnsuitableMedium
from leveret_storage.media.postgres.connecting import Server
from leveret_storage.media.postgres.link import DatabaseError, Link, number, text
from leveret_storage.media.postgres.location import Location

VERSION_NUMBER_MIN: Final = 150000
PROBE_S: Final = 2.0
"""Seconds that standbys have to flush a small commit."""

PROBE_INTERVAL_S: Final = 0.02

_POSTGRESQL: Final = re.compile(r"PostgreSQL \d+(?:\.\d+)?(?:beta\d+|rc\d+|devel)?(?: \(.*\))? on ")
_OTHERS: Final = (
    "cockroach",
    "yugabyte",
    "-yb-",
    "redshift",
    "greenplum",
    "opengauss",
    "gaussdb",
    "cloudberry",
    "polardb",
    "materialize",
    "cratedb",
    "questdb",
    "risingwave",
)
_NAMES: Final = re.compile(r"\s*(?:(any|first)\s+)?(\d+)\s*\(.*\)\s*", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Report:
    """What was found, for operators. Its text is one line."""

    server: str
    version: str
    timeline: int
    system: str
    """The identifier of the database system: its replicas have the same."""
    tls: bool
    standby_names: str
    replicas: int | None
    """Standbys that had flushed what was committed; None where it was not measured."""

    def __str__(self) -> str:
        replicas = (
            "replicated by its provider"
            if self.replicas is None
            else (
                f"at least {self.replicas}"
                f" {'standby has' if self.replicas == 1 else 'standbys have'} what was committed"
                f" (synchronous_standby_names = '{self.standby_names}')"
            )
        )
        tls = "with TLS" if self.tls else "without TLS"
        return (
            f"PostgreSQL {self.version} at {self.server} {tls}, timeline {self.timeline},"
            f" system {self.system}: {replicas}"
        )


def check(link: Link, location: Location, server: Server, system: str = "") -> Report:
    """Check a server that accepts writes, and measure its replicas.

    :param system: the identifier that it has to have, if one was seen before.
    :raises UnsuitableMedium: if Leveret cannot rely on it; the text says what to change.
    """
    version = check_product(server)
    if number(link.execute("select pg_backend_pid()")[0][0]) != link.connection.backend_pid:
        raise UnsuitableMedium(
            f"{server}: a connection pooler is in between; locks, notices and the order of"
            " commits need a direct connection"
        )
    settings = _settings(link)
    for name in ("fsync", "full_page_writes"):
        if settings[name] != "on":
            raise UnsuitableMedium(
                f"{server}: {name} is {settings[name]}; confirmed data need it on"
            )
    found = _system(link)
    if system not in ("", found):
        raise UnsuitableMedium(f"{server}: another database system ({found}, not {system})")
    replicas = None
    if not location.replicated_by_provider:
        replicas = _check_replicas(link, location, server, settings["synchronous_standby_names"])
    return Report(
        server=str(server),
        version=version,
        timeline=server.timeline,
        system=found,
        tls=bool(link.connection.ssl_in_use),
        standby_names=settings["synchronous_standby_names"],
        replicas=replicas,
    )


def check_product(server: Server) -> str:
    """The version of PostgreSQL.

    :raises UnsuitableMedium: if it is too old, or something else that speaks its protocol.
    """
    lowered = server.version.lower()
    if _POSTGRESQL.match(server.version) is None or any(name in lowered for name in _OTHERS):
        raise UnsuitableMedium(
            f"{server}: not PostgreSQL, but {server.version[:60]!r}, whose advisory locks may do"
            " nothing"
        )
    version = server.version.split()[1]
    if server.version_number < VERSION_NUMBER_MIN:
        raise UnsuitableMedium(f"{server}: PostgreSQL {version}; 15 or newer is needed")
    return version


def _settings(link: Link) -> dict[str, str]:
    rows = link.execute(
        "select name, current_setting(name) from unnest(array['fsync', 'full_page_writes',"
        " 'synchronous_standby_names']) as name"
    )
    return {text(name): text(value) for name, value in rows}


def _system(link: Link) -> str:
    """The identifier of the database system; empty where the role may not read it."""
    try:
        return text(link.execute("select system_identifier from pg_control_system()")[0][0])
    except DatabaseError:
        return ""


def synchronous_standbys(names: str) -> int:
    """How many standbys a commit waits for, by synchronous_standby_names."""
    if not names.strip():
        return 0
    match = _NAMES.fullmatch(names)
    return int(match[2]) if match else 1


def _check_replicas(link: Link, location: Location, server: Server, names: str) -> int:
    wanted = location.replicas_min
    if synchronous_standbys(names) < wanted:
        raise UnsuitableMedium(
            f"{server}: synchronous_standby_names is '{names}', so a commit waits for"
            f" {synchronous_standbys(names)} standbys; storage.replicas_min is {wanted}"
        )
    if wanted and link.execute("select pg_has_role('pg_monitor', 'usage')")[0][0] != b"t":
        raise UnsuitableMedium(
            f"{server}: the role may not read what standbys have flushed: grant pg_monitor to it"
        )
    replicas = measure_replicas(link, wanted)
    if replicas < wanted:
        raise ReplicasAway(
            f"{server}: {replicas} of {wanted} standbys had flushed a commit after {PROBE_S:g} s"
        )
    return replicas


def measure_replicas(link: Link, wanted: int) -> int:
    """Make a small commit and count the standbys that have flushed it, until `wanted` have."""
    with link.transaction():
        link.execute("set local synchronous_commit = local")
        link.execute("select pg_logical_emit_message(true, 'leveret', 'probe')")
    lsn = text(link.execute("select pg_current_wal_flush_lsn()")[0][0])
    deadline = time.monotonic() + PROBE_S
    while True:
        rows = link.execute(
            "select count(*) from pg_stat_replication where flush_lsn >= $1::pg_lsn", (lsn,)
        )
        replicas = number(rows[0][0])
        if replicas >= wanted or time.monotonic() >= deadline:
            return replicas
        time.sleep(PROBE_INTERVAL_S)
