"""Log lines for what the broker publishes itself, and no queue took: dead letters, and messages
whose delay is over. At most one for each queue or delayed exchange and minute."""

from typing import Final

from leveret.engine.broker import Broker
from leveret.logging import get_logger

INTERVAL_S: Final = 60.0
"""Seconds between two lines about the same queue or exchange."""

logger = get_logger()


class DroppedMessageReport:
    """Reports the dead letters and delayed messages of one broker that no queue took."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._reported_at: dict[tuple[str, str, str], float] = {}
        """Time of the last line, by virtual host, kind, and name of the queue or exchange."""

    def report(self, now: float) -> None:
        """Write the lines that are due.

        :param now: seconds, monotonic.
        """
        self._reported_at = {
            key: at for key, at in self._reported_at.items() if now - at < INTERVAL_S
        }
        for vhost in self._broker.vhosts.values():
            lost = vhost.dead_letters.dropped
            for queue in self._due(vhost.name, "queue", lost, now):
                logger.warning(
                    "dead letters dropped: no queue takes them; check the queue's"
                    " x-dead-letter-exchange and its bindings",
                    queue=queue,
                    vhost=vhost.name,
                    messages=lost.pop(queue),
                )
            lost = vhost.delayed_dropped
            for exchange in self._due(vhost.name, "exchange", lost, now):
                logger.warning(
                    "delayed messages dropped: no queue takes them; check the bindings of the"
                    " exchange, the limits of its queues, and its alternate-exchange",
                    exchange=exchange,
                    vhost=vhost.name,
                    messages=lost.pop(exchange),
                )

    def _due(self, vhost: str, kind: str, lost: dict[str, int], now: float) -> list[str]:
        """The names of which a line is due, and is written now."""
        names = [name for name in lost if (vhost, kind, name) not in self._reported_at]
        for name in names:
            self._reported_at[vhost, kind, name] = now
        return names
