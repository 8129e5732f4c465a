"""One publish: to each sink, to the log once, and its outcome."""

import pytest
import structlog

from leveret.engine.queues.queue import Queue
from leveret.engine.routing.sink import ACCEPTED, AWAITS_COMMIT, REFUSED, TOOK_LONG, Sink
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.counters import ChannelCounters
from leveret.engine.values.message import Message
from leveret.engine.vhost import VirtualHost
from leveret.protocol.channels.channel_consumer import ChannelConsumer
from leveret.protocol.channels.deliveries import Deliveries
from leveret.protocol.channels.session import Session
from tests.unit.engine.queues.broker_run import BrokerRun, arguments, leading_to
from tests.unit.engine.queues.consumers import message


@pytest.fixture
def run() -> BrokerRun:
    return BrokerRun()


def persistent(body: bytes = b"") -> Message:
    """A persistent message."""
    transient = message(body)
    return Message(transient.route, transient.header, body, True)


def publish(run: BrokerRun, *queues: Queue, published: Message | None = None) -> int:
    """Publish a message, a persistent one by default, to queues; the outcome."""
    sinks: list[Sink] = [*queues]
    return int(run.vhost.publisher.publish(published or persistent(), sinks))


class TestTheOutcome:
    def test_without_sinks_there_is_none(self, run: BrokerRun) -> None:
        assert publish(run) == 0

    def test_a_persistent_message_in_a_durable_queue_awaits_its_commit(
        self, run: BrokerRun
    ) -> None:
        queue = run.queue("q")
        assert publish(run, queue) == ACCEPTED | AWAITS_COMMIT
        assert publish(run, queue, published=message()) == ACCEPTED

    def test_a_persistent_message_in_a_transient_queue_does_not(self, run: BrokerRun) -> None:
        assert publish(run, run.queue("q", durable=False)) == ACCEPTED

    def test_nor_does_one_that_is_settled_at_once(self, run: BrokerRun) -> None:
        queue = run.queue("q")
        deliveries = Deliveries(Session(lambda: None, structlog.get_logger()), 1, ChannelCounters())
        queue.add_consumer(
            ChannelConsumer(
                "c", queue, deliveries, no_ack=True, exclusive=False, prefetch=0, arguments={}
            )
        )
        assert publish(run, queue) == ACCEPTED

    def test_it_is_the_union_of_those_of_all_sinks(self, run: BrokerRun) -> None:
        full = run.queue("full", arguments=arguments(max_length=0, overflow="reject-publish"))
        assert publish(run, full) == REFUSED
        assert publish(run, full, run.queue("q")) == ACCEPTED | REFUSED | AWAITS_COMMIT

    def test_a_dead_letter_in_the_batch_is_awaited(self, run: BrokerRun) -> None:
        run.queue("dead")
        dropping = run.queue("q", arguments=leading_to("dead", max_length=0))
        assert publish(run, dropping) == ACCEPTED | AWAITS_COMMIT | TOOK_LONG
        assert run.vhost.queues["dead"].message_count() == 1

    def test_without_a_store_nothing_is_awaited(self) -> None:
        vhost = VirtualHost("v")
        settings = Arguments({"x-message-deduplication": True}, {"x-message-deduplication": "bool"})
        deduplicating = Queue("q", arguments=settings, host=vhost)
        assert deduplicating.publish(persistent()) == ACCEPTED | AWAITS_COMMIT
        assert vhost.publisher.publish(persistent(), [deduplicating]) == ACCEPTED


def log_bytes(run: BrokerRun) -> int:
    """Bytes on the medium, once everything is written."""
    run.broker.commit(urgent=True)
    run.run_all()
    return sum(run.medium.size(name) for name in run.medium.list())


def test_several_queues_share_one_entry_of_the_log(run: BrokerRun) -> None:
    queues = [run.queue(name) for name in "qrs"]
    before = log_bytes(run)
    body = bytes(10_000)
    publish(run, *queues, published=persistent(body))
    assert len(body) < log_bytes(run) - before < 2 * len(body)
    publish(run, queues[0], published=persistent(b"alone"))
    run.broker.commit(urgent=True)
    run.run_all()
    again = run.restart()
    assert [each.body for each in again.take_all("q")] == [body, b"alone"]
    for name in "rs":
        assert [each.body for each in again.take_all(name)] == [body]
