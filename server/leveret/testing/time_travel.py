"""Time travel: the clock of a broker is advanced from one timer that is due to the next.

What becomes due is done at the time at which it is due, so that a message that waits in one queue
after the other for a minute each has passed through three of them after three minutes. Clients do
nothing in between: their time is that of the machine, as is that of heartbeats and sockets.
"""

import asyncio
import time
from typing import Final

from leveret.node import Node
from leveret.testing.errors import BrokerError

DEADLINE_S: Final = 30.0
"""Seconds of the machine that time travel may take: then something is due again and again."""

SETTLE_ITERATIONS: Final = 2
"""Iterations of the event loop after work: results of the store's threads, and deliveries."""


async def travel(node: Node, milliseconds: int) -> None:
    """Advance the clock of a node, and have everything done that is due meanwhile.

    :param milliseconds: zero or more.
    :raises BrokerError: if it is negative, or takes more than DEADLINE_S.
    """
    if milliseconds < 0:
        raise BrokerError("time cannot go back: give a number of seconds from 0")
    broker, clock = node.broker, node.server.clock
    clock.skip(0)
    target = int(broker.clock.now) + milliseconds
    deadline = time.monotonic() + DEADLINE_S
    await _settle(node)
    while True:
        due = int(broker.timers.next_due())
        now = int(broker.clock.now)
        if due == 0 or due > target:
            break
        if due > now:
            clock.skip(due - now)
        await _settle(node)
        if time.monotonic() > deadline:
            left = (target - int(broker.clock.now)) / 1000
            raise BrokerError(
                f"{DEADLINE_S:g} s were not enough to advance by {milliseconds / 1000:g} s:"
                f" {left:g} s are left, in which something is due again and again, such as a"
                " message that goes round in a circle of queues with a short time to live"
            )
    clock.skip(max(0, target - int(broker.clock.now)))
    await _settle(node)


async def _settle(node: Node) -> None:
    """Run the timers that are due and the work of the broker, and what these lead to."""
    broker = node.broker
    iterations = SETTLE_ITERATIONS
    while iterations:
        iterations -= 1
        due = int(broker.timers.next_due())
        if due != 0 and due <= int(broker.clock.now):
            node.server.clock.run_due()
            iterations = SETTLE_ITERATIONS
        if not broker.work.is_empty():
            iterations = SETTLE_ITERATIONS
        node.server.run_requested()
        await asyncio.sleep(0)
