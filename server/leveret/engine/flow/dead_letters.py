"""Dead letters: messages that a queue drops and that are published to another exchange.

RabbitMQ: Dead Letter Exchanges. As in RabbitMQ, a dead letter is dropped if no queue takes it, and
if it would cycle: it does not return to a queue where it died for another reason than a consumer's
reject.

A publish may make a dead letter of another message. The dead letter is pending until the published
message is written to the log, because both may go to the same queue. One message can make very many
others in a few queues, so they are published while the time slice lasts, and the rest in later ones
(`publish.py`). The order is:

- The dead letters of one queue are published in the order in which it dropped them.
- Those that the publish of a dead letter makes come next, before those that were pending. So a
  chain of queues that multiplies its messages has few of them in memory, and no deep recursion.
- Where the two contradict each other the first applies, up to DEAD_LETTERS_IN_ORDER_MAX pending
  ones. A circle of queues would need memory without bound for it.

`dead_letter_rewrite.py` has the headers and the route of a dead letter.
"""

from collections import deque

from mypy_extensions import i64

from leveret.engine.flow.dead_letter_rewrite import DeadLetterRewrite
from leveret.engine.queues.dead_letter import DeadLetter
from leveret.engine.routing.observer import Origin
from leveret.engine.routing.routes import BrokerSinks, Router
from leveret.engine.routing.sink import PersistTargets, Sink
from leveret.engine.values.clock import Clock
from leveret.engine.values.message import Message
from leveret.engine.values.text import text_of
from leveret.engine.values.time_slice import TimeSlice
from leveret.limits import DEAD_LETTERS_IN_ORDER_MAX, X_DEATH_ENTRIES_MAX
from leveret_storage.store.store import Store


class DeadLetters:
    """The dead letters of one virtual host that are still to be published."""

    def __init__(
        self, router: Router, clock: Clock, in_order_max: i64 = DEAD_LETTERS_IN_ORDER_MAX
    ) -> None:
        """:param in_order_max: how many may wait so that those of each queue stay in order."""
        self.dropped: dict[str, int] = {}
        """Number of dead letters that no queue took since the last report, which clears it, by the
        name of the queue that they came from."""
        self.pending = False
        """Whether there are any to publish."""
        self.count: i64 = 0
        """How many there are."""
        self.bytes: i64 = 0
        """Bytes of their bodies."""
        self._router = router
        self._clock = clock
        self._waiting: deque[DeadLetter] = deque()
        self._next: list[DeadLetter] = []
        """Those that come before the waiting ones; the next one is the last."""
        self._made: list[DeadLetter] = []
        """Those that the publish of the present dead letter makes, the next one first."""
        self._in_order_max = in_order_max
        self._routing: _Routing | None = None
        """The search for the sinks of the next one, if it took longer than a time slice."""
        self._is_publishing = False
        """Whether a dead letter is being published."""
        self._unwritten: list[DeadLetter] = []
        """Pending and published ones that were not written to the log where they were dropped."""
        self._last_rewrite: DeadLetterRewrite | None = None

    def add(self, dead_letter: DeadLetter) -> None:
        """Add a message that its queue has dropped, and noted as waiting."""
        if self._is_publishing and (
            len(dead_letter.source.waiting) == 1 or self.count >= self._in_order_max
        ):
            self._made.append(dead_letter)
        else:
            self._waiting.append(dead_letter)
        self.count += 1
        self.bytes += len(dead_letter.message.body)
        self.pending = True

    def note_unwritten(self, dead_letter: DeadLetter) -> None:
        """Have `persist_unwritten` write a dead letter, if it is pending then."""
        self._unwritten.append(dead_letter)

    def count_dropped(self, dead_letter: DeadLetter) -> None:
        """Count a dead letter that no queue took: it is dropped."""
        queue = dead_letter.queue
        self.dropped[queue] = self.dropped.get(queue, 0) + 1
        if dead_letter.sinks:
            self._router.tell_refused(dead_letter.message)

    def waiting_count(self) -> int:
        """How many there are that no other dead letter made, and the one that was begun, which is
        the next one in any case."""
        return len(self._waiting) + (self._routing is not None)

    def begin(self, time_slice: TimeSlice, waiting_first: bool = False) -> DeadLetter | None:
        """Take the next pending one, find its sinks, settle it in its queue, and rewrite it for its
        publish, which has to follow in the same batch. Call `end` after it.

        :param waiting_first: whether to take one that no other dead letter made.
        :returns: None if the slice was over before the sinks were found: then call it again. The
            dead letter is pending until then, and in its queue.
        """
        routing = self._routing
        self._routing = None
        if routing is not None:
            dead_letter = routing.dead_letter
        elif self._next and not (waiting_first and self._waiting):
            dead_letter = self._next.pop()
        else:
            dead_letter = self._waiting.popleft()
        size = len(dead_letter.message.body)
        self.count -= 1
        self.bytes -= size
        self.pending = self.count != 0
        if routing is None:
            routing = self._begin_routing(dead_letter)
        if not routing.run(time_slice):
            self._routing = routing
            self.count += 1
            self.bytes += size
            self.pending = True
            return None
        self._is_publishing = True
        dead_letter.source.settle_dead_letter(dead_letter)
        dead_letter.unwritten = False
        dead_letter.sinks = routing.sinks()
        dead_letter.message = self._rewritten(dead_letter, routing.rewrite)
        if self._router.observer is not None:
            self._tell_observer(dead_letter, routing.rewrite)
        return dead_letter

    def _tell_observer(self, dead_letter: DeadLetter, rewrite: DeadLetterRewrite) -> None:
        self._router.tell(
            text_of(rewrite.exchange),
            [text_of(key) for key in rewrite.keys],
            dead_letter.message,
            dead_letter.sinks,
            Origin.DEAD_LETTER,
        )

    def _begin_routing(self, dead_letter: DeadLetter) -> "_Routing":
        rewrite = self._last_rewrite
        time_s = self._clock.wall_time() // 1000
        if rewrite is None or not rewrite.matches(dead_letter, time_s):
            rewrite = DeadLetterRewrite(dead_letter, time_s)
            self._last_rewrite = rewrite
        if rewrite.deaths > X_DEATH_ENTRIES_MAX:
            return _Routing(dead_letter, rewrite, [], None)
        if len(rewrite.keys) == 1:
            route = self._router.route_of_broker(rewrite.exchange, rewrite.keys[0])
            if route is not None:
                return _Routing(dead_letter, rewrite, route.sinks, None)
        message = self._rewritten(dead_letter, rewrite)
        search = BrokerSinks(self._router, rewrite.exchange, rewrite.keys, message)
        return _Routing(dead_letter, rewrite, [], search)

    def _rewritten(self, dead_letter: DeadLetter, rewrite: DeadLetterRewrite) -> Message:
        message = dead_letter.message
        return Message(
            rewrite.new_route, rewrite.new_header, message.body, message.persistent, self._clock.now
        )

    def end(self) -> None:
        """The dead letter that `begin` returned is published."""
        self._is_publishing = False
        if self._made:
            self._made.reverse()
            self._next += self._made
            self._made.clear()

    def persist_unwritten(self, store: Store | None, targets: PersistTargets) -> None:
        """Write the pending ones to the open batch that the log does not have, each at its position
        in its queue.

        :param targets: an empty object to use.
        """
        unwritten = self._unwritten
        self._unwritten = []
        if store is None:
            return
        # Those that one publish made follow one another, and share their message.
        message: Message | None = None
        for dead_letter in unwritten:
            if not dead_letter.unwritten:
                continue
            if message is not None and message is not dead_letter.message:
                targets.write(store, message)
            message = dead_letter.message
            dead_letter.unwritten = False
            dead_letter.source.persist_dead_letter(dead_letter, targets)
        if message is not None:
            targets.write(store, message)


class _Routing:
    """The search for the sinks of a dead letter, which is pending meanwhile."""

    def __init__(
        self,
        dead_letter: DeadLetter,
        rewrite: DeadLetterRewrite,
        known: list[Sink],
        search: BrokerSinks | None,
    ) -> None:
        """
        :param known: the sinks, if there is nothing to search.
        """
        self.dead_letter = dead_letter
        self.rewrite = rewrite
        self._known = known
        self._search = search

    def run(self, time_slice: TimeSlice) -> bool:
        """Search until the time slice is over; whether the sinks are found."""
        return self._search is None or self._search.run(time_slice)

    def sinks(self) -> list[Sink]:
        """The sinks that were found, without the queues that the dead letter must not visit."""
        sinks = self._known if self._search is None else self._search.sinks()
        not_to_revisit = self.rewrite.queues_not_to_revisit
        for sink in sinks:
            if sink.name in not_to_revisit:
                return [each for each in sinks if each.name not in not_to_revisit]
        return sinks
