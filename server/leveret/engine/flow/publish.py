"""Publishing: give a message to each sink, write it to the log once, pass on dead letters.

Every publish goes through here: that of a channel, of a transaction that commits, of a dead letter,
of a delayed message that is due, and of the history that a new binding gets.

A publish is in one batch of the log. So is a dead letter: that it has left its queue, and its
publish to others. The dead letters that a publish makes are in the same batch if the time slice
lasts, else in later ones; until then the log has them in their queue.

While a transaction is committed in several slices, dead letters are passed on in these slices only:
they may be messages of the transaction, and must not be elsewhere before it is committed.
"""

from typing import Final

from mypy_extensions import i64

from leveret.engine.flow.dead_letters import DeadLetters
from leveret.engine.queues.dead_letter import DeadLetter
from leveret.engine.queues.queue_host import QueueHost
from leveret.engine.routing.sink import (
    ACCEPTED,
    AWAITS_COMMIT,
    DEAD_LETTERED,
    THROTTLE,
    TOOK_LONG,
    PersistTargets,
    Sink,
)
from leveret.engine.values.message import Message, persistent
from leveret.engine.values.time_slice import ENDLESS, TimeSlice
from leveret.engine.values.timers import Timer
from leveret.engine.values.work import Work
from leveret.limits import (
    BACKPRESSURE_RETRY_MS,
    DEAD_LETTERS_WAITING_BYTES_MAX,
    DEAD_LETTERS_WAITING_MAX,
    FAN_OUT_AT_ONCE,
)
from leveret_storage.segments.body_segment import SHARED_BODY_BYTES
from leveret_storage.store.store import Store

NO_TRANSACTION: Final = 0
BETWEEN_PARTS: Final = 1
IN_PART: Final = 2
"""Whether a transaction is being committed, and whether a part of it is at this moment."""


class Publisher:
    """Publishes the messages of one virtual host."""

    def __init__(self, dead_letters: DeadLetters, host: QueueHost) -> None:
        self.store: Store | None = None
        """Where messages are persisted; None without a store."""
        self._dead_letters = dead_letters
        self._host = host
        self._time_slice = host.time_slice
        self._passing_on = False
        self._goes_on_later = False
        """Whether dead letters are passed on by a piece of work."""
        self._retry: Timer = _Retry(self)
        self._held: list[Work] = []
        """Work that makes dead letters, and waits because there are too many."""
        self._targets = PersistTargets()
        self._fan_out: DeadLetter | None = None
        """The dead letter that is being published to very many sinks, in slices."""
        self._next_sink = 0
        """The first of them that it was not published to."""
        self._fan_out_outcome: i64 = 0
        self._transaction = NO_TRANSACTION
        self._may_wait: Message | None = None
        """The large message whose publish is under way and that may wait for the disk."""

    def publish(self, message: Message, sinks: list[Sink]) -> i64:
        """Publish a message, and pass on the dead letters that this makes.

        :returns: the union of what the sinks returned (`routing/sink.py`). `AWAITS_COMMIT` is set
            if, and only if, the confirm has to wait for the batch of the store that is open now.
            `THROTTLE` is set, too, if many dead letters wait, and `TOOK_LONG` if there were any.
            Without sinks, none is set.
        """
        targets = self._targets
        outcome: i64 = 0
        if len(sinks) > 1 and len(message.body) >= SHARED_BODY_BYTES:
            message.share()
        for sink in sinks:
            sink.counters.publish += 1
            outcome |= sink.publish(message, targets)
        if targets.count != 0 or outcome & AWAITS_COMMIT != 0:
            outcome = self._persist(message, outcome)
        if self._dead_letters.pending:
            self.pass_on_dead_letters()
            outcome |= TOOK_LONG
            if self.has_too_many_dead_letters():
                outcome |= THROTTLE
        return outcome

    def publish_large(self, message: Message, sinks: list[Sink]) -> tuple[i64, i64]:
        """Publish a message with a large body, which may wait for the disk beside the open batch.

        :returns: the outcome, as `publish` does, and its ticket in the store if it waits, else 0.
        """
        store = self.store
        if (
            store is None
            or len(message.body) < store.large.body_bytes
            or self._transaction != NO_TRANSACTION
            or not store.large.may_wait(len(message.body))
        ):
            return self.publish(message, sinks), 0
        for sink in sinks:
            if not sink.lets_large_wait():
                return self.publish(message, sinks), 0
        before = store.large.ticket
        self._may_wait = message
        outcome = self.publish(message, sinks)
        self._may_wait = None
        ticket = store.large.ticket
        return outcome, 0 if ticket == before else ticket

    def publish_again(self, message: Message, sinks: list[Sink]) -> i64:
        """As `publish`, for a message that may have been in these queues before."""
        host = self._host
        host.publishes_again = True
        try:
            return self.publish(message, sinks)
        finally:
            host.publishes_again = False

    def has_too_many_dead_letters(self) -> bool:
        """Whether so many dead letters wait that no more should be made meanwhile."""
        dead_letters = self._dead_letters
        return (
            dead_letters.count >= DEAD_LETTERS_WAITING_MAX
            or dead_letters.bytes >= DEAD_LETTERS_WAITING_BYTES_MAX
        )

    def begin_after_dead_letters(self, work: Work) -> None:
        """Begin work when not too many dead letters wait any more, of which there are some."""
        self._held.append(work)

    def pass_on_dead_letters(self) -> bool:
        """Publish the dead letters that are pending, and those that this makes, one by one, until
        the time slice is over. The rest is published in later slices.

        :returns: whether none is left.
        """
        if self._passing_on:
            return False
        dead_letters = self._dead_letters
        if not dead_letters.pending and self._fan_out is None:
            return True
        if self._transaction == BETWEEN_PARTS:
            dead_letters.persist_unwritten(self.store, self._targets)
            return False
        self._passing_on = True
        try:
            while dead_letters.pending or self._fan_out is not None:
                if not self._pass_on(self._time_slice) or self._time_slice.is_over_now():
                    break
        finally:
            self._passing_on = False
        dead_letters.persist_unwritten(self.store, self._targets)
        if self._held and not self.has_too_many_dead_letters():
            for work in self._held:
                self._host.work.add(work)
            self._held = []
        if dead_letters.count == 0 and self._fan_out is None:
            return True
        if not self._goes_on_later:
            self._goes_on_later = True
            self.begin_work()
        return False

    def pass_on_in_batch(self) -> None:
        """Publish the dead letters that an atomic operation has made, a transaction, all of them in
        the open batch. What these make in turn may wait."""
        self.pass_on_waiting(self.waiting_dead_letters(), ENDLESS)
        self.pass_on_dead_letters()

    def waiting_dead_letters(self) -> int:
        """How many dead letters wait that no other dead letter has made, or have been begun."""
        return self._dead_letters.waiting_count() + (self._fan_out is not None)

    def pass_on_waiting(self, most: int, time_slice: TimeSlice) -> int:
        """Publish dead letters that no other dead letter has made, until the slice is over. What
        these make in turn may wait.

        :param most: how many, if there are so many.
        :returns: how many of them are left.
        """
        dead_letters = self._dead_letters
        if self._passing_on:
            return 0
        self._passing_on = True
        try:
            while most > 0 and self.waiting_dead_letters() != 0:
                if not self._pass_on(time_slice, True):
                    break
                most -= 1
                if time_slice.is_over_now():
                    break
        finally:
            self._passing_on = False
        dead_letters.persist_unwritten(self.store, self._targets)
        return min(most, self.waiting_dead_letters())

    # --- the transaction --------------------------------------------------------------------

    def has_transaction(self) -> bool:
        """Whether a transaction of the virtual host is being committed in parts."""
        return self._transaction != NO_TRANSACTION

    def begin_transaction(self) -> bool:
        """Begin a transaction of the store, whose parts are between `begin_part` and `end_part`.

        :returns: False if it has to wait for another one, and was not begun.
        """
        store = self.store
        if store is None or not store.transaction.may_begin():
            return False
        store.transaction.begin()
        self._transaction = BETWEEN_PARTS
        return True

    def may_begin_part(self) -> bool:
        """Whether a part may begin, rather than wait for the disk."""
        return self.store is None or self.store.transaction.may_begin_part()

    def begin_part(self) -> None:
        """What is published and settled from here on belongs to the transaction."""
        if self.store is not None:
            self.store.transaction.begin_part()
        self._transaction = IN_PART

    def end_part(self) -> None:
        """What is published and settled from here on belongs to the transaction no more."""
        self._transaction = BETWEEN_PARTS
        if self.store is not None:
            self.store.transaction.end_part()

    def commit_transaction(self) -> None:
        """Commit the transaction with the open batch. Dead letters that wait are passed on again in
        any slice."""
        self._transaction = NO_TRANSACTION
        if self.store is not None:
            self.store.transaction.commit()
        self.pass_on_dead_letters()

    def begin_work(self) -> None:
        """Have dead letters passed on that wait."""
        self._host.work.add(_PassOn(self))

    def go_on(self) -> bool:
        """Pass on dead letters that wait, for the time of a slice, or later if the disk does not
        keep up.

        :returns: whether nothing is left to do until the timer rings.
        """
        store = self.store
        if self._transaction == BETWEEN_PARTS:
            self._goes_on_later = False
            return True
        if store is not None and store.needs_backpressure():
            host = self._host
            host.timers.set(self._retry, host.clock.now + BACKPRESSURE_RETRY_MS)
            return True
        if not self.pass_on_dead_letters():
            return False
        self._goes_on_later = False
        return True

    def give_up(self) -> None:
        """Passing dead letters on has failed, and is not under way any more."""
        self._goes_on_later = False

    def _pass_on(self, time_slice: TimeSlice, waiting_first: bool = False) -> bool:
        """Publish the next dead letter; `waiting_first` is as in `DeadLetters.begin`.

        :returns: False if the slice was over before that was done: call it again.
        """
        dead_letters = self._dead_letters
        if self._fan_out is not None:
            return self._fan_out_further(self._fan_out, time_slice)
        try:
            dead_letter = dead_letters.begin(time_slice, waiting_first)
            if dead_letter is None:
                return False
            if len(dead_letter.sinks) > FAN_OUT_AT_ONCE and not dead_letter.message.persistent:
                # The log has nothing of it that would have to be in one batch.
                self._fan_out, self._next_sink, self._fan_out_outcome = dead_letter, 0, 0
                return self._fan_out_further(dead_letter, time_slice)
            outcome = self.publish_again(dead_letter.message, dead_letter.sinks)
            if outcome & (ACCEPTED | DEAD_LETTERED) == 0:
                dead_letters.count_dropped(dead_letter)
        finally:
            dead_letters.end()
        return True

    def _fan_out_further(self, dead_letter: DeadLetter, time_slice: TimeSlice) -> bool:
        """Publish a dead letter to the next of its sinks; whether that were the last ones."""
        sinks = dead_letter.sinks
        while True:
            start = self._next_sink
            self._next_sink += FAN_OUT_AT_ONCE
            part = [sink for sink in sinks[start : self._next_sink] if not sink.deleted]
            self._fan_out_outcome |= self.publish_again(dead_letter.message, part)
            if self._next_sink >= len(sinks):
                break
            if time_slice.is_over_now():
                return False
        self._fan_out = None
        if self._fan_out_outcome & (ACCEPTED | DEAD_LETTERED) == 0:
            self._dead_letters.count_dropped(dead_letter)
        return True

    def _persist(self, message: Message, outcome: i64) -> i64:
        """Write a message to the open batch for the sinks that persist it, if any do."""
        store = self.store
        if store is None:
            self._targets.count = 0
            return outcome & ~i64(AWAITS_COMMIT)
        if self._targets.count == 0:
            store.request_commit()
            return outcome
        if self._may_wait is message and message.persistent:
            self._may_wait = None
            self._targets.write_large(store, message)
        else:
            self._targets.write(store, message if message.persistent else persistent(message))
        return outcome | AWAITS_COMMIT


class _PassOn(Work):
    """Passes on the dead letters of one virtual host that wait."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def run(self, time_slice: TimeSlice) -> bool:
        return self._publisher.go_on()

    def give_up(self) -> None:
        self._publisher.give_up()


class _Retry(Timer):
    """Rings when the disk may keep up again."""

    def __init__(self, publisher: Publisher) -> None:
        super().__init__()
        self._publisher = publisher

    def ring(self) -> None:
        self._publisher.begin_work()
