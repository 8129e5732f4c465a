"""The walk of a message over exchanges: from the one published to, to the sinks it reaches.

Exchange-to-exchange bindings are followed, cycles are cut, a sink is found once however many paths
lead to it, and a message that an exchange does not match goes to its alternate exchange (RabbitMQ:
Exchange to Exchange Bindings, Alternate Exchanges).

A walk over many exchanges, with many routing keys or to many destinations is long, and so is the
match of hostile topic patterns. It is a `Work`, which can be interrupted; what is bound or deleted
meanwhile may or may not count. `routes.py` caches what a walk has found.
"""

from collections.abc import Mapping

from leveret.engine.routing.exchanges.base import Destination, Exchange
from leveret.engine.routing.sink import Sink
from leveret.engine.values.message import Message
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work


class RouteWalk(Work):
    """The walk of one message, or of all messages with one routing key."""

    def __init__(
        self,
        exchanges: Mapping[str, Exchange],
        queues: Mapping[str, Sink],
        start: str,
        routing_keys: list[str],
        message: Message | None,
    ) -> None:
        """
        :param start: the name of an exchange; not the default exchange.
        :param routing_keys: the one it was published with, and those in CC and BCC.
        :param message: None to find the sinks of all messages with these keys.
        """
        self.reached: dict[Sink, None] = {}
        """The sinks that were found, in order."""
        self.needs_message = False
        """Whether the sinks depend on the message, and there is none: they are not found."""
        self._exchanges = exchanges
        self._queues = queues
        self._keys = routing_keys
        self._message = message
        self._seen = {start}
        self._to_visit = [start]
        self._to_record: list[Exchange] = []
        """The visited exchanges that remember messages."""
        self._exchange: Exchange | None = None
        """The exchange that is being visited; None before the first and between two."""
        self._next_key = 0
        self._matching: Work | None = None
        """The match of a key that goes on."""
        self._matched: list[Destination] = []
        self._next_matched = 0
        self._leads_on = False
        """Whether the exchange has matched a destination that still exists."""

    def run(self, time_slice: TimeSlice) -> bool:
        while True:
            exchange = self._exchange
            if exchange is None:
                if not self._begin_exchange():
                    self._record()
                    return True
            elif not (self._match(exchange, time_slice) and self._visit(time_slice)):
                return False
            else:
                self._end_exchange(exchange)
            # Of a chain of exchanges that match little, each is a unit of work, too.
            if self._to_visit and self._exchange is None and time_slice.is_over():
                return False

    def _begin_exchange(self) -> bool:
        """Begin to visit the next exchange.

        :returns: False if the walk is done.
        """
        if self.needs_message or not self._to_visit:
            return False
        exchange = self._exchanges.get(self._to_visit.pop())
        if exchange is None:
            return True
        if exchange.needs_message:
            if self._message is None:
                self.needs_message = True
                return False
            sink = exchange.intercept(self._message)
            if sink is not None:
                self.reached[sink] = None
                return True
        self._exchange = exchange
        self._next_key = 0
        self._matched = []
        self._next_matched = 0
        self._leads_on = False
        return True

    def _match(self, exchange: Exchange, time_slice: TimeSlice) -> bool:
        """Match the keys with the bindings of an exchange.

        :returns: False if the slice is over before all are matched.
        """
        count = len(self._keys) if exchange.uses_all_keys else 1
        while True:
            matching = self._matching
            if matching is not None:
                if not matching.run(time_slice):
                    return False
                self._matching = None
            if self._next_key == count:
                return True
            key = self._keys[self._next_key]
            self._next_key += 1
            self._matching = exchange.begin_match(key, self._message, self._matched, time_slice)
            if self._next_key < count and time_slice.is_over():
                return False

    def _visit(self, time_slice: TimeSlice) -> bool:
        """Add the queues among what the exchange matched, and note the exchanges to visit.

        :returns: False if the slice is over before the last one.
        """
        matched = self._matched
        while self._next_matched < len(matched):
            destination = matched[self._next_matched]
            self._next_matched += 1
            if not destination.deleted:
                self._leads_on = True
                if isinstance(destination, Exchange):
                    self._visit_later(destination.name)
                else:
                    queue = self._queues.get(destination.name)
                    if queue is not None:
                        self.reached[queue] = None
            if time_slice.is_over():
                return self._next_matched == len(matched)
        return True

    def _end_exchange(self, exchange: Exchange) -> None:
        if exchange.records:
            self._to_record.append(exchange)
        if not self._leads_on and exchange.alternate:
            self._visit_later(exchange.alternate)
        self._exchange = None

    def _record(self) -> None:
        """Have the exchanges remember the message that is now published.

        Not before: if its connection is lost during the walk, the message that is sent again must
        be no duplicate.
        """
        message = self._message
        if message is not None:
            for exchange in self._to_record:
                exchange.record(message)

    def _visit_later(self, name: str) -> None:
        if name not in self._seen:
            self._seen.add(name)
            self._to_visit.append(name)
