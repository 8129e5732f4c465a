"""Finding the primary: all hosts of a location are asked at once, and the newest one is taken.

A host that hangs costs nothing, because the others are asked meanwhile. Of two servers that accept
writes the one with the higher timeline is newer: it was promoted later. One whose timeline is lower
than the highest that was ever seen has been replaced, and is not taken.
"""

import time
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Final

from leveret_storage.errors import ReadFailed
from leveret_storage.media.postgres.link import (
    DatabaseError,
    Interrupt,
    Link,
    LinkBroken,
    number,
    text,
)
from leveret_storage.media.postgres.location import Location

GRACE_S: Final = 0.3
"""Seconds that other hosts are waited for when one has answered that accepts writes."""

_FACTS: Final = (
    "select pg_is_in_recovery() or current_setting('transaction_read_only')::boolean,"
    " case when pg_is_in_recovery() then 0 else"
    " ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int end,"
    " version(), current_setting('server_version_num')"
)


@dataclass(frozen=True)
class Server:
    """A server that accepts writes."""

    host: str
    port: str
    timeline: int
    version: str
    version_number: int

    def __str__(self) -> str:
        return address(self.host, self.port)


@dataclass(frozen=True)
class Connected:
    """The newest server, and a link to it."""

    server: Server
    link: Link


class _Race:
    """What the hosts have answered. Links of those that come too late are closed."""

    def __init__(self) -> None:
        self.answers: SimpleQueue[Connected | str] = SimpleQueue()
        self._lock = Lock()
        self._over = False

    def answer(self, answer: Connected | str) -> None:
        with self._lock:
            if not self._over:
                self.answers.put(answer)
                return
        if isinstance(answer, Connected):
            answer.link.close()

    def end(self) -> None:
        with self._lock:
            self._over = True


def address(host: str, port: str) -> str:
    """A host as operators read it."""
    return f"{host or 'the local socket'}:{port}" if port else host or "the local socket"


def connect_newest(location: Location, interrupt: Interrupt, timeline_min: int = 0) -> Connected:
    """Connect to the newest server of a location that accepts writes.

    :raises LinkBroken: if there is none; the text says what each host answered.
    :raises ReadFailed: if there is no password to be read.
    """
    race = _Race()
    timeout_s = location.connect_timeout_s
    for host, port in location.hosts:
        conninfo = location.conninfo(host, port)
        Thread(
            target=_ask,
            args=(race, host, port, conninfo, interrupt, timeout_s),
            name="leveret-connect",
            daemon=True,
        ).start()
    found, refusals = _collect(race, len(location.hosts), time.monotonic() + timeout_s)
    found.sort(key=lambda each: each.server.timeline)
    newest = found.pop() if found else None
    for each in found:
        each.link.close()
    if newest is not None and newest.server.timeline < timeline_min:
        newest.link.close()
        refusals.append(
            f"{newest.server}: replaced (timeline {newest.server.timeline}, where"
            f" {timeline_min} was)"
        )
        newest = None
    if newest is None:
        raise LinkBroken("; ".join(refusals) or "no host answers")
    return newest


def _collect(race: _Race, count: int, deadline: float) -> tuple[list[Connected], list[str]]:
    found: list[Connected] = []
    refusals: list[str] = []
    try:
        while len(found) + len(refusals) < count:
            answer = race.answers.get(timeout=max(0.001, deadline - time.monotonic()))
            if isinstance(answer, Connected):
                found.append(answer)
                deadline = min(deadline, time.monotonic() + GRACE_S)
            else:
                refusals.append(answer)
    except Empty:
        if not found:
            refusals.append(f"{count - len(refusals)} of {count} hosts do not answer")
    race.end()
    while not race.answers.empty():
        late = race.answers.get()
        if isinstance(late, Connected):
            found.append(late)
    return found, refusals


def _ask(
    race: _Race, host: str, port: str, conninfo: bytes, interrupt: Interrupt, timeout_s: float
) -> None:
    """Connect to one host and look what it is; in a thread of its own."""
    try:
        link = Link.connect(conninfo, interrupt, timeout_s)
    except LinkBroken as error:
        race.answer(f"{address(host, port)}: {error}")
        return
    try:
        row = link.execute(_FACTS, timeout_s=timeout_s)[0]
    except (DatabaseError, LinkBroken) as error:
        link.close()
        race.answer(f"{address(host, port)}: {error}")
        return
    if row[0] == b"t":
        link.close()
        race.answer(f"{address(host, port)}: a standby, or read-only")
        return
    server = Server(host, port, number(row[1]), text(row[2]), number(row[3]))
    race.answer(Connected(server, link))


def connect_to(location: Location, server: Server, interrupt: Interrupt) -> Link:
    """One more link to a server. :raises LinkBroken: if that fails."""
    try:
        conninfo = location.conninfo(server.host, server.port)
    except ReadFailed as error:
        raise LinkBroken(str(error)) from error
    return Link.connect(conninfo, interrupt, location.connect_timeout_s)
