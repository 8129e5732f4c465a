"""Removing a virtual host with all that it has."""

from leveret.engine.lifecycle.exchanges import remove_exchange
from leveret.engine.lifecycle.queues import remove_queue
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.engine.vhost import VirtualHost


class ContentsRemoval(Work):
    """Removes the exchanges and queues of a virtual host that was deleted, with their messages.

    The deletion of the virtual host is one record of the log, so these have none of their own.
    """

    def __init__(self, vhost: VirtualHost) -> None:
        vhost.definition_log = None
        self._vhost = vhost

    def run(self, time_slice: TimeSlice) -> bool:
        vhost = self._vhost
        while vhost.exchanges:
            exchange = next(iter(vhost.exchanges.values()))
            remove_exchange(vhost, exchange)
            if time_slice.is_over_now():
                return False
        while vhost.queues:
            remove_queue(vhost, next(iter(vhost.queues.values())))
            if time_slice.is_over_now():
                return False
        return True


def remove_contents(vhost: VirtualHost) -> None:
    """Remove everything of a virtual host at once, at a start."""
    vhost.work.add(ContentsRemoval(vhost))
    vhost.work.run_all(vhost.time_slice)
