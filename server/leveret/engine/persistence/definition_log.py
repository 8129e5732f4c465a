"""Writes definitions to the store, and calls the waiters of a commit.

The kinds of definitions are in `definitions.py`. Callers write durable objects only: a binding if
both of its ends are durable.
"""

from abc import ABC, abstractmethod

from mypy_extensions import i64

from leveret.engine.persistence.definitions import Record, encode
from leveret_storage.store.store import Store


class CommitWaiter(ABC):
    """Waits for the next batch of the store to be durable."""

    @abstractmethod
    def store_synced(self) -> None:
        """Called when another batch is durable."""

    def store_abandoned(self) -> None:  # noqa: B027 (the connections to the store are closed)
        """Called when no batch will be durable any more."""


class DefinitionLog:
    """Writes definitions to the store, and calls the waiters when another batch is durable."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.awaited_count: i64 = 0
        """Number of definitions written by `write`. If it changed while a method was handled, the
        reply has to wait for the batch `awaited_batch`."""
        self.awaited_batch: i64 = 0
        """The batch of the last such definition. Until it is durable, no client may learn that
        something durable exists or was deleted, whichever client did it."""
        self.is_abandoned = False
        """Whether no batch will be durable any more, as far as this broker knows."""
        self._waiters: list[CommitWaiter] = []

    def wait(self, waiter: CommitWaiter) -> None:
        """Call a waiter once, at the next batch that is durable."""
        self._waiters.append(waiter)

    def synced(self) -> None:
        """A batch is durable."""
        waiters = self._waiters
        self._waiters = []
        for waiter in waiters:
            waiter.store_synced()

    def abandon(self) -> None:
        """No batch will be durable any more: the store was given up. The waiters are told."""
        self.is_abandoned = True
        waiters = self._waiters
        self._waiters = []
        for waiter in waiters:
            waiter.store_abandoned()

    def write(self, record: Record) -> None:
        """Write a definition. The reply of the method that caused it waits for its batch."""
        self.awaited_count += 1
        self.store.define(encode(record))
        self.awaited_batch = self.store.batch

    def write_unawaited(self, record: Record) -> None:
        """Write a definition that no reply waits for."""
        self.store.define(encode(record))
