"""A store, its owner and its disk under one seed: what may be found after each crash is known.

A World has many lives on one FaultyMedium. In each the owner recovers, starts a store from that,
and does random things while the executors run jobs and hand back results when the world says so,
until the medium stops it. Then what `recover` finds is compared with what may be there:

- the state after a whole number of batches, none skipped, all that `synced` reported included;
- of each queue the persistent messages in order of position, none twice, none invented;
- a large message that waited for the disk in the batch with which its ticket is redeemed;
- no position in use or to be used again that anything was known of.

What a failed assertion says begins with the seed, and the seed is all it takes to see it again.
"""

from collections import Counter
from collections.abc import Callable
from itertools import accumulate
from random import Random
from typing import Any

from leveret_storage.errors import StorageError
from leveret_storage.format.entries import StoredMessage
from leveret_storage.recovery.recover import recover
from leveret_storage.segments.queue_journal import Run
from leveret_storage.store.limits import StoreLimits
from leveret_storage.store.store import Store
from tests.storage.faulty import Crashed, Fault, FaultyMedium
from tests.storage.owning import take_when_not_full
from tests.storage.store_model import Batch, Found, OwnedQueue, State, fields_of, read_out
from tests.support.executors import StepExecutor


class World:
    """See the module."""

    def __init__(
        self,
        seed: int,
        *,
        crash_within: int = 60,
        fault_chance: float = 0.3,
        log_segment_bytes: int | None = None,
        queue_segment_bytes: int | None = None,
        deep: bool = False,
        sync: bool = True,
        interval: bool = False,
        in_flight: int = 1,
    ) -> None:
        """In a `deep` one queues fill, and most of what is in them is settled, so that few messages
        keep the queue segments. Without `sync` a batch is reported when it is written, and with
        `interval` all is synced from time to time; then nothing is put into runs, which may outlast
        the batch that is before them. So many commits as `in_flight` says may be under way, which
        the medium answers in any order."""
        self.seed = seed
        self.deep = deep
        self.sync = sync
        self.random = Random(seed)
        self.crash_within = crash_within
        self.fault_chance = fault_chance
        choose = self.random.choice
        self.log_segment_bytes = log_segment_bytes or choose((1, 200, 600, 3000, 10**6))
        self.queue_segment_bytes = queue_segment_bytes or choose((1, 150, 500, 10**6))
        self.log_segments_max = choose((2, 3, 10**6))
        self.body_segment_bytes = choose((1, 100, 10**6))
        self.shared_body_bytes = choose((1, 10, 5000, 10**6))
        self.checkpoint_record_bytes = choose((1, 50, 10**6))
        self.checkpoint_growth_bytes = choose((0, 10**6))
        self.checkpoint_ranges_at_once = choose((1, 2, 100))
        self.large_waiting_bytes = choose((0, 100, 10**6))
        self.large_bytes_at_once = choose((1, 50, 10**6))
        self.preallocation_bytes = (1, 100, 1000)[seed % 3]
        self.medium = FaultyMedium(seed, faults=self._faults(), commits_in_flight_max=in_flight)
        self.in_flight = in_flight
        self.base = State()
        self.batches: list[Batch] = []
        """Those behind `base`, of all lives; what was lost is taken out."""
        self.batches_durable = 0
        """How many of them are to be found whatever happens."""
        self.batches_written = 0
        """How many are to be found if only the process ends: no fewer."""
        self.lives = 0
        self.lost = 0
        """Batches that were not found, and did not have to be."""
        self.kinds: Counter[str] = Counter()
        self.waiting: dict[int, Batch] = {}
        """By ticket, what the large messages do that wait for the disk."""
        self.waited: dict[int, int] = {}
        """By ticket, the batches of those that did."""
        steps = self._weighted_steps(interval)
        self.steps = [step for _, step in steps]
        self.weights = list(accumulate(weight for weight, _ in steps))
        self.store: Store
        self.trace: list[str] = []

    def _weighted_steps(self, interval: bool) -> list[tuple[int, Callable[[], None]]]:
        """What can be done next, and how often each is chosen."""
        deep, several = self.deep, self.in_flight > 1
        return [
            (12, self._publish),
            (6, self._settle_in_order),
            (4, self._settle_somewhere),
            (1, self._purge),
            (2, self._note_delivered),
            (8, self._checkpoint),
            (1, self._define),
            (1, self._add_queue),
            (1, self._drop_queue),
            (4 * self.sync, self._write_run),
            (4 * interval, self._sync_written),
            (3, self._read_run),
            (1 + 3 * deep, self._settle_most),
            (4 * deep, self._fill),
            (2 + 8 * deep, self._compact),
            (8 + 8 * several, self._commit),
            (12 + 60 * deep, self._run_job),
            (12 + 60 * deep, self._deliver),
            (4 * several, self._answer),
        ]

    # --- a life -----------------------------------------------------------------------------

    def live(self) -> None:
        """One life, from recovery to its end, and what the next one finds."""
        self.lives += 1
        self.trace = []
        self.alive = True
        try:
            self._begin()
            while self.alive:
                self._step()
        except Crashed:
            self._count("crash")
        except StorageError:
            # Only a start lets them through to the owner.
            if not self.planned:
                raise
            self._count("failed start")
        power_lost = self.random.random() < 0.6
        if power_lost:
            self.batches_written = self.batches_durable
        faults = self._faults()
        self.medium = self.medium.crash(faults) if power_lost else self.medium.kill(faults)
        self._count("power lost" if power_lost else "killed")

    def _faults(self) -> dict[int, Fault]:
        number = self.random.randint(2, self.crash_within)
        faults = {number: Fault.CRASH}
        self.planned: set[Fault] = set()
        if self.random.random() < self.fault_chance:
            fault = self.random.choice((Fault.ENOSPC, Fault.ENOSPC, Fault.EIO))
            faults[self.random.randint(1, number - 1)] = fault
            self.planned.add(fault)
        return faults

    def _begin(self) -> None:
        take_when_not_full(self.medium)
        spill_bytes = self.random.choice((0, 0, 0, 1000) if self.deep else (0, 1, 1000))
        recovery = recover(self.medium, spill_bytes=spill_bytes)
        found = read_out(self.medium, recovery)
        state = self._compare(found)
        self.writing, self.reading = StepExecutor(), StepExecutor()
        # Some disks are slow, and some event loops: what is under way piles up then.
        self.job_chance = self.random.choice((0.1, 0.5, 0.9, 0.9))
        self.deliver_chance = self.random.choice((0.1, 0.5, 0.9, 0.9))
        self.definitions = [each.data for each in recovery.definitions]
        self.open: Batch = []
        self.waiting, self.waited = {}, {}
        self.first_batch = len(self.batches)
        self.failures: list[StorageError] = []
        self.checkpoint_is_due = False
        self.store = Store(
            self.medium,
            self.writing,
            self.reading,
            snapshot=lambda: iter(list(self.definitions)),
            synced=self._synced,
            failed=self.failures.append,
            sync=self.sync,
            checkpoint_due=self._checkpoint_due,
            limits=StoreLimits(
                self.log_segment_bytes,
                self.queue_segment_bytes,
                self.log_segments_max,
                self.preallocation_bytes,
                self.body_segment_bytes,
                self.shared_body_bytes,
                self.checkpoint_record_bytes,
                self.checkpoint_growth_bytes,
                self.checkpoint_ranges_at_once,
                self.large_waiting_bytes,
                self.large_bytes_at_once,
            ),
        )
        for number, recovered in recovery.queues.items():
            self.store.restore_queue(number, recovered)
        self.store.start(recovery)
        self.queues: dict[int, OwnedQueue] = {}
        for number, recovered in recovery.queues.items():
            queue = OwnedQueue(self.store.queues[number], recovered.next_position)
            delivered_end = int(queue.log.delivered_end)
            if delivered_end != state.queues[number].delivered_end:
                # A note was ahead. The store corrects it, which changes no message before.
                self.open.append(("deliver", number, delivered_end))
            for position, (body, arrived, expires_at) in found.messages[number].items():
                queue.messages[position] = StoredMessage(
                    b"r", b"h", body, True, arrived, expires_at
                )
            for part in recovered.contents:
                if isinstance(part, Run):
                    queue.runs.append(part)
                    for first, end in part.live:
                        queue.in_run.update(range(first, end))
            self.queues[number] = queue

    def _compare(self, found: Found) -> State:
        """Find which batches are there, and forget the others.

        :returns: the state after them.
        """
        state = self.base.copy()
        for batch in self.batches[: self.batches_written]:
            state.apply(batch)
        differences = []
        matching = -1
        matched = state
        for count in range(self.batches_written, len(self.batches) + 1):
            if count > self.batches_written:
                state.apply(self.batches[count - 1])
            difference = state.difference(found)
            if difference:
                differences.append(f"after {count}: {difference}")
            else:
                # A message may be settled in a later batch than it came in: two states are the
                # same then, and power loss may still bring back the one between them.
                matching, matched = count, state.copy()
        if matching < 0:
            raise AssertionError("\n".join([self._where(), *differences, *self.trace]))
        self.lost += len(self.batches) - matching
        del self.batches[matching:]
        self.batches_written = matching
        self._fold()
        return matched

    def _fold(self) -> None:
        for batch in self.batches[: self.batches_durable]:
            self.base.apply(batch)
        del self.batches[: self.batches_durable]
        self.batches_written -= self.batches_durable
        self.batches_durable = 0

    def _where(self) -> str:
        return f"seed {self.seed}, life {self.lives}, call {self.medium.calls}"

    def _count(self, kind: str) -> None:
        self.kinds[kind] += 1

    # --- what the store tells ---------------------------------------------------------------

    def _synced(self) -> None:
        self._note()
        assert not self.failures, f"{self._where()}: synced after {self.failures}"
        synced = self.first_batch + int(self.store.synced)
        for ticket in self.waiting:
            assert self.store.large.awaits(ticket), f"{self._where()}: {ticket} in no batch"
        for ticket, batch in self.waited.items():
            there = batch <= int(self.store.synced)
            assert self.store.large.awaits(ticket) != there, f"{self._where()}: {ticket}"
        assert synced <= len(self.batches), f"{self._where()}: too many batches reported"
        self.batches_written = max(self.batches_written, synced)
        # What was found is durable before anything is reported.
        self._is_durable(synced if self.sync else self.first_batch)

    def _is_durable(self, batches: int) -> None:
        self.batches_durable = max(self.batches_durable, batches)

    def _sync_written(self) -> None:
        if len(self.writing.jobs) + len(self.writing.results) > 3:
            return
        written = self.first_batch + int(self.store.synced)
        self.store.sync_written()

        def synced(result: Any) -> None:
            if not isinstance(result, StorageError) and self.store.synced:
                self._is_durable(written)

        self.writing.submit(lambda: None, synced)

    def _note(self) -> None:
        """Close the batch in the model when the store did."""
        if self.first_batch + int(self.store.batch) - 1 > len(self.batches):
            waiting = {large.ticket for large in self.store.large.waiting}
            for ticket in self.waiting.keys() - waiting:
                self.open += self.waiting.pop(ticket)
                self.waited[ticket] = len(self.batches) - self.first_batch + 1
                self._count("waited")
            self.batches.append(self.open)
            self.open = []

    # --- steps ------------------------------------------------------------------------------

    def _step(self) -> None:
        step = self.random.choices(self.steps, cum_weights=self.weights)[0]
        self.trace.append(f"{self.medium.calls}: {step.__name__}")
        step()
        if self.failures:
            self._after_failure()

    def _after_failure(self) -> None:
        """The owner exits; what was under way may come to its end before that."""
        full = any("no space" in str(failure) for failure in self.failures)
        assert self.planned, f"{self._where()}: {self.failures}"
        assert not full, f"{self._where()}: {self.failures}"
        self._count("failed")
        for _ in range(self.random.randint(0, 20)):
            self.random.choice((self._run_job, self._answer, self._deliver, self._commit))()
        assert len(self.failures) == 1, f"{self._where()}: {self.failures}"
        self.alive = False

    def _any_queue(self) -> OwnedQueue | None:
        return self.queues[self.random.choice(sorted(self.queues))] if self.queues else None

    def _publish(self) -> None:
        if not self.queues:
            return
        persistent = self.random.random() < 0.75
        body = self.random.randbytes(self.random.choice((0, 3, 3, 10, 10, 40, 40, 5000)))
        arrived, expires_at = self.random.choice(((0, 0), (1, 0), (2**40, 2**41)))
        message = StoredMessage(b"r", b"h", body, persistent, arrived, expires_at)
        count = min(len(self.queues), self.random.choice((1, 1, 1, 2, 3)))
        targets: list[OwnedQueue] = []
        positions: list[int] = []
        entry: Batch = []
        for number in self.random.sample(sorted(self.queues), count):
            queue = self.queues[number]
            position = queue.next_position
            queue.next_position += 1
            queue.messages[position] = message
            if persistent and queue.log.durable:
                targets.append(queue)
                positions.append(position)
                entry.append(("message", number, position, fields_of(message)))
        logs = [queue.log for queue in targets]
        if targets and self.random.random() < 0.4 and self.store.large.may_wait(len(body)):
            self.store.large.add(logs, positions, message)
            self.waiting[int(self.store.large.ticket)] = entry
        elif targets:
            self.store.add_message(logs, positions, message)
            self.open += entry

    def _fill(self) -> None:
        for _ in range(20):
            self._publish()
        for _ in range(3):
            self._write_run()

    def _settle(self, queue: OwnedQueue, position: int) -> None:
        queue.log.settle(position)
        del queue.messages[position]
        self._note_settled(queue, position, position + 1)

    def _note_settled(self, queue: OwnedQueue, first: int, end: int) -> None:
        if queue.log.durable:
            self.open.append(("settle", queue.log.number, first, end))

    def _settle_in_order(self) -> None:
        queue = self._any_queue()
        if queue is not None:
            for position in sorted(queue.messages)[: self.random.choice((1, 2, 10))]:
                self._settle(queue, position)

    def _settle_somewhere(self) -> None:
        queue = self._any_queue()
        if queue is not None and queue.messages:
            self._settle(queue, self.random.choice(sorted(queue.messages)))

    def _settle_most(self) -> None:
        queue = self._any_queue()
        if queue is not None:
            for position in sorted(queue.messages):
                if self.random.random() < 0.85:
                    self._settle(queue, position)

    def _purge(self) -> None:
        queue = self._any_queue()
        if queue is not None and queue.messages:
            first, end = min(queue.messages), max(queue.messages) + 1
            queue.log.settle_range(first, end)
            queue.messages.clear()
            self._note_settled(queue, first, end)

    def _note_delivered(self) -> None:
        """As a rule further on, and exactly at the end; a note may be ahead."""
        queue = self._any_queue()
        if queue is not None and queue.log.durable:
            end = queue.next_position + self.random.choice((-2, -1, 0, 0, 3))
            if end > 0:
                queue.log.note_delivered(end)
                self.open.append(("deliver", queue.log.number, end))

    def _define(self) -> None:
        data = self.random.randbytes(4)
        self.definitions.append(data)
        self.store.define(data)
        self.open.append(("define", data))

    def _add_queue(self) -> None:
        if len(self.queues) >= 4:
            return
        log = self.store.add_queue(self.random.random() < 0.8)
        assert log.number not in self.base.queues, f"{self._where()}: {log.number} used twice"
        self.queues[log.number] = OwnedQueue(log, 0)
        if log.durable:
            self.open.append(("add", log.number))
            self._define()

    def _drop_queue(self) -> None:
        queue = self._any_queue()
        if queue is None or self.random.random() < 0.5:
            return
        self.store.delete_queue(queue.log)
        del self.queues[queue.log.number]
        if queue.log.durable:
            self.open.append(("drop", queue.log.number))
            self._define()

    def _write_run(self) -> None:
        queue = self._any_queue()
        if queue is None:
            return
        free = [at for at in sorted(queue.messages) if at not in queue.in_run]
        if not free:
            return
        first = end = self.random.choice((free[0], self.random.choice(free)))
        while end in queue.messages and end not in queue.in_run and end - first < 10:
            end += 1
        messages = [queue.messages[position] for position in range(first, end)]
        queue.runs.append(self.store.write_run(queue.log, first, messages))
        queue.in_run.update(range(first, end))

    def _checkpoint_due(self) -> None:
        self.checkpoint_is_due = True

    def _checkpoint(self) -> None:
        """Go on with the checkpoint, a few pieces."""
        if not self.checkpoint_is_due:
            return
        self.checkpoint_is_due = False
        if not self.store.write_checkpoint(lambda: self.random.random() < 0.5):
            self.checkpoint_is_due = True
            self._count("checkpoint in parts")

    def _read_run(self) -> None:
        queue = self._any_queue()
        runs = [run for run in queue.runs if run.offset >= 0] if queue is not None else []
        if queue is None or not runs:
            return
        run = self.random.choice(runs)
        ranges = run.live or [(int(run.first), run.end)]
        wanted = [at for part in ranges for at in range(*part) if at in queue.messages]
        if not wanted:
            queue.runs.remove(run)
            return
        expected = {position: fields_of(queue.messages[position]) for position in wanted}

        def done(messages: list[StoredMessage]) -> None:
            for position, fields in expected.items():
                read = fields_of(messages[position - int(run.first)])
                assert read == fields, f"{self._where()}: position {position}"

        self.store.read_run(run, done)

    def _compact(self) -> None:
        for _ in range(2 if self.deep else 1):
            self.store.compact()
            self._note()

    def _commit(self) -> None:
        self.store.commit(force=self.random.random() < 0.3)
        self._note()

    def _run_job(self) -> None:
        for executor in (self.writing, self.reading):
            if executor.jobs and self.random.random() < self.job_chance:
                executor.run_one()

    def _answer(self) -> None:
        """The medium answers one of the commits in flight."""
        if self.medium.begun():
            if self.medium.begun() > 1:
                self._count("several in flight")
            self.medium.answer(self.random.randrange(self.medium.begun()))

    def _deliver(self) -> None:
        segments = [each for queue in self.queues.values() for each in queue.log.segments]
        for executor in (self.writing, self.reading):
            if executor.results and self.random.random() < self.deliver_chance:
                executor.deliver_one()
                self._note()
        if any(segment.copied_to for segment in segments):
            self._count("moved")
