"""Which of several pika consumers gets what: priorities, a single active one, cancelled ones."""

from collections.abc import Callable

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from tests.support.brokers import wait_until

Connect = Callable[..., pika.BlockingConnection]


class Worker:
    """A consumer on a connection of its own, and what it got."""

    def __init__(
        self, connection: pika.BlockingConnection, queue: str, *, priority: int = 0
    ) -> None:
        self.connection = connection
        self.channel = connection.channel()
        self.channel.basic_qos(prefetch_count=2)
        self.bodies: list[tuple[bytes, bool]] = []
        self.cancelled = False
        self.channel.add_on_cancel_callback(self._cancelled)
        self.tag = self.channel.basic_consume(queue, self._got, arguments={"x-priority": priority})
        self._tags: list[int] = []

    def _got(self, _channel: object, method: object, _properties: object, body: bytes) -> None:
        assert isinstance(method, pika.spec.Basic.Deliver)
        self._tags.append(method.delivery_tag)
        self.bodies.append((body, method.redelivered))

    def _cancelled(self, _frame: object) -> None:
        self.cancelled = True

    def waits_for(self, count: int) -> None:
        """Serve its connection until it has so many messages."""
        wait_until(lambda: self._served() >= count, what=f"{count} messages")

    def waits_until_cancelled(self) -> None:
        """Serve its connection until it is notified that its queue was deleted."""
        wait_until(lambda: self._served() >= 0 and self.cancelled, what="a cancelled consumer")

    def acknowledges(self) -> None:
        """Acknowledge all it holds."""
        self.channel.basic_ack(0, multiple=True)
        # A reply says that the broker has seen the acknowledgement.
        self.channel.basic_qos(prefetch_count=2)

    def _served(self) -> int:
        self.connection.process_data_events(0)
        return len(self.bodies)


def publish(channel: BlockingChannel, queue: str, *bodies: bytes) -> None:
    channel.confirm_delivery()
    for body in bodies:
        channel.basic_publish("", queue, body)


def test_the_highest_priority_is_served_first(
    connect: Connect, channel: BlockingChannel, name: str
) -> None:
    channel.queue_declare(name, auto_delete=False)
    low = Worker(connect(), name, priority=-1)
    high = Worker(connect(), name, priority=3)
    publish(channel, name, b"1", b"2", b"3")
    low.waits_for(1)
    high.waits_for(2)
    assert (low.bodies, high.bodies) == ([(b"3", False)], [(b"1", False), (b"2", False)])
    high.acknowledges()
    publish(channel, name, b"4")
    high.waits_for(3)
    channel.queue_delete(name)


@pytest.mark.parametrize("end", ["cancelled", "channel closed", "connection closed"])
def test_the_next_single_active_consumer_takes_over(
    connect: Connect, channel: BlockingChannel, name: str, end: str
) -> None:
    channel.queue_declare(name, arguments={"x-single-active-consumer": True})
    first, second = Worker(connect(), name), Worker(connect(), name)
    publish(channel, name, b"1", b"2", b"3", b"4")
    first.waits_for(2)
    second.waits_for(0)
    assert second.bodies == []
    first.acknowledges()
    first.waits_for(4)
    if end == "cancelled":
        first.acknowledges()
        first.channel.basic_cancel(first.tag)
        expected = []
    elif end == "channel closed":
        first.channel.close()
        expected = [(b"3", True), (b"4", True)]
    else:
        first.connection.close()
        expected = [(b"3", True), (b"4", True)]
    publish(channel, name, b"5", b"6")
    second.waits_for(2)
    assert second.bodies == [*expected, (b"5", False), (b"6", False)][:2]
    second.acknowledges()
    second.waits_for(len(expected) + 2)
    channel.queue_delete(name)


def test_a_single_active_consumer_cannot_be_exclusive(channel: BlockingChannel, name: str) -> None:
    channel.queue_declare(name, exclusive=True, arguments={"x-single-active-consumer": True})
    with pytest.raises(ChannelClosedByBroker, match="in exclusive use") as raised:
        channel.basic_consume(name, lambda *_: None, exclusive=True)
    assert raised.value.reply_code == 403


@pytest.mark.parametrize("single_active", [False, True])
def test_consumers_are_told_that_another_connection_deleted_their_queue(
    connect: Connect, channel: BlockingChannel, name: str, single_active: bool
) -> None:
    channel.queue_declare(name, arguments={"x-single-active-consumer": single_active})
    workers = [Worker(connect(), name) for _ in range(2)]
    channel.queue_delete(name)
    for worker in workers:
        worker.waits_until_cancelled()


def test_two_consumers_of_a_channel_have_a_limit_each(channel: BlockingChannel, name: str) -> None:
    limits = {f"{name}-1": 1, f"{name}-3": 3}
    bodies: list[bytes] = []
    for queue in limits:
        channel.queue_declare(queue)
        publish(channel, queue, *[queue.encode()] * 5)
    for queue, limit in limits.items():
        channel.basic_qos(prefetch_count=limit)
        channel.basic_consume(queue, lambda *delivery: bodies.append(delivery[-1]))

    def served() -> bool:
        channel.connection.process_data_events(0)
        return len(bodies) >= sum(limits.values())

    wait_until(served)
    left = [channel.queue_declare(queue, passive=True).method.message_count for queue in limits]
    assert left == [4, 2]
    assert [bodies.count(queue.encode()) for queue in limits] == list(limits.values())
