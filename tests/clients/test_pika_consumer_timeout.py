"""A pika consumer that does not acknowledge in time loses the message, and nothing else."""

from collections.abc import Callable, Iterator

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from tests.support.brokers import Leveret, wait_until

Connect = Callable[..., pika.BlockingConnection]


@pytest.fixture(scope="module")
def broker() -> Iterator[Leveret]:
    """A broker that waits a fifth of a second for acknowledgements."""
    with Leveret(env={"LEVERET_CONSUMER_TIMEOUT": "200"}) as leveret:
        yield leveret


def served(channel: BlockingChannel, got: list[object], count: int) -> bool:
    """Serve a channel's connection; whether it has got so many."""
    channel.connection.process_data_events(0)
    return len(got) >= count


def test_another_consumer_gets_it_and_the_late_acknowledgement_is_no_error(
    connect: Connect, broker: Leveret, name: str
) -> None:
    slow, patient = connect().channel(), connect().channel()
    slow.queue_declare(name, auto_delete=False)
    slow.basic_qos(prefetch_count=1)
    slow_got: list[object] = []
    patient_got: list[object] = []
    slow.basic_consume(name, lambda _c, method, _p, body: slow_got.append((body, method)))
    slow.basic_publish("", name, b"1")
    wait_until(lambda: served(slow, slow_got, 1))

    patient.basic_consume(
        name,
        lambda _c, method, _p, body: patient_got.append((body, method.redelivered)),
        arguments={"x-consumer-timeout": 0},
    )
    wait_until(lambda: served(patient, patient_got, 1), 60)
    assert patient_got == [(b"1", True)]
    assert "deliveries not acknowledged in time" in broker.log_text()

    slow.basic_ack(1)
    slow.queue_declare(name, passive=True)
    patient.basic_cancel(patient.consumer_tags[0])
    slow.basic_publish("", name, b"2")
    wait_until(lambda: served(slow, slow_got, 2), 60)
    assert slow.is_open
