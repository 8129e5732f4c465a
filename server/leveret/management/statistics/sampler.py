"""The sampler: has everything looked at once a second, and samples the totals.

It is a timer and a piece of work of the broker. If a look takes longer than a second, because the
broker has other things to do, the next one begins a second later.
"""

from collections.abc import Callable

from leveret.engine.broker import Broker
from leveret.engine.values.history import History
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.timers import Timer
from leveret.engine.values.work import Work
from leveret.engine.vhost import VirtualHost
from leveret.management.statistics.sampling import (
    BROKER,
    NODE,
    SECOND,
    VHOST,
    Look,
    Looked,
    broker_values,
    happened_on,
    note_change,
    sample,
    vhost_values,
)
from leveret.protocol.connections.connection import Connection


def _no_node() -> list[int]:
    return [0] * int(NODE.width)


class Sampler(Timer):
    """Samples one broker."""

    def __init__(
        self,
        broker: Broker,
        connections: Callable[[], list[Connection]],
        node: Callable[[], list[int]] = _no_node,
    ) -> None:
        """
        :param connections: returns those that are open, in any order.
        :param node: returns the series of the node: `NODE`.
        """
        super().__init__()
        self._broker = broker
        self.connections = connections
        self._look: Look | None = None
        self.history = History(BROKER, int(broker.clock.now))
        """Of the broker."""
        self.node = node
        self.node_history = History(NODE, int(broker.clock.now))
        self._found: dict[str, Looked] = {}

    def start(self) -> None:
        """Begin, at the next full second."""
        now = int(self._broker.clock.now)
        self._broker.timers.set(self, (now // SECOND + 1) * SECOND)

    def stop(self) -> None:
        """Sample no more."""
        self._broker.timers.stop(self)

    def ring(self) -> None:
        if self._look is None or self._look.is_done:
            broker = self._broker
            now = int(broker.clock.now)
            vhosts = list(broker.vhosts.values())
            self._look = Look(vhosts.copy(), self.connections(), now)
            broker.work.add(_Totals(self, self._look, vhosts))
        self.start()

    def found(self, vhost: str) -> Looked:
        """What the last look has found in a virtual host: a second old at most, if the broker has
        time."""
        return self._found.get(vhost) or Looked()

    def found_in_all(self) -> Looked:
        """What the last look has found in all virtual hosts."""
        total = Looked()
        for vhost in self._broker.vhosts:
            found = self.found(vhost)
            total.ready += found.ready
            total.unacknowledged += found.unacknowledged
            total.recv_oct += found.recv_oct
            total.send_oct += found.send_oct
        return total

    def values(self) -> list[int]:
        """The series of the broker: `BROKER`."""
        found, broker = self.found_in_all(), self._broker
        return broker_values(broker.counters(), broker.churn, found.ready, found.unacknowledged)

    def sample_vhost(self, vhost: VirtualHost, look: Look) -> None:
        """Sample the totals of a virtual host."""
        found = look.found.get(vhost.name)
        if found is None:
            return
        counters = vhost.counters
        happened = happened_on(counters) + found.recv_oct + found.send_oct
        happened += found.ready + found.unacknowledged
        if note_change(counters, happened, VHOST, look.now):
            sample(counters, vhost_values(vhost, found), look.now)

    def end(self, look: Look) -> None:
        """Sample the broker and the node, once all has been looked at."""
        self._found = look.found
        now = int(look.now)
        if self.history.is_due(now):
            self.history.record(now, self.values())
            self.node_history.record(now, self.node())


class _Totals(Work):
    """A look, and what is sampled when it is done."""

    def __init__(self, sampler: Sampler, look: Look, vhosts: list[VirtualHost]) -> None:
        self._sampler = sampler
        self._look = look
        self._vhosts = vhosts

    def run(self, time_slice: TimeSlice) -> bool:
        if not self._look.is_done and not self._look.run(time_slice):
            return False
        while self._vhosts:
            self._sampler.sample_vhost(self._vhosts.pop(), self._look)
            if time_slice.is_over():
                return False
        self._sampler.end(self._look)
        return True

    def give_up(self) -> None:
        self._look.give_up()
