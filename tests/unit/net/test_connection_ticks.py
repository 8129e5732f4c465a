"""Ticks: every connection gets one a pass, and no iteration of the loop has many."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import pytest

from leveret.engine.values.time_slice import TimeSlice
from leveret.limits import TICK_SLICE_CONNECTIONS
from leveret.net.connection_ticks import ConnectionTicks

ENDLESS_NS = 3_600_000_000_000
"""Nanoseconds of a slice that does not end in a test."""


class Handle:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """An event loop whose iterations the test runs."""

    def __init__(self) -> None:
        self.now = 1.0
        self.poll: Callable[[], None] = lambda: None
        """What arrives at the sockets before the next iteration."""
        self._due: list[tuple[Callable[[], None], Handle]] = []

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[[], None]) -> Handle:
        handle = Handle()
        self._due.append((callback, handle))
        return handle

    def iterate(self) -> bool:
        """Run what is due; False if that is nothing."""
        due, self._due = self._due, []
        self.poll()
        for callback, handle in due:
            if not handle.cancelled:
                callback()
        return any(not handle.cancelled for _, handle in due)


class Connection:
    def __init__(self) -> None:
        self.ticks: list[float] = []

    def tick(self, now: float) -> None:
        self.ticks.append(now)


@pytest.fixture
def loop() -> Loop:
    return Loop()


def ticks_of(
    loop: Loop, connections: set[Connection], slice_ns: int = ENDLESS_NS
) -> ConnectionTicks:
    return ConnectionTicks(
        cast("asyncio.AbstractEventLoop", loop), connections, TimeSlice(), slice_ns
    )


def ticked(connections: set[Connection]) -> int:
    return sum(len(each.ticks) for each in connections)


def test_a_slice_ends_with_its_time(loop: Loop) -> None:
    connections = {Connection() for _ in range(TICK_SLICE_CONNECTIONS)}
    ticks_of(loop, connections, 0).start_pass()
    loop.iterate()
    assert 0 < ticked(connections) < TICK_SLICE_CONNECTIONS
    while loop.iterate():
        pass
    assert all(len(each.ticks) == 1 for each in connections)


def test_few_connections_are_ticked_at_once(loop: Loop) -> None:
    connections = {Connection() for _ in range(3)}
    ticks_of(loop, connections).start_pass()
    loop.iterate()

    assert [each.ticks for each in connections] == [[1.0]] * 3
    assert not loop.iterate()


def test_many_connections_are_ticked_once_each_a_slice_an_iteration(loop: Loop) -> None:
    connections = {Connection() for _ in range(2 * TICK_SLICE_CONNECTIONS + 1)}
    ticks_of(loop, connections).start_pass()
    counts: list[int] = []
    while loop.iterate():
        counts.append(ticked(connections))

    assert counts == [TICK_SLICE_CONNECTIONS, 2 * TICK_SLICE_CONNECTIONS, len(connections)]
    assert all(len(each.ticks) == 1 for each in connections)


def test_each_slice_has_the_time_of_its_iteration(loop: Loop) -> None:
    connections = {Connection() for _ in range(TICK_SLICE_CONNECTIONS + 1)}
    ticks_of(loop, connections).start_pass()
    loop.iterate()
    loop.now = 1.25
    loop.iterate()

    assert sorted(each.ticks[0] for each in connections)[-2:] == [1.0, 1.25]


def test_a_connection_that_is_closed_meanwhile_is_not_ticked(loop: Loop) -> None:
    connections = {Connection() for _ in range(TICK_SLICE_CONNECTIONS + 2)}
    ticks_of(loop, connections).start_pass()
    loop.iterate()
    closed = next(each for each in connections if not each.ticks)
    connections.discard(closed)
    while loop.iterate():
        pass

    assert closed.ticks == []
    assert all(len(each.ticks) == 1 for each in connections)


def test_a_pass_that_is_not_over_is_not_started_again(loop: Loop) -> None:
    connections = {Connection() for _ in range(TICK_SLICE_CONNECTIONS + 1)}
    ticks = ticks_of(loop, connections)
    ticks.start_pass()
    ticks.start_pass()
    while loop.iterate():
        pass
    assert ticked(connections) == len(connections)

    ticks.start_pass()
    loop.iterate()
    assert ticked(connections) > len(connections)


def test_a_connection_whose_tick_fails_takes_no_tick_from_the_others(loop: Loop) -> None:
    class Failing(Connection):
        def tick(self, now: float) -> None:
            raise OSError

    connections = {Connection() for _ in range(TICK_SLICE_CONNECTIONS)}
    ticks = ticks_of(loop, connections | {Failing()})
    runs: list[Callable[[], object]] = [ticks.start_pass]
    while ticked(connections) < len(connections):
        with suppress(OSError):
            (runs.pop() if runs else loop.iterate)()

    assert all(len(each.ticks) == 1 for each in connections)


def test_a_stopped_pass_ticks_no_further_connection(loop: Loop) -> None:
    connections = {Connection() for _ in range(TICK_SLICE_CONNECTIONS + 1)}
    ticks = ticks_of(loop, connections)
    ticks.start_pass()
    loop.iterate()
    ticks.stop()
    loop.iterate()

    assert ticked(connections) == TICK_SLICE_CONNECTIONS


def test_what_arrived_while_the_process_stood_still_is_read_before_the_ticks(loop: Loop) -> None:
    class Peer(Connection):
        received = 0
        received_at_tick = 0

        def receive(self) -> None:
            self.received += 1

        def tick(self, now: float) -> None:
            super().tick(now)
            self.received_at_tick = self.received

    peer = Peer()
    loop.poll = peer.receive
    # The timer of the ticks rings before the sockets are polled.
    ticks_of(loop, {peer}).start_pass()
    assert peer.ticks == []

    loop.iterate()
    assert (len(peer.ticks), peer.received_at_tick) == (1, 1)
