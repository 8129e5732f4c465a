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
"""Seconds of the machine that time travel may take: many times what any suite of tests needs."""

SETTLE_ITERATIONS: Final = 2
"""Iterations of the event loop after work: results of the store's threads, and deliveries."""

DISK_POLL_S: Final = 0.001
"""Seconds between two looks at whether the disk has done what is waited for."""


async def travel(node: Node, milliseconds: int, within_s: float = DEADLINE_S) -> None:
    """Advance the clock of a node, and have everything done that is due meanwhile.

    :param milliseconds: zero or more.
    :param within_s: seconds of the machine that this may take.
    :raises BrokerError: if it takes longer.
    """
    broker, clock = node.broker, node.server.clock
    clock.skip(0)
    target = int(broker.clock.now) + milliseconds
    deadline = time.monotonic() + within_s
    while True:
        await _settle(node, deadline)
        due, now = int(broker.timers.next_due()), int(broker.clock.now)
        if due == 0 or due > max(target, now):
            break
        clock.skip(max(0, due - now))
    clock.skip(max(0, target - int(broker.clock.now)))
    await _settle(node, deadline)


async def _settle(node: Node, deadline: float) -> None:
    """Run the timers that are due and the work of the broker, and what these lead to.

    :param deadline: seconds of the monotonic clock.
    :raises BrokerError: if it is over.
    """
    broker = node.broker
    iterations = SETTLE_ITERATIONS
    while iterations:
        iterations -= 1
        due = int(broker.timers.next_due())
        if due != 0 and due <= int(broker.clock.now):
            node.server.clock.run_due()
            iterations = SETTLE_ITERATIONS
        node.server.run_requested()
        waits = _waits_for_disk(node)
        if waits or not broker.work.is_empty():
            iterations = SETTLE_ITERATIONS
        await asyncio.sleep(DISK_POLL_S if waits else 0)
        if time.monotonic() > deadline:
            raise BrokerError(
                "time travel takes too long: something is due again and again, or there is very"
                " much of it"
            )


def _waits_for_disk(node: Node) -> bool:
    """Whether something goes on when the disk has done its part."""
    storage, broker = node.storage, node.broker
    if storage is None or storage.full:
        return False
    return (
        not storage.is_idle()
        or broker.work.has_paused()
        or any(vhost.publisher.waiting_dead_letters() for vhost in broker.vhosts.values())
    )
