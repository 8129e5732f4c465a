"""Looking through the ready messages of a queue for some that match.

It goes on from an offset, in slices, until it has found enough, or has read as much as one request
may; the next request goes on behind that. Nothing about the queue or its messages changes.
"""

from collections.abc import Callable
from typing import Final

from leveret.engine.administration.reader import Found, Reader
from leveret.engine.queues.queue import Queue
from leveret.engine.values.message import exchange_and_key
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work

SCANNED_MESSAGES_MAX: Final = 20_000
SCANNED_BYTES_MAX: Final = 64 * 1024 * 1024
"""Messages, and bytes of bodies and of disk, that one search reads: below a second of the broker's
work, of which others get their slices between."""

SEARCHED_AT_ONCE_BYTES: Final = 1024 * 1024
"""Bytes of a body that are searched before the slice is looked at."""


class Filter:
    """What a message has to have. All parts of it are optional."""

    def __init__(
        self,
        routing_key: bytes = b"",
        body: bytes = b"",
        header: Callable[[bytes], bool] | None = None,
    ) -> None:
        """
        :param routing_key: octets that the routing key contains.
        :param body: octets that the body contains.
        :param header: whether a content header matches.
        """
        self.routing_key = routing_key
        self.body = body
        self.header = header


class Search(Work):
    """A search; while it is not done, it waits for its reader to read."""

    def __init__(
        self,
        queue: Queue,
        offset: int,
        messages_max: int,
        bytes_max: int,
        wanted: Filter,
        truncate: int | None = None,
    ) -> None:
        """
        :param messages_max: how many messages are to be found at most.
        :param bytes_max: bytes of their bodies that are shown, which the last one may exceed.
        :param truncate: bytes of each body that are shown at most.
        """
        self.found: list[Found] = []
        self.is_done = messages_max == 0
        self.reader = Reader(queue.backlog, offset, SCANNED_MESSAGES_MAX)
        self._queue = queue
        self._offset = offset
        self._messages_max = messages_max
        self._bytes_left = bytes_max
        self._wanted = wanted
        self._truncate = truncate
        self._searched: Found | None = None
        """The message whose body is being searched, from `_at` on."""
        self._at = 0

    @property
    def next_offset(self) -> int | None:
        """Where the next search goes on; None if there is no further message."""
        offset = self._offset + self.reader.count
        if self.reader.at_end or offset >= int(self._queue.message_count()):
            return None
        return offset

    def run(self, time_slice: TimeSlice) -> bool:
        while not self.is_done:
            self._step()
            if self.reader.has_to_read():
                return True
            if time_slice.is_over_now():
                return self.is_done
        return True

    def _step(self) -> None:
        reader = self.reader
        if self._searched is None:
            found = reader.next()
            if found is None:
                self.is_done = reader.ended
                return
            if not self._matches(found):
                self._end_step()
                return
            self._searched, self._at = found, 0
        self._search_body(self._searched)

    def _search_body(self, found: Found) -> None:
        """Search the next part of a body."""
        wanted, body = self._wanted.body, found.message.body
        end = self._at + SEARCHED_AT_ONCE_BYTES
        if body.find(wanted, self._at, end + len(wanted)) >= 0:
            self.found.append(found)
            shown = len(body) if self._truncate is None else min(len(body), self._truncate)
            self._bytes_left -= shown
        elif end < len(body):
            self._at = end
            return
        self._searched = None
        self._end_step()

    def _end_step(self) -> None:
        self.is_done = (
            len(self.found) >= self._messages_max
            or self._bytes_left <= 0
            or self.reader.bytes_read >= SCANNED_BYTES_MAX
        )

    def _matches(self, found: Found) -> bool:
        """Whether everything but the body matches."""
        wanted, message = self._wanted, found.message
        if wanted.routing_key not in exchange_and_key(message.route)[1]:
            return False
        return wanted.header is None or wanted.header(message.header)
