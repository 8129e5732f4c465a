"""Dead letters: messages that a queue drops and that are published to another exchange.

RabbitMQ: Dead Letter Exchanges. The message is settled in its queue and published to the others in
one slice of work, so that one batch of the log has both: after a crash it is in one place, and only
there. As in RabbitMQ, a dead letter is dropped if no queue takes it, and if it would cycle: it
does not return to a queue where it died for another reason than a consumer's reject.

A publish may make a dead letter of another message. The dead letter is pending until the published
message is written to the log, because both may go to the same queue. A dead letter that makes
others when it is published adds them to the pending ones, so a long chain of queues is no deep
recursion.

`dead_letter_rewrite.py` has the headers and the route of a dead letter, and `publish.py` publishes
the pending ones.
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
        self.dropped: dict[str, int] = {}
        """Number of dead letters that no queue took since the last report, which clears it, by the
        name of the queue that they came from."""
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

    def count_dropped(self, queue: str) -> None:
        """Count a dead letter that no queue took: it is dropped."""
        self.dropped[queue] = self.dropped.get(queue, 0) + 1

    def next(self) -> DeadLetter:
        """Remove the next pending one, and rewrite it for its publish."""
        dead_letter = self._pending.popleft()
        self.pending = len(self._pending) != 0
        message, now = dead_letter.message, self._clock.now
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

    def _sinks(self, rewrite: DeadLetterRewrite, message: Message) -> list[Sink]:
        sinks = self._router.sinks_of_broker(rewrite.exchange, rewrite.keys, message)
        for sink in sinks:
            if sink.name in rewrite.queues_not_to_revisit:
                return [each for each in sinks if each.name not in rewrite.queues_not_to_revisit]
        return sinks
