"""Copying what is left alive in a log segment to queue segments, so that the log stays short.

The reading thread reads the segment, a piece at a time; what is alive of a piece becomes runs; the
next piece is read when these are written. So it holds one piece, and the owner's thread is never
held up for longer than one takes.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from leveret_storage import entries
from leveret_storage.entries import Entry, Stored
from leveret_storage.errors import Damaged, StorageError
from leveret_storage.medium import Medium
from leveret_storage.queue_log import QueueLog
from leveret_storage.record_reader import Damage, RecordReader
from leveret_storage.writer import Executor

PIECE_MESSAGES: Final = 500
"""Messages of a piece at most: about a millisecond of the owner's thread."""

PIECE_BYTES: Final = 256 * 1024
"""Bytes of their bodies at which a piece ends: what it holds of memory, and puts at once in front
of the batches that wait to be written."""

WriteRun: TypeAlias = Callable[[QueueLog, int, list[Stored]], object]


class Emptying:
    """One log segment on its way out. Its methods are called in the owner's thread."""

    def __init__(
        self,
        medium: Medium,
        name: str,
        queues: dict[int, QueueLog],
        reading: Executor,
        writing: Executor,
        write_run: WriteRun,
        ended: Callable[[StorageError | None], None],
    ) -> None:
        self._messages = _messages(medium, name)
        self._queues = queues
        self._reading = reading
        self._writing = writing
        self._write_run = write_run
        self._ended = ended

    def go_on(self) -> None:
        """Read the next piece, and what that leads to."""
        self._reading.submit(self._read, self._copy)

    def _read(self) -> list[Entry]:
        piece: list[Entry] = []
        size = 0
        for entry in self._messages:
            piece.append(entry)
            size += len(entry.message.body) if entry.message is not None else 0
            if len(piece) >= PIECE_MESSAGES or size >= PIECE_BYTES:
                break
        return piece

    def _copy(self, result: Any) -> None:
        if isinstance(result, StorageError):
            self._ended(result)
            return
        if not result:
            self._ended(None)
            return
        for queue, alive in self._alive(result).items():
            first, run = 0, list[Stored]()
            for position in sorted(alive):
                if run and position != first + len(run):
                    self._write_run(queue, first, run)
                    run = []
                if not run:
                    first = position
                run.append(alive[position])
            self._write_run(queue, first, run)
        # Behind the runs, so that no more is read than written.
        self._writing.submit(_nothing, self._written)

    def _alive(self, piece: list[Entry]) -> dict[QueueLog, dict[int, Stored]]:
        """What is neither settled nor in a queue segment, by queue and position."""
        alive: dict[QueueLog, dict[int, Stored]] = {}
        for entry in piece:
            if entry.message is None:
                continue
            for number, position in entry.queues:
                queue = self._queues.get(number)
                if queue is None or queue.is_settled(position) or position in queue.written:
                    continue
                alive.setdefault(queue, {})[position] = entry.message
        return alive

    def _written(self, result: Any) -> None:
        if isinstance(result, StorageError):
            self._ended(result)
        else:
            self.go_on()


def _nothing() -> None:
    """A job whose turn is all that matters."""


def _messages(medium: Medium, name: str) -> Iterator[Entry]:
    """The messages of a log segment, those repeated in its checkpoint first."""
    for record in RecordReader(medium, name):
        if isinstance(record, Damage):
            raise Damaged(f"{name}: damaged from offset {record.offset} to {record.end}")
        if record.kind == entries.CHECKPOINT:
            yield from entries.read_checkpoint(record.payload).messages
        elif record.kind == entries.BATCH:
            for entry in entries.each_entry(record.payload):
                if entry.message is not None:
                    yield entry
