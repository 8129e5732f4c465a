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
from leveret.engine.routing.routes import Router
from leveret.engine.routing.sink import PersistTargets, Sink
from leveret.engine.values.clock import Clock
from leveret.engine.values.message import Message
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

    def count_dropped(self, queue: str) -> None:
        """Count a dead letter that no queue took: it is dropped."""
        self.dropped[queue] = self.dropped.get(queue, 0) + 1

    def waiting_count(self) -> int:
        """How many there are that no other dead letter made."""
        return len(self._waiting)

    def begin(self, waiting_first: bool = False) -> DeadLetter:
        """Take the next pending one, settle it in its queue, and rewrite it for its publish, which
        has to follow in the same batch. Call `end` after it.

        :param waiting_first: whether to take one that no other dead letter made.
        """
        if self._next and not (waiting_first and self._waiting):
            dead_letter = self._next.pop()
        else:
            dead_letter = self._waiting.popleft()
        self._is_publishing = True
        self.count -= 1
        self.pending = self.count != 0
        dead_letter.source.settle_dead_letter(dead_letter)
        dead_letter.unwritten = False
        message, now = dead_letter.message, self._clock.now
        self.bytes -= len(message.body)
        rewrite = self._last_rewrite
        time_s = self._clock.wall_time() // 1000
        if rewrite is None or not rewrite.matches(dead_letter, time_s):
            rewrite = DeadLetterRewrite(dead_letter, time_s)
            self._last_rewrite = rewrite
        dead_letter.message = Message(
            rewrite.new_route, rewrite.new_header, message.body, message.persistent, now
        )
        if rewrite.deaths <= X_DEATH_ENTRIES_MAX:
            dead_letter.sinks = self._sinks(rewrite, dead_letter.message)
        return dead_letter

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

    def _sinks(self, rewrite: DeadLetterRewrite, message: Message) -> list[Sink]:
        sinks = self._router.sinks_of_broker(rewrite.exchange, rewrite.keys, message)
        for sink in sinks:
            if sink.name in rewrite.queues_not_to_revisit:
                return [each for each in sinks if each.name not in rewrite.queues_not_to_revisit]
        return sinks
