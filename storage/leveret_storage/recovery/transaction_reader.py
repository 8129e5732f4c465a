"""Reading a transaction, whose entries are in parts of several batches of one log segment.

Its messages, settlements and definitions count when it is committed, in the order in which they
are, as if they were all where that is said. If it is not committed in its segment, the process
ended before that: they never count. What else is in its parts counts where it is.
"""

from typing import Final

from leveret_storage.errors import Damaged
from leveret_storage.format import entries
from leveret_storage.format.entries import Entry

IN_TRANSACTION: Final = (entries.MESSAGE, entries.SETTLED, entries.DEFINITION)
"""The kinds of entries that belong to the transaction, where they are in a part of it."""


class TransactionReader:
    """The transaction of one log segment that is being read; there is one at a time."""

    def __init__(self) -> None:
        self._waiting: list[Entry] = []
        """Entries of parts that were read, of a transaction that is not committed yet."""

    def effective(self, batch: list[Entry]) -> list[Entry]:
        """The entries that count with a batch: all but for those that wait, and those that have
        waited if the transaction is committed in it.

        :raises Damaged: if a part has no beginning or no end.
        """
        for entry in batch:
            if entry.kind == entries.TRANSACTION:
                return self._effective(batch)
        return batch

    def _effective(self, batch: list[Entry]) -> list[Entry]:
        found: list[Entry] = []
        in_part = False
        for entry in batch:
            if entry.kind == entries.TRANSACTION:
                if in_part != (entry.first == entries.PART_ENDED):
                    raise Damaged("a part of a transaction without a beginning or an end")
                in_part = entry.first == entries.PART_BEGUN
                if entry.first == entries.COMMITTED:
                    found += self._waiting
                    self._waiting = []
            elif in_part and entry.kind in IN_TRANSACTION:
                self._waiting.append(entry)
            else:
                found.append(entry)
        if in_part:
            raise Damaged("a part of a transaction without an end")
        return found
