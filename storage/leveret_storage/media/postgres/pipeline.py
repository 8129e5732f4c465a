"""A connection that sends operations without waiting for their results, in libpq's pipeline mode.

Behind each operation is a Sync, so each is a transaction of its own, and one that is refused does
not stop those behind it. Nothing here blocks: the I/O thread calls when the socket is ready.
"""

from collections import deque
from dataclasses import dataclass
from time import monotonic
from typing import Final

from psycopg import OperationalError, pq

from leveret_storage.media.postgres.link import DatabaseError, Link, LinkBroken
from leveret_storage.media.postgres.operations import Operation
from leveret_storage.media.postgres.ownership import Fence

PREPARED_MAX: Final = 16
"""Prepared statements of a connection: each is for a table, and few are appended to at a time."""


@dataclass
class Result:
    """What became of an operation that was sent."""

    operation: Operation
    durability: str
    sent_at: float
    error: DatabaseError | None = None
    is_replicated: bool = True
    """False after the warning that a wait for standbys was cancelled."""


class Pipeline:
    """Operations under way on one link, which is in pipeline mode from now on."""

    def __init__(self, link: Link) -> None:
        self.link: Final = link
        self.fd: Final = link.fd
        self.sent_bytes = 0
        self.wants_to_write = False
        self._sent: deque[Result] = deque()
        self._prepared: dict[bytes, bytes] = {}
        """Names of prepared statements by their text, the last one used at the end."""
        self._prepared_count = 0
        link.connection.enter_pipeline_mode()

    @property
    def sent_count(self) -> int:
        return len(self._sent)

    @property
    def waiting_since(self) -> float | None:
        """When the oldest operation was sent that has no result; of time.monotonic."""
        return self._sent[0].sent_at if self._sent else None

    def send(self, operation: Operation, fence: Fence, durability: str) -> None:
        """Begin an operation. :raises LinkBroken: if the connection is lost."""
        try:
            for text, parameters in operation.statements(fence, durability):
                if operation.is_frequent:
                    self.link.send_prepared(self._prepare(text), parameters)
                else:
                    self.link.send(text, parameters)
            self.link.connection.pipeline_sync()
        except OperationalError as error:
            raise LinkBroken(str(error).strip()) from error
        self._sent.append(Result(operation, durability, monotonic()))
        self.sent_bytes += operation.size

    def _prepare(self, text: bytes) -> bytes:
        """The name of a prepared statement; it is prepared in front of its first use."""
        name = self._prepared.pop(text, None)
        if name is None:
            if len(self._prepared) == PREPARED_MAX:
                oldest = self._prepared.pop(next(iter(self._prepared)))
                self.link.send(b"deallocate " + oldest, ())
            self._prepared_count += 1
            name = b"s%d" % self._prepared_count
            self.link.connection.send_prepare(name, text)
        self._prepared[text] = name
        return name

    def flush(self) -> None:
        """Write what can be written. :raises LinkBroken: if the connection is lost."""
        try:
            self.wants_to_write = bool(self.link.connection.flush())
        except OperationalError as error:
            raise LinkBroken(str(error).strip()) from error

    def receive(self) -> list[Result]:
        """The results that have come, in order. :raises LinkBroken: if the connection is lost."""
        connection = self.link.connection
        complete: list[Result] = []
        try:
            connection.consume_input()
            while self._sent and not connection.is_busy():
                result = connection.get_result()
                if result is None:
                    continue
                if result.status == pq.ExecStatus.PIPELINE_SYNC:
                    complete.append(self._complete())
                elif result.status != pq.ExecStatus.PIPELINE_ABORTED:
                    self._note(result)
        except OperationalError as error:
            raise LinkBroken(str(error).strip()) from error
        if connection.status == pq.ConnStatus.BAD:
            raise LinkBroken(connection.get_error_message().strip())
        return complete

    def _note(self, result: pq.abc.PGresult) -> None:
        try:
            self.link.check(result)
        except DatabaseError as error:
            self._sent[0].error = error
            # What was to be prepared may not have been.
            self._prepared.clear()

    def _complete(self) -> Result:
        result = self._sent.popleft()
        self.sent_bytes -= result.operation.size
        # The warning comes with the commit, in front of the Sync's own result.
        result.is_replicated = not self.link.unreplicated
        self.link.unreplicated = False
        return result

    def close(self) -> None:
        self.link.close()
