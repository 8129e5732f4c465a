"""The links to one server for calls that wait, from a connect until they are given up."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from threading import Lock, get_ident
from typing import Final

from leveret_storage.media.postgres.checks import Report
from leveret_storage.media.postgres.connecting import Server, connect_to
from leveret_storage.media.postgres.link import Interrupt, Link, LinkBroken
from leveret_storage.media.postgres.location import Location
from leveret_storage.media.postgres.schema import Schema

IDLE_LINKS_MAX: Final = 4
"""Links kept open for the next calls."""


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
        self._lock = Lock()
        self._idle = [first]
        self._since: dict[int, float] = {}
        """When the call of a thread began, for those under way."""

    @contextmanager
    def borrow(self) -> Generator[Link, None, None]:
        """A link for one call. :raises LinkBroken: if none can be made."""
        with self._lock:
            link = self._idle.pop() if self._idle else None
            self._since[get_ident()] = time.monotonic()
        try:
            if link is None:
                link = connect_to(self._location, self.server, self.interrupt)
            yield link
        except LinkBroken:
            if link is not None:
                link.close()
            link = None
            raise
        finally:
            with self._lock:
                self._since.pop(get_ident(), None)
                if link is not None and len(self._idle) < IDLE_LINKS_MAX:
                    self._idle.append(link)
                    link = None
            if link is not None:
                link.close()

    def connect(self) -> Link:
        """A link that is not given back."""
        return connect_to(self._location, self.server, self.interrupt)

    def waiting_since(self) -> float | None:
        """When the oldest call began that is under way."""
        with self._lock:
            return min(self._since.values(), default=None)

    def close(self) -> None:
        """End all calls, and close what is idle."""
        self.interrupt.set()
        with self._lock:
            idle, self._idle = self._idle, []
        for link in idle:
            link.close()
