"""What must hold, checked at each step."""

from collections.abc import Mapping, Sequence
from typing import Final

from tests.cluster.simulation.rows import Record


class Violated(AssertionError):
    """Something happened that must not happen."""


class Oracle:
    """Knows what was confirmed, and by whom."""

    def __init__(self, stores: int) -> None:
        self.confirmed: Final[list[dict[int, Record]]] = [{} for _ in range(stores)]
        self._recovered: Final[list[list[tuple[int, frozenset[int]]]]] = [[] for _ in range(stores)]
        """For each store the epochs, and which records each of their owners has found."""
        self.failovers = 0

    def appended(self, store: int, record: Record, epoch: int) -> None:
        """A record was committed, while the head had an epoch."""
        if record.epoch != epoch:
            raise Violated(
                f"store {store}: an append of epoch {record.epoch} was committed after the"
                f" takeover with epoch {epoch}"
            )

    def recovered(self, store: int, epoch: int, records: Mapping[int, Record]) -> None:
        """A new owner has read the store."""
        self._check(store, records, f"the owner with epoch {epoch}")
        self._recovered[store].append((epoch, frozenset(records)))

    def confirmed_record(self, store: int, record: Record) -> None:
        """A client was told that a record is safe."""
        for epoch, found in self._recovered[store]:
            if epoch > record.epoch and record.number not in found:
                raise Violated(
                    f"store {store}: record {record.number} of epoch {record.epoch} was confirmed,"
                    f" and the owner with epoch {epoch} has not found it"
                )
        self.confirmed[store][record.number] = record

    def failed_over(self, records: Sequence[Mapping[int, Record]]) -> None:
        """There is another primary."""
        self.failovers += 1
        for store, found in enumerate(records):
            self._check(store, found, "the new primary")

    def _check(self, store: int, records: Mapping[int, Record], where: str) -> None:
        for number, record in self.confirmed[store].items():
            if records.get(number) != record:
                raise Violated(f"store {store}: {where} has not the confirmed record {number}")
