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
        self.later: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def call_later(self, _delay: float, callback: Callable[[], None]) -> None:
        self.later.append(callback)

    def run_soon(self) -> None:
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()


class Connection:
    """Counts its flushes and its slices of input."""

    def __init__(self) -> None:
        self.flushes = 0
        self.slices = 0
        self.held = True

    def flush(self) -> None:
        self.flushes += 1

    def process_input(self) -> None:
        self.slices += 1

    def may_end_throttling(self) -> bool:
        return not self.held


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
    loop.run_soon()
    scheduler.run_requested()
    assert (connection.flushes, len(commits)) == (1, 1)


def test_a_throttled_publisher_waits_for_the_timer_or_until_its_queue_was_consumed() -> None:
    loop, publisher, consumer = Callbacks(), Connection(), Connection()
    scheduler = LoopScheduler(cast("asyncio.AbstractEventLoop", loop), Clock(), lambda: None)
    scheduler.schedule_throttled_input(publisher)
    scheduler.request_flush(consumer)
    loop.run_soon()
    loop.run_soon()
    assert publisher.slices == 0

    publisher.held = False
    scheduler.request_flush(consumer)
    loop.run_soon()
    loop.run_soon()
    assert publisher.slices == 1

    publisher.held = True
    scheduler.schedule_throttled_input(publisher)
    assert len(loop.later) == 1
    loop.later.pop()()
    loop.run_soon()
    assert publisher.slices == 2
