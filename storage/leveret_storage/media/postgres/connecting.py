"""Finding the primary: all hosts of a location are asked at once, and the newest one is taken.

A host that hangs costs nothing, because the others are asked meanwhile. Of two servers that accept
writes the one with the higher timeline is newer: it was promoted later. One whose timeline is lower
than the highest that was ever seen has been replaced, and is not taken.
"""

import re
import time
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import Final

from leveret_storage.errors import ReadFailed
from leveret_storage.media.postgres.link import (
    DatabaseError,
    Interrupt,
    Link,
    LinkBroken,
    LinkRefused,
    number,
    text,
)
from leveret_storage.media.postgres.location import Location

GRACE_S: Final = 0.3
"""Seconds that other hosts are waited for when one has answered that accepts writes."""

ASK_INTERVAL_S: Final = 0.1
"""Seconds after which a host that has refused is asked again."""

FINAL_STATES: Final = frozenset(("28000", "28P01", "3D000", "42501"))
"""With which a server refuses a role, a password or a database that it would refuse later, too."""

STANDBY: Final = "a standby, or read-only"
READ_ONLY_STATE: Final = "25006"

_LIBPQ_PREFIX: Final = re.compile(
    r'\Aconnection to server (?:at|on socket) "[^"]*"(?: \([^)]*\))?(?:, port \d+)? failed: '
)
"""With what libpq begins its reasons: it names the host, which stands before them."""

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


@dataclass(frozen=True)
class _Refusal:
    """Why a host is not the primary."""

    why: str
    state: str = ""
    """The SQLSTATE of a server that has answered, if it is known."""


class WrongLogin(LinkBroken):
    """Every server that has answered refuses the role, its password, or the database."""


class _Race:
    """What the hosts have answered. Links of those that come too late are closed."""

    def __init__(self) -> None:
        self.answers: SimpleQueue[tuple[str, Connected | _Refusal]] = SimpleQueue()
        self._lock = Lock()
        self._over = Event()

    def answer(self, host: str, answer: Connected | _Refusal) -> None:
        """A server, or why the host is none."""
        with self._lock:
            if not self._over.is_set():
                self.answers.put((host, answer))
                return
        if isinstance(answer, Connected):
            answer.link.close()

    def is_over(self, after_s: float) -> bool:
        """Whether answers come too late, after waiting for so many seconds."""
        return self._over.wait(after_s)

    def end(self) -> None:
        with self._lock:
            self._over.set()


def address(host: str, port: str) -> str:
    """A host as operators read it."""
    return f"{host or 'the local socket'}:{port}" if port else host or "the local socket"


def connect_newest(
    location: Location,
    interrupt: Interrupt,
    timeline_min: int = 0,
    *,
    again: bool = False,
    timeout_s: float | None = None,
    first: bool = False,
) -> Connected:
    """Connect to the newest server of a location that accepts writes.

    :param again: ask hosts again that have refused, until the time for one attempt is over: so a
        standby that is being promoted is found, however long another host takes to answer.
    :param timeout_s: for one attempt, unless the location's is less.
    :param first: whether it is the first attempt, for which a login may be wrong.
    :raises WrongLogin: if it is, and `first`.
    :raises LinkBroken: if there is none; the text says what each host answered.
    :raises ReadFailed: if there is no password to be read.
    """
    race = _Race()
    timeout_s = min(timeout_s or location.connect_timeout_s, location.connect_timeout_s)
    for host, port in location.hosts:
        conninfo = location.conninfo(host, port)
        Thread(
            target=_ask_host,
            args=(race, host, port, conninfo, interrupt, timeout_s, again, first),
            name="leveret-connect",
            daemon=True,
        ).start()
    hosts = [address(*each) for each in location.hosts]
    deadline = time.monotonic() + timeout_s
    found, refusals = _collect(race, hosts, deadline, again, interrupt)
    found.sort(key=lambda each: each.server.timeline)
    newest = found.pop() if found else None
    for each in found:
        each.link.close()
    if newest is not None and newest.server.timeline < timeline_min:
        newest.link.close()
        refusals[str(newest.server)] = _Refusal(
            f"replaced (timeline {newest.server.timeline}, where {timeline_min} was)"
        )
        newest = None
    if newest is None:
        states = {each.state for each in refusals.values() if each.state}
        is_wrong = first and bool(states) and states <= FINAL_STATES
        raise (WrongLogin if is_wrong else LinkBroken)(_in_words(refusals))
    return newest


def _in_words(refusals: dict[str, _Refusal]) -> str:
    """Why no host is the primary: each reason once, behind its hosts."""
    hosts: dict[str, list[str]] = {}
    for host, refusal in refusals.items():
        hosts.setdefault(_LIBPQ_PREFIX.sub("", refusal.why), []).append(host)
    return "; ".join(f"{', '.join(names)}: {why}" for why, names in hosts.items())


def _collect(
    race: _Race, hosts: list[str], deadline: float, again: bool, interrupt: Interrupt
) -> tuple[list[Connected], dict[str, _Refusal]]:
    """Servers that accept writes, and why the others are none."""
    found: dict[str, Connected] = {}
    refusals = dict.fromkeys(hosts, _Refusal("does not answer"))
    answered: set[str] = set()
    try:
        while not interrupt.is_set and (len(answered) < len(hosts) or (again and not found)):
            host, answer = race.answers.get(timeout=max(0.001, deadline - time.monotonic()))
            answered.add(host)
            if isinstance(answer, Connected):
                found[host] = answer
                deadline = min(deadline, time.monotonic() + GRACE_S)
            else:
                refusals[host] = answer
    except Empty:
        pass  # the time is over
    race.end()
    while not race.answers.empty():
        host, answer = race.answers.get()
        if isinstance(answer, Connected):
            found[host] = answer
    return list(found.values()), refusals


def _ask_host(
    race: _Race,
    host: str,
    port: str,
    conninfo: bytes,
    interrupt: Interrupt,
    timeout_s: float,
    again: bool,
    first: bool,
) -> None:
    """Ask one host, again and again if that is wanted; in a thread of its own."""
    while True:
        answer = _ask(host, port, conninfo, interrupt, timeout_s, traced=first)
        race.answer(address(host, port), answer)
        if not again or isinstance(answer, Connected) or race.is_over(ASK_INTERVAL_S):
            return


def _ask(
    host: str,
    port: str,
    conninfo: bytes,
    interrupt: Interrupt,
    timeout_s: float,
    *,
    traced: bool,
) -> Connected | _Refusal:
    """Connect to one host and look what it is."""
    try:
        link = Link.connect(conninfo, interrupt, timeout_s, traced=traced)
    except LinkRefused as error:
        return _Refusal(str(error), error.state)
    except LinkBroken as error:
        return _Refusal(str(error))
    try:
        row = link.execute(_FACTS, timeout_s=timeout_s)[0]
    except (DatabaseError, LinkBroken) as error:
        link.close()
        return _Refusal(str(error))
    if row[0] == b"t":
        link.close()
        return _Refusal(STANDBY, READ_ONLY_STATE)
    server = Server(host, port, number(row[1]), text(row[2]), number(row[3]))
    return Connected(server, link)


def connect_to(location: Location, server: Server, interrupt: Interrupt) -> Link:
    """One more link to a server. :raises LinkBroken: if that fails."""
    try:
        conninfo = location.conninfo(server.host, server.port)
    except ReadFailed as error:
        raise LinkBroken(str(error)) from error
    return Link.connect(conninfo, interrupt, location.connect_timeout_s)
