"""How many messages have left queues without a client taking them, by reason."""

from mypy_extensions import i64

from leveret.engine.queues.dead_letter import DELIVERY_LIMIT, EXPIRED, MAX_LENGTH, REJECTED


class DropCounters:
    """Of one queue, or of all queues that a virtual host ever had."""

    def __init__(self) -> None:
        self.expired: i64 = 0
        """Messages whose time to live was over."""
        self.maxlen: i64 = 0
        """Messages beyond the limit of the queue's length, or refused as dead letters for it."""
        self.rejected: i64 = 0
        """Messages that a client rejected without requeue."""
        self.delivery_limit: i64 = 0
        """Messages that had been delivered too often."""
        self.dead_lettered: i64 = 0
        """Those of all these that became dead letters, rather than be dropped."""

    def count(self, reason: bytes, dead_lettered: bool) -> None:
        """Count a message, with its reason as the header `x-death` says it."""
        if reason == EXPIRED:
            self.expired += 1
        elif reason == MAX_LENGTH:
            self.maxlen += 1
        elif reason == REJECTED:
            self.rejected += 1
        elif reason == DELIVERY_LIMIT:
            self.delivery_limit += 1
        if dead_lettered:
            self.dead_lettered += 1
