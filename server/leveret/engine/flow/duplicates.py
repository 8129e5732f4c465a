"""Where the duplicates of a deduplicating exchange go: to whoever publishes, one more queue."""

from typing import TYPE_CHECKING

from mypy_extensions import i64

from leveret.engine.persistence import definition_log
from leveret.engine.queues.queue import TAKEN, Queue
from leveret.engine.routing.exchanges.deduplicating import DeduplicatingExchange
from leveret.engine.values.message import Message

if TYPE_CHECKING:
    from leveret.engine.vhost import VirtualHost


class Duplicates(Queue):
    """Takes every message, and keeps none."""

    def __init__(self, vhost: "VirtualHost", exchange: DeduplicatingExchange) -> None:
        super().__init__(exchange.name, host=vhost)
        self.refers_back = True
        self._vhost = vhost
        self._exchange = exchange

    def is_one(self, message: Message) -> bool:
        """Whether a message is a duplicate; if not, the next like it is one."""
        window = self._exchange.window
        key = window.key_of(message.header)
        if key is None:
            return False
        vhost = self._vhost
        now = vhost.clock.now
        if window.has(key, now):
            return True
        expires_at = window.add(key, message.header, now)
        if message.persistent and self._exchange.durable and vhost.definition_log is not None:
            seen = [(key, int(expires_at))]
            vhost.definition_log.define(
                definition_log.seen(vhost.name, True, self._exchange.name, seen)
            )
        return False

    def publish(self, message: Message) -> i64:
        return TAKEN
