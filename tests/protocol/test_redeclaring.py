"""A queue declared again with other arguments: refused, or adopted if the configuration says so."""

import pytest
from pamqp.commands import Queue
from pamqp.common import FieldTable

from leveret.config import Config, Queues
from leveret.engine.broker import Broker
from leveret.errors import ReplyCode
from tests.protocol.harness import Client

FIRST: FieldTable = {"x-max-length": 10, "x-dead-letter-exchange": "dlx"}


def client_of(redeclare: str) -> Client:
    config = Config(queues=Queues(redeclare="adopt" if redeclare == "adopt" else "strict"))
    client = Client(Broker(config))
    client.log_in()
    client.open_channels(1)
    client.declare(1, "q", arguments=FIRST)
    return client


def test_strictly_it_is_refused_and_the_log_says_who_declared_it_first() -> None:
    client = client_of("strict")
    client.send(1, Queue.Declare(queue="q", arguments={**FIRST, "x-max-length": 20}))
    text = "inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received '20' but current"
    client.expect_error(1, ReplyCode.PRECONDITION_FAILED, f"{text} is '10'", Queue.Declare)
    logged = client.log.of("queue declared differently")
    assert logged["queue"] == "q"
    assert str(logged["declared_by"]).startswith("guest from ")
    assert str(logged["declared_at"]).startswith("1970-01-01T")


@pytest.mark.parametrize(
    ("changed", "left"),
    [({"x-max-length": 2}, 2), ({"x-max-length": 100}, 5), ({"x-max-length-bytes": 3}, 3)],
)
def test_adopting_the_living_queue_goes_by_the_new_values(
    changed: dict[str, int], left: int
) -> None:
    client = client_of("adopt")
    client.publish(1, "q", *[b"."] * 5)
    declared = client.call(1, Queue.Declare(queue="q", arguments=dict(changed)), Queue.DeclareOk)
    assert declared.message_count == left


def test_adopting_what_is_of_its_nature_is_refused_still() -> None:
    client = client_of("adopt")
    client.send(1, Queue.Declare(queue="q", arguments={**FIRST, "x-max-priority": 5}))
    text = (
        "inequivalent arg 'x-max-priority' for queue 'q' in vhost '/': received the value '5' of "
        "type 'byte' but current is none"
    )
    client.expect_error(1, ReplyCode.PRECONDITION_FAILED, text, Queue.Declare)


def test_adopting_a_value_that_cannot_be_is_refused_and_changes_nothing() -> None:
    client = client_of("adopt")
    client.send(1, Queue.Declare(queue="q", arguments={"x-max-length": -1}))
    text = "invalid arg 'x-max-length' for queue 'q' in vhost '/': {value_negative,-1}"
    client.expect_error(1, ReplyCode.PRECONDITION_FAILED, text, Queue.Declare)
    client.reopen_channel(1)
    client.publish(1, "q", *[b"."] * 12)
    again = client.call(1, Queue.Declare(queue="q", passive=True), Queue.DeclareOk)
    assert again.message_count == 10
