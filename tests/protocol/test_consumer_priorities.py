"""Consumer priorities over the wire (RabbitMQ: Consumer Priorities)."""

import pytest
from pamqp.commands import Basic
from pamqp.common import FieldValue

from leveret.errors import ReplyCode
from tests.protocol.harness import Client, Harness

NOT_AN_INTEGER = "invalid arg 'x-priority' for queue 'q' in vhost '/': \"expected integer, got {}\""


def consumes(client: Client, tag: str, priority: int, *, prefetch: int = 0) -> None:
    client.call(1, Basic.Qos(prefetch_count=prefetch), Basic.QosOk)
    client.consume(1, "q", tag, arguments={"x-priority": priority})


def test_the_highest_priority_is_served_until_it_is_full(alice: Client, bob: Client) -> None:
    alice.declare(1, "q")
    alice.consume(1, "q", "none")
    consumes(bob, "high", 10, prefetch=2)
    alice.publish(1, "q", b"1", b"2", b"3")
    bob.expect_delivery(1, "high", 1, b"1")
    bob.expect_delivery(1, "high", 2, b"2")
    alice.expect_delivery(1, "none", 1, b"3")
    bob.send(1, Basic.Ack(1))
    alice.publish(1, "q", b"4", b"5")
    bob.expect_delivery(1, "high", 3, b"4")
    alice.expect_delivery(1, "none", 2, b"5")


def test_a_consumer_that_does_not_read_is_skipped(alice: Client, bob: Client) -> None:
    alice.declare(1, "q")
    consumes(alice, "low", -1)
    consumes(bob, "high", 1)
    bob.connection.session.write_paused = True
    alice.publish(1, "q", b"1")
    alice.expect_delivery(1, "low", 1, b"1")
    bob.connection.session.write_paused = False
    bob.connection.session.resume_consumers()
    alice.publish(1, "q", b"2")
    bob.expect_delivery(1, "high", 1, b"2")


def test_what_waits_goes_to_the_highest_that_has_room(alice: Client) -> None:
    alice.declare(1, "q")
    alice.publish(1, "q", b"1", b"2")
    consumes(alice, "low", 1, prefetch=1)
    alice.expect_delivery(1, "low", 1, b"1")
    consumes(alice, "high", 2, prefetch=1)
    alice.expect_delivery(1, "high", 2, b"2")
    alice.publish(1, "q", b"3")
    alice.send(1, Basic.Ack(2, True))
    alice.expect_delivery(1, "low", 3, b"3")


@pytest.mark.parametrize("priority", [-(2**63), -1, 0, 127, 2**31, 2**63 - 1])
def test_any_integer_is_a_priority(harness: Harness, alice: Client, priority: int) -> None:
    alice.declare(1, "q")
    consumes(alice, "c", priority)
    assert [consumer.priority for consumer in harness.queue("q").consumers] == [priority]


@pytest.mark.parametrize(
    ("value", "kind"),
    [("1", "longstr"), (True, "bool"), (1.5, "float"), (None, "void"), ([1], "array")],
)
def test_nothing_else_is_one(harness: Harness, alice: Client, value: FieldValue, kind: str) -> None:
    alice.declare(1, "q")
    alice.send(1, Basic.Consume(queue="q", arguments={"x-priority": value}))
    alice.expect_error(1, ReplyCode.PRECONDITION_FAILED, NOT_AN_INTEGER.format(kind), Basic.Consume)
    assert harness.queue("q").consumers == []
