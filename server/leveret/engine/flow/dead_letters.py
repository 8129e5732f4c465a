"""Dead letters: messages that a queue drops, and that go on to an exchange.

RabbitMQ: Dead Letter Exchanges. The message is settled in its queue and published to the others in
one slice of work, so that both are in one batch of the log: whatever happens in between, the
message is in one place, and only there. A dead letter is dropped where no queue takes it, as on
RabbitMQ, and where it would go round for ever: it does not go back to a queue that it left for
another reason than that a consumer rejected it.

A publish may make a dead letter of one message because another arrives. It is pending until that
one is written to the log, as it may go to a queue that the other one went to, too. A dead letter
that makes others where it arrives leaves these pending in the same way, so a long chain of queues
is no deep recursion.

`publish.py` publishes what is pending; here stands what is written on a dead letter and where it
goes (`dead_letter_rewrite.py`).
"""

from collections import deque

from leveret.engine.flow.dead_letter_rewrite import DeadLetter, DeadLetterRewrite
from leveret.engine.routing.routes import Router
from leveret.engine.routing.sink import Sink
from leveret.engine.values.clock import Clock
from leveret.engine.values.message import Message
from leveret.engine.values.settings import QueueSettings
from leveret.limits import X_DEATH_ENTRIES_MAX


class DeadLetters:
    """The dead letters of one virtual host that are still to be published."""

    def __init__(self, router: Router, clock: Clock) -> None:
        self.lost: dict[str, int] = {}
        """How many no queue took, by the name of the queue that they came from, since the last
        report, which empties it."""
        self.pending = False
        """Whether there are any to publish."""
        self._router = router
        self._clock = clock
        self._pending: deque[DeadLetter] = deque()
        self._last_rewrite: DeadLetterRewrite | None = None

    def add(self, queue: str, settings: QueueSettings, message: Message, reason: bytes) -> None:
        """Add a message that its queue has settled."""
        self._pending.append(DeadLetter(queue, settings, message, reason))
        self.pending = True

    def add_lost(self, queue: str) -> None:
        """Count a dead letter that no queue took."""
        self.lost[queue] = self.lost.get(queue, 0) + 1

    def next(self) -> DeadLetter:
        """The next pending one, as it is to be published."""
        dead_letter = self._pending.popleft()
        self.pending = len(self._pending) != 0
        message, now = dead_letter.message, self._clock.now
        rewrite = self._last_rewrite
        if rewrite is None or not rewrite.matches(dead_letter, now // 1000):
            rewrite = DeadLetterRewrite(dead_letter, now // 1000)
            self._last_rewrite = rewrite
        dead_letter.message = Message(
            rewrite.new_route, rewrite.new_header, message.body, message.persistent, now
        )
        if rewrite.deaths <= X_DEATH_ENTRIES_MAX:
            dead_letter.sinks = self._sinks(rewrite, dead_letter.message)
        return dead_letter

    def _sinks(self, rewrite: DeadLetterRewrite, message: Message) -> list[Sink]:
        sinks = self._router.sinks_of_broker(rewrite.exchange, rewrite.keys, message)
        for sink in sinks:
            if sink.name in rewrite.queues_not_to_revisit:
                return [each for each in sinks if each.name not in rewrite.queues_not_to_revisit]
        return sinks
