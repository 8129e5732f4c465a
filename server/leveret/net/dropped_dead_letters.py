"""Log lines for dropped dead letters: at most one for each queue and minute."""

from typing import Final

from leveret.engine.broker import Broker
from leveret.logging import get_logger

INTERVAL_S: Final = 60.0
"""Seconds between two lines about the same queue."""

logger = get_logger()


class DroppedDeadLetterReport:
    """Reports the dead letters of one broker that no queue took."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._reported_at: dict[tuple[str, str], float] = {}
        """Time of the last line, by virtual host and queue."""

    def report(self, now: float) -> None:
        """Write the lines that are due.

        :param now: seconds, monotonic.
        """
        self._reported_at = {
            key: at for key, at in self._reported_at.items() if now - at < INTERVAL_S
        }
        for vhost in self._broker.vhosts.values():
            lost = vhost.dead_letters.dropped
            for queue in [name for name in lost if (vhost.name, name) not in self._reported_at]:
                self._reported_at[vhost.name, queue] = now
                logger.warning(
                    "dead letters dropped: no queue takes them; check the queue's"
                    " x-dead-letter-exchange and its bindings",
                    queue=queue,
                    vhost=vhost.name,
                    messages=lost.pop(queue),
                )
