"""The operations of one store, in order, from their submission until they are durable.

Whatever is not durable is in the log of operations here, in memory, bounded by UNDURABLE_BYTES_MAX.
When the connection broke, all of them are sent again, in order; those that had been applied have
their effect once.

Answers are given in order: an operation is answered as durable when all before it are.

Any thread submits, or sends what is alone; the I/O thread does the rest. Answers are called without
the lock.
"""

from collections import Counter, deque
from collections.abc import Callable
from threading import Condition
from time import monotonic
from typing import Final

from leveret_storage.errors import MediumFailed, MediumFull, StorageError
from leveret_storage.media.postgres.operations import AppendRows, Operation, Progress
from leveret_storage.media.postgres.ownership import Fence

UNDURABLE_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes submitted and not durable from which on a submission waits."""

DURABLE_SOON_BYTES: Final = 2 * 1024 * 1024
"""Bytes applied and not durable from which on they are made durable though nobody asked."""

DURABLE_SOON_OPERATIONS: Final = 1000
"""The same, as a count of operations."""

FULL_RETRY_S: Final = 0.5
"""Seconds after which an operation is sent again that a full database has refused."""

FULL_S: Final = 2.0
"""Seconds after a refusal for which the database counts as full, unless it takes something."""

REMEMBERED_TABLES: Final = 64
"""Tables whose last durable row is looked for after a reconnect. Replicas have all that was written
up to some point, so the row that was made durable last would do."""


class Appender:
    """The operations of a store, under the fence of its owner."""

    def __init__(self, fence: Fence) -> None:
        self.fence = fence
        self._full_text = ""
        self._full_until = 0.0
        self.durable_rows: dict[int, int] = {}
        """The last durable row of tables that were appended to, the newest table at the end."""
        self._log: deque[Operation] = deque()
        self._to_send: deque[Operation] = deque()
        self._pending: Counter[int] = Counter()
        """Operations that are not applied, by table."""
        self._changed = Condition()
        self._failure: StorageError | None = None
        self._watchers: list[Callable[[StorageError], None]] = []
        self._applied_count = 0
        self._durable_count = 0
        self._awaited = 0
        """Applied operations that somebody waits for to be durable."""
        self._undurable_bytes = 0
        self._retry_at = 0.0

    # --- by any thread ----------------------------------------------------------------------

    def submit(self, operation: Operation) -> None:
        """Add an operation to the log; it is to be sent when the I/O thread is woken.

        Waits while too many bytes are not durable. :raises StorageError: if the owner has ended.
        """
        with self._changed:
            self._changed.wait_for(self._has_room)
            if self._failure is not None:
                raise self._failure
            if operation.repeats_when_full and self.is_full:
                raise MediumFull(self._full_text)
            self._add(operation)
            self._to_send.append(operation)

    def submit_alone(self, operation: Operation) -> bool:
        """Add an operation to the log that the caller sends itself, if no other is to be sent and
        nothing has to be waited for; whether that was done."""
        with self._changed:
            if self._to_send or self._failure is not None or self.is_full or not self._has_room():
                return False
            self._add(operation)
            operation.progress = Progress.SENT
        return True

    def _add(self, operation: Operation) -> None:
        self._log.append(operation)
        self._pending[operation.table] += 1
        self._undurable_bytes += operation.size

    @property
    def is_full(self) -> bool:
        """Whether the database has refused something lately, and taken nothing since."""
        return monotonic() < self._full_until

    def _has_room(self) -> bool:
        return self._failure is not None or self._undurable_bytes < UNDURABLE_BYTES_MAX

    @property
    def has_undurable(self) -> bool:
        with self._changed:
            return bool(self._log)

    @property
    def failure(self) -> StorageError | None:
        with self._changed:
            return self._failure

    def await_applied(self, table: int | None = None) -> None:
        """Wait until all operations, or those of one table, are applied.

        :raises StorageError: if the owner ends before.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._failure is not None or self._is_applied(table))
            if self._failure is not None and not self._is_applied(table):
                raise self._failure

    def _is_applied(self, table: int | None) -> bool:
        return not (self._pending.total() if table is None else self._pending[table])

    def set_fence(self, fence: Fence) -> None:
        """Change the fence, while nothing is sent."""
        with self._changed:
            self.fence = fence

    def void(self, table: int) -> None:
        """Its blob is about to be deleted: nothing of it is sent again."""
        with self._changed:
            for operation in self._log:
                if operation.table == table:
                    operation.is_void = True
            self.durable_rows.pop(table, None)

    def watch(self, ended: Callable[[StorageError], None]) -> None:
        """Have a function called once when the owner ends; at once if it has."""
        with self._changed:
            failure = self._failure
            if failure is None:
                self._watchers.append(ended)
        if failure is not None:
            ended(failure)

    def fail(self, error: StorageError) -> None:
        """End the owner: every operation without an answer gets the error, as does every call."""
        with self._changed:
            if self._failure is None:
                self._failure = error
            watchers, self._watchers = self._watchers, []
            unanswered = [each for each in self._log if not each.answered]
            for operation in unanswered:
                operation.answered = True
            self._forget_all()
            self._changed.notify_all()
        for operation in unanswered:
            operation.answer(error)
        for watcher in watchers:
            watcher(error)

    def _forget_all(self) -> None:
        self._log.clear()
        self._to_send.clear()
        self._pending.clear()
        self._awaited = 0
        self._undurable_bytes = 0
        self.durable_rows.clear()

    # --- by the I/O thread ------------------------------------------------------------------

    @property
    def has_to_send(self) -> bool:
        """Whether operations wait to be sent."""
        return bool(self._to_send)

    def take_to_send(self, count: int, size: int) -> list[Operation]:
        """The next operations, at most `count`, and no more when they have `size` bytes."""
        taken: list[Operation] = []
        with self._changed:
            if self._failure is not None:
                return taken
            if self._retry_at > monotonic():
                return taken
            while self._to_send and len(taken) < count and size > 0:
                operation = self._to_send.popleft()
                operation.progress = Progress.SENT
                taken.append(operation)
                size -= operation.size
        return taken

    def retry_in(self) -> float | None:
        """Seconds until something is sent again that a full database has refused."""
        if not self._retry_at:
            return None
        with self._changed:
            return max(0.0, self._retry_at - monotonic()) if self._to_send else None

    def applied(self, operation: Operation, is_durable: bool) -> list[Operation]:
        """An operation was committed; `is_durable` if so is all before it. Returns those to be
        answered."""
        with self._changed:
            if self._failure is not None:
                return []
            self._apply(operation)
            self._full_until = 0.0
            self._retry_at = 0.0
            answers: list[Operation] = []
            if not operation.awaits_durability and not operation.answered:
                operation.answered = True
                answers.append(operation)
            if is_durable:
                answers += self._release(operation.applied_as)
            self._changed.notify_all()
        return answers

    def _apply(self, operation: Operation) -> None:
        self._applied_count += 1
        operation.applied_as = self._applied_count
        operation.progress = Progress.APPLIED
        self._awaited += operation.awaits_durability
        self._is_not_pending(operation)

    def _is_not_pending(self, operation: Operation) -> None:
        self._pending[operation.table] -= 1
        if not self._pending[operation.table]:
            del self._pending[operation.table]

    @property
    def applied_count(self) -> int:
        """How many operations were applied: what a small commit covers that begins now."""
        return self._applied_count

    def wants_durability(self) -> bool:
        """Whether a small commit is worth beginning."""
        if self._applied_count == self._durable_count:
            return False
        with self._changed:
            if self._applied_count == self._durable_count or not self._log:
                return False
            return (
                self._awaited > 0
                or self._undurable_bytes >= DURABLE_SOON_BYTES
                or len(self._log) >= DURABLE_SOON_OPERATIONS
            )

    def durable(self, applied_count: int) -> list[Operation]:
        """All that was applied up to a count is durable. Returns those to be answered."""
        with self._changed:
            answers = self._release(applied_count)
            self._changed.notify_all()
        return answers

    def _release(self, applied_count: int) -> list[Operation]:
        self._durable_count = max(self._durable_count, applied_count)
        answers: list[Operation] = []
        log = self._log
        while log and log[0].progress is Progress.APPLIED:
            operation = log[0]
            if operation.applied_as > self._durable_count:
                break
            log.popleft()
            self._awaited -= operation.awaits_durability
            self._undurable_bytes -= operation.size
            if isinstance(operation, AppendRows) and operation.size and not operation.is_void:
                self.durable_rows.pop(operation.table, None)
                self.durable_rows[operation.table] = operation.last_row
                if len(self.durable_rows) > REMEMBERED_TABLES:
                    del self.durable_rows[next(iter(self.durable_rows))]
            if not operation.answered:
                operation.answered = True
                answers.append(operation)
        return answers

    def refused_full(self, operation: Operation, text: str) -> bool:
        """The database was full. Returns whether the operation is to be answered with MediumFull;
        otherwise it is sent again."""
        with self._changed:
            if self._failure is not None:
                return False
            self._full_text = text
            self._full_until = monotonic() + FULL_S
            if not operation.repeats_when_full and not operation.answered:
                operation.answered = True
                self._log.remove(operation)
                self._undurable_bytes -= operation.size
                self._is_not_pending(operation)
                self._changed.notify_all()
                return True
            self._send_again(operation)
            self._retry_at = monotonic() + FULL_RETRY_S
            self._changed.notify_all()
            return False

    def send_again(self, operation: Operation) -> None:
        """The operation had no effect, for a reason that goes by."""
        with self._changed:
            if self._failure is None:
                self._send_again(operation)
                self._changed.notify_all()

    def _send_again(self, operation: Operation) -> None:
        operation.progress = Progress.WAITING
        self._to_send.append(operation)
        order = {id(each): place for place, each in enumerate(self._log)}
        self._to_send = deque(sorted(self._to_send, key=lambda each: order[id(each)]))

    def detach(self) -> list[Operation]:
        """The connection broke: whatever is not durable is to be sent again. Returns those to be
        answered, since their blob is being deleted."""
        with self._changed:
            self._to_send.clear()
            self._pending.clear()
            self._awaited = 0
            void: list[Operation] = []
            remaining: deque[Operation] = deque()
            for operation in self._log:
                if operation.is_void:
                    self._undurable_bytes -= operation.size
                    if not operation.answered:
                        operation.answered = True
                        void.append(operation)
                    continue
                operation.progress = Progress.WAITING
                remaining.append(operation)
                self._pending[operation.table] += 1
            self._log = remaining
            self._to_send.extend(remaining)
            self._durable_count = self._applied_count
            self._retry_at = 0.0
            self._changed.notify_all()
        return void


def failure_of(error: BaseException | None) -> StorageError:
    """What an owner gets whose threads have ended."""
    return MediumFailed(f"the connections to the database have ended: {error}")
