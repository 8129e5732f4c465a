"""Log lines for what was dropped, though no client asked for it: dead letters, and messages whose
delay is over, that no queue took, at most a line for each queue or delayed exchange and minute; and
keys of deduplication for which there is no memory, at most a line a minute.

A hundred thousand queues may have lost some, so the lines are written in slices of time.
"""

from collections import OrderedDict
from typing import Final

from leveret.engine.broker import Broker
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.engine.vhost import VirtualHost
from leveret.logging import get_logger

INTERVAL_S: Final = 60.0
"""Seconds between two lines about the same queue or exchange."""

DEAD_LETTERS: Final = "queue"
DELAYED: Final = "exchange"
"""What was lost, as the field that the log names its origin by."""

EVENTS: Final = {
    DEAD_LETTERS: "dead letters dropped: no queue takes them; check the queue's"
    " x-dead-letter-exchange and its bindings",
    DELAYED: "delayed messages dropped: no queue takes them; check the bindings of the"
    " exchange, the limits of its queues, and its alternate-exchange",
}

logger = get_logger()


class DroppedMessageReport(Work):
    """Reports the dead letters and delayed messages of one broker that no queue took."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._reported_at: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        """Time of the last line, by virtual host, kind, and name of the queue or exchange; the
        oldest is first."""
        self._keys_reported_at = -INTERVAL_S
        self._now = 0.0
        self._lists: list[tuple[VirtualHost, str, list[str]]] = []
        """By virtual host and kind, the names of those of which a line may be due, last first."""
        self._goes_on_later = False
        """Whether the report is written in later slices."""

    def report(self, now: float) -> None:
        """Write the lines that are due, many of them in later slices. A report that is still being
        written goes on instead.

        :param now: seconds, monotonic.
        """
        self._report_keys(now)
        if self._goes_on_later:
            return
        self._now = now
        for vhost in self._broker.vhosts.values():
            for kind, lost in _lost(vhost).items():
                if lost:
                    self._lists.append((vhost, kind, list(reversed(lost))))
        if not self.run(self._broker.time_slice):
            self._goes_on_later = True
            self._broker.work.add(self)

    def run(self, time_slice: TimeSlice) -> bool:
        while self._forget_one() or self._look_at_one():
            if time_slice.is_over_now():
                return False
        self._goes_on_later = False
        return True

    def _report_keys(self, now: float) -> None:
        windows = self._broker.memory.windows
        if windows.dropped and now - self._keys_reported_at >= INTERVAL_S:
            self._keys_reported_at = now
            logger.warning(
                "deduplication keys dropped: together they take more than their share of"
                " memory.limit; duplicates of messages with these keys are accepted",
                keys=int(windows.dropped),
                share_bytes=int(windows.limit),
            )
            windows.dropped = 0

    def _forget_one(self) -> bool:
        """Forget a line that was written a minute ago; whether there was one."""
        reported_at = self._reported_at
        if not reported_at or self._now - next(iter(reported_at.values())) < INTERVAL_S:
            return False
        reported_at.popitem(last=False)
        return True

    def _look_at_one(self) -> bool:
        """Write the line about the next queue or exchange, if it is due; whether there was one."""
        while self._lists and not self._lists[-1][2]:
            self._lists.pop()
        if not self._lists:
            return False
        vhost, kind, names = self._lists[-1]
        name = names.pop()
        key = (vhost.name, kind, name)
        if key not in self._reported_at:
            self._reported_at[key] = self._now
            messages = _lost(vhost)[kind].pop(name)
            logger.warning(EVENTS[kind], **{kind: name}, vhost=vhost.name, messages=messages)
        return True


def _lost(vhost: VirtualHost) -> dict[str, dict[str, int]]:
    """What a virtual host has lost, by kind and name."""
    return {DELAYED: vhost.delayed_dropped, DEAD_LETTERS: vhost.dead_letters.dropped}
