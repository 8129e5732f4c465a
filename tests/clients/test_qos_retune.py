"""Where the operator lets basic.qos retune, pika changes the prefetch of a running consumer."""

from collections.abc import Iterator

import pytest
from pika.adapters.blocking_connection import BlockingChannel

from tests.support.brokers import Leveret, wait_until


@pytest.fixture(scope="module")
def broker() -> Iterator[Leveret]:
    """A broker that retunes."""
    with Leveret(env={"LEVERET_QOS_RETUNE": "true"}) as leveret:
        yield leveret


def test_a_running_consumer_gets_as_many_as_it_asks_for_now(
    channel: BlockingChannel, name: str
) -> None:
    channel.queue_declare(name, auto_delete=False)
    channel.confirm_delivery()
    for number in range(6):
        channel.basic_publish("", name, str(number).encode())
    bodies: list[bytes] = []

    def served(count: int) -> bool:
        channel.connection.process_data_events(0)
        return len(bodies) >= count

    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(name, lambda *delivery: bodies.append(delivery[-1]))
    wait_until(lambda: served(1))
    assert channel.queue_declare(name, passive=True).method.message_count == 5

    channel.basic_qos(prefetch_count=4)
    wait_until(lambda: served(4))
    assert channel.queue_declare(name, passive=True).method.message_count == 2
    assert bodies == [b"0", b"1", b"2", b"3"]
