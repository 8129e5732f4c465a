"""A run with messages of many backlogs, so that few small messages in each can be on disk.

A priority with a message or two is not worth a run of its own: the run would take as much memory as
they do, and a file. So the priorities of one queue that have few messages are packed: one run has
all these messages, in a journal that exists only for that. When one of them is needed the whole run
is read, and its messages are in memory again.

Deliberately elsewhere: which priorities are packed when (`priority_backlog.py`).
"""

from collections.abc import Callable
from typing import Final

from leveret.engine.values.message import Message
from leveret_storage.errors import StorageError
from leveret_storage.segments.queue_journal import Run
from leveret_storage.store.store import Store

PACKED_COST_MIN: Final = 16 * 1024
"""Bytes of memory of messages of one queue from which on they are packed: the journal, its file and
the run take some kilobytes."""

PACKED_COST_MAX: Final = 64 * 1024
"""Bytes of memory of the messages of one packed run, about: all are read when one is needed."""


class PackedRun:
    """A run of messages of several backlogs."""

    def __init__(
        self,
        store: Store,
        run: Run,
        unpack: Callable[["PackedRun"], None],
        loaded: Callable[[], None],
    ) -> None:
        """`unpack` is to have the messages in memory again; `loaded` is called after that if they
        had to be read, and nobody waited."""
        self.run = run
        self.messages: list[Message] | None = None
        """The messages, once they have been read."""
        self._store = store
        self._unpack = unpack
        self._loaded = loaded
        self._loading = False

    def request(self) -> None:
        """Unpack the messages: at once if they are in memory still, else when they are read."""
        if self.run.messages is not None:
            self._take(self.run.messages)
        elif not self._loading:
            self._loading = True
            self._store.read_run(self.run, self._read)

    def load_blocking(self) -> None:
        """As `request`, and wait for it. If it cannot be read, the store fails."""
        try:
            self._take(self._store.read_run_blocking(self.run))
        except StorageError as error:
            self._store.fail(error)

    def _read(self, messages: list[Message]) -> None:
        self._take(messages)
        self._loaded()

    def _take(self, messages: list[Message]) -> None:
        if self.messages is None:
            self.messages = messages
            self._unpack(self)
