"""Dead letters that had nowhere to go, told in the log: a line a queue and minute at most."""

from typing import Final

from leveret.engine.broker import Broker
from leveret.logging import get_logger

INTERVAL_S: Final = 60.0

log = get_logger()


class Losses:
    """Looks after the losses of one broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._told: dict[tuple[str, str], float] = {}
        """When a line was written last, by virtual host and queue."""

    def report(self, now: float) -> None:
        """Write the lines that are due. `now` is monotonic, in seconds."""
        self._told = {key: at for key, at in self._told.items() if now - at < INTERVAL_S}
        for vhost in self._broker.vhosts.values():
            lost = vhost.dead_letters.lost
            for queue in [name for name in lost if (vhost.name, name) not in self._told]:
                self._told[vhost.name, queue] = now
                log.warning(
                    "dead letters had nowhere to go",
                    queue=queue,
                    vhost=vhost.name,
                    messages=lost.pop(queue),
                )
