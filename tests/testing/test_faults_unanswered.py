"""Connections that are dropped without an answer to what came last: a confirm is lost."""

from pathlib import Path
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingConnection
from pika.exceptions import StreamLostError
from pika.spec import Basic

from leveret.testing import Broker, BrokerError

PERSISTENT = pika.BasicProperties(delivery_mode=2)


@pytest.mark.parametrize("directory", [False, True])
def test_a_message_is_there_though_its_confirm_is_lost(directory: bool, tmp_path: Path) -> None:
    with Broker(tmp_path if directory else None) as broker:
        connection = BlockingConnection(pika.URLParameters(broker.url))
        channel = connection.channel()
        channel.queue_declare("q", durable=True)
        channel.confirm_delivery()
        seen: list[Any] = []
        connection._impl.add_on_close_callback(lambda *_: seen.append("closed"))
        channel._impl.callbacks.add(1, Basic.Ack, seen.append, one_shot=False)
        broker.faults.drop_connections(3, answered=False)
        with pytest.raises(StreamLostError):
            channel.basic_publish("", "q", b"x", PERSISTENT)
        broker.faults.assert_happened()
        assert seen == ["closed"]
        assert [message.body for message in broker.queue("q").messages()] == [b"x"]


def test_what_is_not_answered_is_received() -> None:
    with Broker() as broker, BlockingConnection(pika.URLParameters(broker.url)):
        with pytest.raises(BrokerError, match="from 1"):
            broker.faults.drop_connections(answered=False)
        with pytest.raises(BrokerError, match="from 1"):
            broker.faults.drop_connections(1, direction="sent", answered=False)
        assert broker.faults.pending() == ()
