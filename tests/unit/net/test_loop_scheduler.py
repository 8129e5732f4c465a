"""The schedule of the event loop, with a loop whose callbacks are run by hand."""

import asyncio
from collections.abc import Callable
from typing import cast

from leveret.engine.values.clock import Clock
from leveret.net.loop_scheduler import LoopScheduler


class Callbacks:
    """The part of an event loop that the scheduler uses here."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)


class Connection:
    """Counts its flushes."""

    def __init__(self) -> None:
        self.flushes = 0

    def flush(self) -> None:
        self.flushes += 1

    def process_input(self) -> None:
        raise AssertionError("there is no input")


def test_what_a_callback_caused_is_sent_without_another_poll() -> None:
    """What a commit releases is flushed at once, and the iteration that was requested for it is not
    run again."""
    loop, commits, connection = Callbacks(), list[None](), Connection()
    scheduler = LoopScheduler(
        cast("asyncio.AbstractEventLoop", loop), Clock(), lambda: commits.append(None)
    )
    scheduler.request_flush(connection)
    scheduler.run_requested()
    assert (connection.flushes, len(commits)) == (1, 1)
    for callback in loop.soon:
        callback()
    scheduler.run_requested()
    assert (connection.flushes, len(commits)) == (1, 1)
