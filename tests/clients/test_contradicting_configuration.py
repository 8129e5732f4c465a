"""A start whose configuration contradicts the data: nothing that was kept is deleted."""

from pathlib import Path

import pika
import pytest

from tests.support.brokers import Leveret

BODIES = [b"%d" % number for number in range(20)]


def keep(broker: Leveret, vhost: str = "/") -> None:
    """Keep confirmed messages in a durable queue with priorities."""
    with _opened(broker, vhost) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("work", durable=True, arguments={"x-max-priority": 3})
        for number, body in enumerate(BODIES):
            properties = pika.BasicProperties(delivery_mode=2, priority=number % 5)
            channel.basic_publish("", "work", body, properties)


def messages_in(broker: Leveret, vhost: str = "/") -> list[bytes]:
    """The messages in the queue, in the order in which they were published."""
    found: list[bytes] = []
    with _opened(broker, vhost) as connection:
        channel = connection.channel()
        while (got := channel.basic_get("work"))[0] is not None:
            found.append(got[2])
    return sorted(found, key=int)


def _opened(broker: Leveret, vhost: str) -> pika.BlockingConnection:
    return pika.BlockingConnection(
        pika.ConnectionParameters(broker.host, broker.port, virtual_host=vhost)
    )


def test_another_default_virtual_host_deletes_nothing(tmp_path: Path) -> None:
    """Not even if no client connects: what the data name is kept, and served."""
    with Leveret(data_dir=tmp_path, env={"RABBITMQ_DEFAULT_VHOST": "shop"}) as broker:
        keep(broker, "shop")
        assert broker.stop() == 0
    for _ in range(2):
        with Leveret(data_dir=tmp_path) as broker:
            assert broker.stop() == 0
    with Leveret(data_dir=tmp_path) as broker:
        keep(broker)
        assert messages_in(broker, "shop") == BODIES
        broker.kill()
    with Leveret(data_dir=tmp_path, env={"RABBITMQ_DEFAULT_VHOST": "third"}) as broker:
        assert messages_in(broker, "shop") == BODIES
        assert messages_in(broker) == BODIES


@pytest.mark.parametrize("then", ["commit", "interval", "os"])
def test_another_sync_mode_deletes_nothing(tmp_path: Path, then: str) -> None:
    with Leveret(data_dir=tmp_path, env={"LEVERET_STORAGE_SYNC": "interval"}) as broker:
        keep(broker)
        broker.kill()
    with Leveret(data_dir=tmp_path, env={"LEVERET_STORAGE_SYNC": then}) as broker:
        assert messages_in(broker) == BODIES
        broker.kill()
    with Leveret(data_dir=tmp_path) as broker:
        assert messages_in(broker) == BODIES


def test_a_broker_in_memory_leaves_the_data_as_they_are(tmp_path: Path) -> None:
    with Leveret(data_dir=tmp_path) as broker:
        keep(broker)
        assert broker.stop() == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "blobs").iterdir()}
    with Leveret("--memory", data_dir=tmp_path) as broker:
        assert "the data in storage.data_dir are neither read nor changed" in broker.log_text()
        assert broker.stop() == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "blobs").iterdir()} == before
    with Leveret(data_dir=tmp_path) as broker:
        assert messages_in(broker) == BODIES
