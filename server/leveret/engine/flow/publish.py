"""Publishing: give a message to each sink, write it to the log once, pass on dead letters.

Every publish goes through here: that of a channel, of a transaction that commits, of a dead letter,
of a delayed message that is due, and of the history that a new binding gets.

Everything that a publish causes is in one batch of the log, the dead letters that it makes
included.
"""

from mypy_extensions import i64

from leveret.engine.flow.dead_letters import DeadLetters
from leveret.engine.routing.sink import ACCEPTED, AWAITS_COMMIT, PersistTargets, Sink
from leveret.engine.values.message import Message, persistent
from leveret_storage.store.store import Store


class Publisher:
    """Publishes the messages of one virtual host."""

    def __init__(self, dead_letters: DeadLetters) -> None:
        self.store: Store | None = None
        """Where messages are persisted; None without a store."""
        self._dead_letters = dead_letters
        self._passing_on = False
        self._targets = PersistTargets()

    def publish(self, message: Message, sinks: list[Sink]) -> i64:
        """Publish a message, and pass on the dead letters that this makes.

        :returns: the union of what the sinks returned (`routing/sink.py`). `AWAITS_COMMIT` is set
            if, and only if, the confirm has to wait for the batch of the store that is open now.
            Without sinks, none is set.
        """
        targets = self._targets
        outcome: i64 = 0
        for sink in sinks:
            outcome |= sink.publish(message, targets)
        if targets.count != 0 or outcome & AWAITS_COMMIT != 0:
            outcome = self._persist(message, outcome)
        if self._dead_letters.pending:
            self.pass_on_dead_letters()
        return outcome

    def pass_on_dead_letters(self) -> None:
        """Publish all dead letters that are pending, and those that this makes, one by one."""
        if self._passing_on:
            return
        self._passing_on = True
        dead_letters = self._dead_letters
        while dead_letters.pending:
            dead_letter = dead_letters.next()
            if self.publish(dead_letter.message, dead_letter.sinks) & ACCEPTED == 0:
                dead_letters.count_dropped(dead_letter.queue)
        self._passing_on = False

    def _persist(self, message: Message, outcome: i64) -> i64:
        """Write a message to the open batch for the sinks that persist it, if any do."""
        store = self.store
        if store is None:
            self._targets.count = 0
            return outcome & ~i64(AWAITS_COMMIT)
        if self._targets.count == 0:
            store.request_commit()
            return outcome
        self._targets.write(store, message if message.persistent else persistent(message))
        return outcome | AWAITS_COMMIT
