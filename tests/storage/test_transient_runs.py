"""Messages that do not have to survive are written to a medium of their own, if there is one."""

import pytest

from leveret_storage.format.entries import StoredMessage
from leveret_storage.segments.queue_journal import QueueJournal, Run
from tests.storage.faulty import FaultyMedium
from tests.storage.store_owner import Owner, after_power_loss, stored

BODY = b"b" * 5000
"""Large enough to be written once for several queues."""


class TwoMedia:
    """A store with a medium for what does not have to survive."""

    def __init__(self) -> None:
        self.medium, self.transient = FaultyMedium(1), FaultyMedium(2)
        self.owner = Owner(self.medium, queue_segment_bytes=6000, transient=self.transient)

    def queue_blobs(self) -> tuple[int, int]:
        """How many queue segments are on each medium."""
        self.owner.run()
        durable, transient = (
            len([name for name in medium.list() if name.startswith("queue-")])
            for medium in (self.medium, self.transient)
        )
        return durable, transient

    def read(self, run: Run) -> list[StoredMessage]:
        found: list[list[StoredMessage]] = []
        self.owner.store.read_run(run, found.append)
        self.owner.run()
        assert [vars_of(each) for each in found[0]] == [
            vars_of(each) for each in self.owner.store.read_run_blocking(run)
        ]
        return found[0]

    def fill(self, queue: QueueJournal, first: int, count: int, *, persistent: bool) -> Run:
        """Publish messages to a durable queue, and write them to disk."""
        messages = stored(count, b"%050d" % first, persistent)
        if persistent:
            for position, message in enumerate(messages, first):
                self.owner.store.add_message([queue], [position], message)
        run = self.owner.store.write_run(queue, first, messages)
        self.owner.commit()
        return run


def vars_of(message: StoredMessage) -> tuple[bytes, bytes, bytes, bool]:
    return message.route, message.header, message.body, message.persistent


def after_a_start(media: TwoMedia, queue: QueueJournal) -> int:
    """How many messages of a queue a start finds after power loss."""
    count = 0
    for item in after_power_loss(media.medium).queues[queue.number].contents:
        if isinstance(item, Run):
            count += sum(end - first for first, end in item.live)
        else:
            count += len(item.messages)
    return count


@pytest.fixture
def media() -> TwoMedia:
    return TwoMedia()


def test_the_messages_of_a_queue_that_is_not_durable_are_on_it(media: TwoMedia) -> None:
    queue = media.owner.store.add_queue(False)
    runs = [
        media.owner.store.write_run(queue, first, stored(20, b"%050d" % first, persistent))
        for first, persistent in ((0, True), (20, False))
    ]
    assert media.queue_blobs() == (0, 1)
    for run in runs:
        assert [each.body for each in media.read(run)] == [b"%050d" % run.first] * 20

    queue.settle_range(0, 40)
    media.owner.commit()
    assert media.queue_blobs() == (0, 0), "what is settled is deleted there"
    assert media.owner.failures == []


def test_runs_without_a_persistent_message_are_on_it_in_a_durable_queue_too(
    media: TwoMedia,
) -> None:
    queue = media.owner.store.add_queue(True)
    media.owner.commit()
    persistent = media.fill(queue, 0, 20, persistent=True)
    transient = media.fill(queue, 20, 20, persistent=False)
    mixed = media.owner.store.write_run(queue, 40, [*stored(1), *stored(19, persistent=False)])
    media.owner.commit()
    assert media.queue_blobs() == (1, 1)
    for run in (persistent, transient, mixed):
        assert len(media.read(run)) == 20

    assert after_a_start(media, queue) == 20


def test_they_wait_neither_for_a_batch_nor_for_the_other_medium(media: TwoMedia) -> None:
    """As while the database is away."""
    queue = media.owner.store.add_queue(True)
    media.owner.commit()
    _, _, writing, reading = media.owner.executors
    media.owner.publish(queue, 0, 1)
    media.owner.store.commit(force=True)

    run = media.owner.store.write_run(queue, 1, stored(20, persistent=False))
    writing.run()
    assert run.messages is None, "it is written"
    found: list[list[StoredMessage]] = []
    media.owner.store.read_run(run, found.append)
    reading.run()
    assert len(found[0]) == 20
    assert media.owner.writing.jobs, "the batch is not written yet"


def test_a_body_that_a_durable_queue_shares_is_in_both_places(media: TwoMedia) -> None:
    store = media.owner.store
    durable, other = store.add_queue(True), store.add_queue(False)
    message = stored(1, BODY)[0]
    store.add_message([durable], [0], message)
    media.owner.commit()
    runs = [store.write_run(queue, 0, [message]) for queue in (durable, other)]
    media.owner.commit()
    durable.settle(0)
    media.owner.commit()
    media.owner.commit()
    assert [name for name in media.medium.list() if name.startswith("bodies-")] == []
    assert [each.body for each in media.read(runs[1])] == [BODY]


@pytest.mark.parametrize("durable", [False, True])
def test_sparse_segments_are_compacted_where_they_are(media: TwoMedia, durable: bool) -> None:
    queue = media.owner.store.add_queue(durable)
    media.owner.commit()
    runs = [
        media.owner.store.write_run(queue, first, stored(20, b"%050d" % first, False))
        for first in range(0, 200, 20)
    ]
    before = media.queue_blobs()[1]
    queue.settle_range(0, 50)
    queue.settle_range(51, 200)
    media.owner.commit()
    for _ in range(2):
        media.owner.store.compact()
        media.owner.commit()
    assert before > 1
    assert media.queue_blobs() == (0, 1)
    assert media.read(runs[2])[10].body == b"%050d" % 40
    assert media.owner.failures == []


def test_a_segment_of_both_kinds_is_compacted_to_both_media(media: TwoMedia) -> None:
    queue = media.owner.store.add_queue(True)
    media.owner.commit()
    runs = []
    for first in range(0, 100, 20):
        messages = [*stored(19, b"%050d" % first, False), *stored(1, b"%050d" % first)]
        media.owner.store.add_message([queue], [first + 19], messages[19])
        runs.append(media.owner.store.write_run(queue, first, messages))
        media.owner.commit()
    last = media.fill(queue, 100, 20, persistent=True)
    # Too far apart for one run.
    queue.settle_range(1, 99)
    media.owner.commit()
    for _ in range(2):
        media.owner.store.compact()
        media.owner.commit()
    assert media.read(runs[0])[0].body == b"%050d" % 0
    assert media.read(runs[4])[19].body == b"%050d" % 80
    assert len(media.read(last)) == 20
    assert media.transient.list()
    assert media.owner.failures == []


def test_a_stop_leaves_what_has_to_survive(media: TwoMedia) -> None:
    queue = media.owner.store.add_queue(True)
    media.owner.commit()
    media.fill(queue, 0, 20, persistent=True)
    media.fill(queue, 20, 20, persistent=False)
    media.owner.store.close()
    assert media.owner.failures == []
    assert after_a_start(media, queue) == 20
