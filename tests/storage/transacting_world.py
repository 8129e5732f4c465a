"""A world whose owner has transactions, with parts in several batches of the store."""

from collections.abc import Callable

from tests.storage.store_model import Batch, OwnedQueue
from tests.storage.store_world import World


class TransactingWorld(World):
    """As World; what a transaction does is found from the batch on that commits it."""

    def _begin(self) -> None:
        super()._begin()
        self.transaction: Batch = []
        """What the transaction has done that is not committed."""

    def _weighted_steps(self, interval: bool) -> list[tuple[int, Callable[[], None]]]:
        return [*super()._weighted_steps(interval), (8, self._transact)]

    def _transact(self) -> None:
        """Begin a transaction, do a part of it, or commit it."""
        store = self.store
        if not store.transaction.is_open():
            if not store.transaction.may_begin():
                return
            store.transaction.begin()
        elif self.random.random() < 0.3:
            self.open += self.transaction
            self.transaction = []
            store.transaction.commit()
            self._note()
            self._count("transactions")
            return
        store.transaction.begin_part()
        batch, self.open = self.open, self.transaction
        for _ in range(self.random.randint(0, 4)):
            self.random.choice((self._publish, self._settle_in_order, self._define))()
        self.open = batch
        store.transaction.end_part()
        self._count("parts")

    def _note_settled(self, queue: OwnedQueue, first: int, end: int) -> None:
        super()._note_settled(queue, first, end)
        if queue.log.durable and self.open is not self.transaction:
            # It may be a message of the transaction, which is not there before.
            self.transaction.append(("settle", queue.log.number, first, end))
