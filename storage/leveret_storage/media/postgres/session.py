"""The links to one server for calls that wait, from a connect until they are given up."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition, get_ident
from typing import Final, TypeAlias

from leveret_storage.errors import StorageError
from leveret_storage.media.postgres.checks import Report
from leveret_storage.media.postgres.connecting import Server, connect_to
from leveret_storage.media.postgres.link import DatabaseError, Interrupt, Link, LinkBroken
from leveret_storage.media.postgres.location import Location
from leveret_storage.media.postgres.schema import Schema

IDLE_LINKS_MAX: Final = 4
"""Links kept open for the next calls."""

GIVEN_BACK_S: Final = 1.0
"""Seconds for which a call waits for the link of another one, if no further link can be made."""

ANSWER_S: Final = 1.0
"""Seconds within which a server answers that is not busy with anything else."""

Ended: TypeAlias = Callable[[], StorageError | None]


@dataclass
class _Call:
    """A call that is under way."""

    began: float
    """By time.monotonic."""
    ended: Ended
    link: Link | None = None
    """None while it is connected."""
    is_ended: bool = False
    """Whether its link was given up."""


class ServerSession:
    """Links to one server. Calls of any number of threads borrow one each."""

    def __init__(
        self, location: Location, server: Server, schema: Schema, report: Report, first: Link
    ) -> None:
        self.server: Final = server
        self.schema: Final = schema
        self.report: Final = report
        self.interrupt: Final[Interrupt] = first.interrupt
        self._location = location
        self._lock = Condition()
        """Notified when a link is idle."""
        self._idle = [first]
        self._calls: dict[int, _Call] = {}
        """What is under way, by its thread."""

    @contextmanager
    def borrow(self, ended: Ended) -> Generator[Link, None, None]:
        """A link for one call. :raises LinkBroken: if none can be made, or the call was ended.

        :param ended: returns the error with which the call is to end, or None.
        """
        call = _Call(time.monotonic(), ended)
        with self._lock:
            call.link = self._idle.pop() if self._idle else None
            self._calls[get_ident()] = call
        is_broken = False
        try:
            yield call.link or self._link_for(call)
        except LinkBroken:
            is_broken = True
            raise
        finally:
            with self._lock:
                del self._calls[get_ident()]
                link = call.link
                is_whole = not is_broken and not call.is_ended
                if link is not None and is_whole and len(self._idle) < IDLE_LINKS_MAX:
                    self._idle.append(link)
                    self._lock.notify()
                    link = None
            if link is not None:
                link.close()

    def _link_for(self, call: _Call) -> Link:
        """A new link for a call, or that of another call, if the server lets no more in."""
        try:
            link = self.connect()
        except LinkBroken:
            with self._lock:
                self._lock.wait_for(
                    lambda: self._idle or call.is_ended or self.interrupt.is_set, GIVEN_BACK_S
                )
                if not self._idle:
                    raise
                link = self._idle.pop()
        with self._lock:
            call.link = link
            if call.is_ended:
                raise LinkBroken("the call was ended")
        return link

    def connect(self) -> Link:
        """A link that is not given back."""
        return connect_to(self._location, self.server, self.interrupt)

    def answers(self) -> bool:
        """Whether the server answers on a link that is there, though it may let no further one in.
        Waits for one that is idle."""
        with self._lock:
            self._lock.wait_for(lambda: self._idle or self.interrupt.is_set, GIVEN_BACK_S)
            if not self._idle:
                return False
            link = self._idle.pop()
        try:
            link.execute("select 1", timeout_s=ANSWER_S)
        except (DatabaseError, LinkBroken):
            link.close()
            return False
        with self._lock:
            self._idle.append(link)
            self._lock.notify()
        return True

    def waiting_since(self) -> float | None:
        """When the oldest call began that is under way."""
        with self._lock:
            return min((each.began for each in self._calls.values()), default=None)

    def end_calls(self) -> None:
        """Give up the links of those calls that are to end; the others go on."""
        with self._lock:
            for call in self._calls.values():
                if call.ended() is not None:
                    call.is_ended = True
                    self._lock.notify_all()
                    if call.link is not None:
                        call.link.ending.set()

    def close(self) -> None:
        """End all calls, and close what is idle."""
        self.interrupt.set()
        with self._lock:
            idle, self._idle = self._idle, []
            self._lock.notify_all()
        for link in idle:
            link.close()
