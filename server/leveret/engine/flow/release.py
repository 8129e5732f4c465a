"""Releasing: a delayed message that is due is routed as if it had been published now.

Its publisher has its confirm already. So a message that all queues refuse goes to the alternate
exchange as well, if there is one, and not only a message that reaches no queue.
"""

from typing import Final

from mypy_extensions import i64

from leveret.engine.flow.publish import Publisher
from leveret.engine.routing.observer import Origin
from leveret.engine.routing.routes import Router
from leveret.engine.routing.sink import ACCEPTED, DEAD_LETTERED, REFUSED, Sink
from leveret.engine.values import properties
from leveret.engine.values.delay import with_delay_over
from leveret.engine.values.message import Message, exchange_and_key
from leveret.engine.values.text import text_of
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.limits import FAN_OUT_AT_ONCE

NOT_DROPPED: Final = ACCEPTED | DEAD_LETTERED


class Release(Work):
    """Publishes a delayed message, with the bindings that its exchange has now.

    Its time to live begins now; so does that of a message whose queue has one. A persistent message
    is in one batch of the log with all queues that take it: the last call of `run` publishes it.
    Another one is published to very many queues in slices.
    """

    def __init__(
        self,
        publisher: Publisher,
        router: Router,
        dropped: dict[str, int],
        exchange: str,
        message: Message,
        now: i64,
    ) -> None:
        """:param dropped: messages that no queue took, nor refused as a dead letter, by the name of
        their exchange; this one is counted there if it is one of them.
        """
        ttl = properties.expiration(message.header)
        expires_at = now + int(ttl) if ttl is not None else 0
        header = with_delay_over(message.header)
        octets = [exchange_and_key(message.route)[1], *properties.copy_keys(message.header)]
        self._publisher = publisher
        self._router = router
        self._dropped = dropped
        self._exchange = exchange
        self._published_to = exchange
        """The exchange of the walk: this one, or its alternate exchange."""
        self._message = Message(
            message.route, header, message.body, message.persistent, now, expires_at
        )
        self._keys = [text_of(key) for key in octets]
        self._walk = router.walk(exchange, self._keys, self._message)
        self._was_refused = False
        """Whether the walk is that of the alternate exchange."""
        self._sinks: list[Sink] | None = None
        """The sinks that the walk has found; None before."""
        self._next = 0
        """The first sink that it was not published to."""
        self._outcome: i64 = 0

    def run(self, time_slice: TimeSlice) -> bool:
        while True:
            if self._sinks is None:
                if not self._walk.run(time_slice):
                    return False
                self._sinks = [sink for sink in self._walk.reached if not sink.deleted]
                self._router.tell(
                    self._published_to, self._keys, self._message, self._sinks, Origin.DELAY
                )
            if not self._publish(self._sinks, time_slice):
                return False
            if self._outcome & REFUSED != 0:
                self._router.tell_refused(self._message)
            if self._outcome & NOT_DROPPED != 0:
                return True
            if not self._begin_alternate():
                self._dropped[self._exchange] = self._dropped.get(self._exchange, 0) + 1
                return True

    def _publish(self, sinks: list[Sink], time_slice: TimeSlice) -> bool:
        """Publish it to the sinks; whether that is done."""
        if self._message.persistent or len(sinks) <= FAN_OUT_AT_ONCE:
            self._outcome |= self._publisher.publish_again(self._message, sinks)
            return True
        while self._next < len(sinks):
            part = sinks[self._next : self._next + FAN_OUT_AT_ONCE]
            self._next += FAN_OUT_AT_ONCE
            part = [sink for sink in part if not sink.deleted]
            self._outcome |= self._publisher.publish_again(self._message, part)
            if self._next < len(sinks) and time_slice.is_over_now():
                return False
        return True

    def _begin_alternate(self) -> bool:
        """Begin with the alternate exchange, because all queues have refused it.

        :returns: False if there were no queues, or there is no such exchange.
        """
        refused_by = self._router.exchanges.get(self._exchange)
        if self._was_refused or not self._sinks or refused_by is None or not refused_by.alternate:
            return False
        self._was_refused = True
        self._published_to = refused_by.alternate
        self._outcome = 0
        self._walk = self._router.walk(refused_by.alternate, self._keys, self._message)
        self._sinks = None
        self._next = 0
        return True
