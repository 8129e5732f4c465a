"""Writing the checkpoints of a store beside what the broker does for its clients.

What goes into a checkpoint is in the storage (`store/checkpoint_writer.py`), and what it takes from
a broker in `engine/restore.py`.
"""

from collections.abc import Callable

from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work, WorkQueue


class CheckpointWork(Work):
    """Has a store write its checkpoints, a slice at a time."""

    def __init__(self, work: WorkQueue, write: Callable[[Callable[[], bool]], bool]) -> None:
        """`write` is the store's `write_checkpoint`."""
        self._work = work
        self._write = write
        self._queued = False
        self._due = False
        """Whether there is something to do, which a slice may cause itself."""

    def continue_checkpoint(self) -> None:
        """Have the store called until it has nothing to do; the store's `checkpoint_due`."""
        self._due = True
        if not self._queued:
            self._queued = True
            self._work.add(self)

    def run(self, time_slice: TimeSlice) -> bool:
        self._due = False
        if not self._write(time_slice.is_over_now):
            self._due = True
        self._queued = self._due
        return not self._queued

    def give_up(self) -> None:
        self._queued = False
