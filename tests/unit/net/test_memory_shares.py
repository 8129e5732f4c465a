"""The shares of connections in an alarm: who is closed, and who is named."""

from typing import Any

from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work, WorkQueue
from leveret.net.memory_shares import LargestHolder, MemoryShares
from leveret.protocol.connections.held_memory import HeldMemory

MEGABYTE = 1024 * 1024
LIMIT = 400 * MEGABYTE
NOTHING = HeldMemory(0, 0, 0, 0, False)


class FakeHolder:
    """A connection that holds what the test says, and that is its own logger."""

    def __init__(self, held: HeldMemory) -> None:
        self.held = held
        self.reason = ""
        self.lines: list[dict[str, Any]] = []

    @property
    def logger(self) -> "FakeHolder":
        return self

    def warning(self, event: str, **fields: object) -> None:
        self.lines.append(fields)

    def held_memory(self) -> HeldMemory:
        return self.held

    def force_close(self, reason: str) -> None:
        self.reason = reason


def incomplete(megabytes: int) -> FakeHolder:
    return FakeHolder(NOTHING._replace(incomplete_bytes=megabytes * MEGABYTE))


def run(work: Work) -> None:
    queue = WorkQueue()
    queue.add(work)
    queue.run_all(TimeSlice())


def closed(*holders: FakeHolder) -> list[bool]:
    """Which of the connections are closed."""
    ends: list[bool] = []
    run(MemoryShares(holders, LIMIT, lambda: ends.append(True)))
    assert ends == [True]
    return [bool(holder.reason) for holder in holders]


def test_nobody_is_closed_while_all_hold_less_than_a_quarter_of_the_limit() -> None:
    assert closed(incomplete(90), incomplete(9)) == [False, False]


def test_who_holds_more_than_its_share_is_closed() -> None:
    large, small, idle = incomplete(90), incomplete(20), FakeHolder(NOTHING)
    assert closed(large, small, idle) == [True, False, False]
    assert f"{90 * MEGABYTE} bytes" in large.reason
    assert large.lines[0]["incomplete_bytes"] == 90 * MEGABYTE


def test_transactions_and_unread_replies_count_but_not_deliveries() -> None:
    transaction = FakeHolder(NOTHING._replace(uncommitted_bytes=200 * MEGABYTE))
    replies = FakeHolder(NOTHING._replace(unsent_bytes=200 * MEGABYTE))
    consumer = FakeHolder(NOTHING._replace(unsent_bytes=200 * MEGABYTE, consumes=True))
    assert closed(transaction, replies, consumer) == [True, True, False]


def test_the_largest_holder_is_named_once() -> None:
    consumer = FakeHolder(NOTHING._replace(unacknowledged_messages=1_000_000, consumes=True))
    holders = [incomplete(9), consumer, FakeHolder(NOTHING)]
    run(LargestHolder(holders, LIMIT))
    assert [len(holder.lines) for holder in holders] == [0, 1, 0]
    assert consumer.lines[0]["unacknowledged_messages"] == 1_000_000


def test_nobody_is_named_where_no_connection_holds_much() -> None:
    some = incomplete(20)
    run(LargestHolder([some], LIMIT))
    assert not some.lines


def test_connections_are_looked_at_and_closed_in_slices() -> None:
    holders = [incomplete(30) for _ in range(8)]
    shares, over = MemoryShares(holders, LIMIT, lambda: None), TimeSlice()
    slices = 1
    while not shares.run(over):
        before = sum(bool(holder.reason) for holder in holders)
        slices += 1
        assert before <= slices
    assert slices == 2 * len(holders)
    assert all(holder.reason for holder in holders)
