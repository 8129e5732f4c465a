"""Publishes that take several slices: over hostile patterns, with many keys, to many queues.

The harness ends each time slice at once, so that all that can be interrupted is.
"""

import pytest
from pamqp.commands import Basic, Confirm, Queue, Tx
from pamqp.common import FieldValue

from leveret.limits import FAN_OUT_AT_ONCE
from tests.protocol import wire
from tests.protocol.harness import Client, Harness, got, returned

PATTERNS = [".".join(["#.a"] * count) + ".#.*" for count in range(1, 20)]
KEY = ".".join(["a"] * 40)


@pytest.fixture
def publisher(harness: Harness) -> Client:
    """A client with confirms on channel 1, and the queue `q` with hostile patterns."""
    client = harness.open_client(1)
    client.declare(1, "q")
    for pattern in PATTERNS:
        bind = Queue.Bind(queue="q", exchange="amq.topic", routing_key=pattern)
        client.call(1, bind, Queue.BindOk)
    client.call(1, Confirm.Select(), Confirm.SelectOk)
    return client


def test_a_long_match_takes_several_slices_and_other_clients_are_served_meanwhile(
    harness: Harness, publisher: Client
) -> None:
    other = harness.open_client(1)
    publish = wire.publish(1, KEY, b"1", exchange="amq.topic")
    harness.broker.time_slice.begin(0)
    assert publisher.connection.feed(publish, 10_000)
    assert publisher.connection.is_working()
    other.declare(1, "r")
    harness.broker.time_slice.begin(0)
    slices = 1
    while publisher.connection.work(10_000):
        harness.broker.time_slice.begin(0)
        slices += 1
    assert slices > 3
    assert harness.queue("q").message_count() == 1
    publisher.receive()
    publisher.expect(1, Basic.Ack(1, False))


def test_publishes_behind_a_long_one_keep_their_order(harness: Harness, publisher: Client) -> None:
    publisher.feed_unchecked(
        wire.publish(1, KEY, b"1", exchange="amq.topic")
        + wire.publish(1, "q", b"2")
        + wire.publish(1, KEY + ".b", b"3", exchange="amq.topic")
    )
    bodies = []
    queue = harness.queue("q")
    while (taken := queue.take()) is not None:
        bodies.append(taken[0].body)
    assert bodies == [b"1", b"2", b"3"]
    publisher.receive_all()


def test_a_binding_made_during_a_match_counts_for_the_next_message(
    harness: Harness, publisher: Client
) -> None:
    other = harness.open_client(1)
    other.declare(1, "r")
    publish = wire.publish(1, KEY, b"1", exchange="amq.topic")
    harness.broker.time_slice.begin(0)
    assert publisher.connection.feed(publish, 10_000)
    bind = Queue.Bind(queue="r", exchange="amq.topic", routing_key="a.#")
    other.call(1, bind, Queue.BindOk)
    harness.broker.time_slice.begin(0)
    while publisher.connection.work(10_000):
        harness.broker.time_slice.begin(0)
    assert harness.queue("q").message_count() == 1
    publisher.receive_all()
    publisher.publish(1, KEY, b"2", exchange="amq.topic")
    assert harness.queue("q").message_count() == 2
    assert b"2" in [taken[0].body for taken in iter(harness.queue("r").take, None)]
    publisher.receive_all()


def test_a_message_with_many_keys_is_published_in_slices(
    harness: Harness, publisher: Client
) -> None:
    keys: list[FieldValue] = [f"a.{number}" for number in range(200)]
    properties = Basic.Properties(headers={"CC": keys})
    publisher.publish(1, "nobody", b"1", exchange="amq.topic", properties=properties)
    assert harness.queue("q").message_count() == 1
    publisher.receive_all()


def test_a_message_that_no_pattern_takes_is_returned(publisher: Client) -> None:
    key = ".".join(["b"] * 40)
    publisher.publish(1, key, b"1", exchange="amq.topic", mandatory=True)
    publisher.expect(1, returned(b"1", key=key, exchange="amq.topic"), Basic.Ack(1, False))


@pytest.mark.parametrize("transactional", [False, True])
def test_a_message_to_very_many_queues_reaches_each_once(
    harness: Harness, alice: Client, transactional: bool
) -> None:
    names = [f"q{number}" for number in range(2 * FAN_OUT_AT_ONCE + 1)]
    for name in names:
        alice.send(
            1,
            Queue.Declare(queue=name, nowait=True),
            Queue.Bind(queue=name, exchange="amq.fanout", nowait=True),
        )
    if transactional:
        alice.call(1, Tx.Select(), Tx.SelectOk)
    else:
        alice.call(1, Confirm.Select(), Confirm.SelectOk)
    alice.publish(1, "", b"1", exchange="amq.fanout")
    if transactional:
        alice.call(1, Tx.Commit(), Tx.CommitOk)
    else:
        alice.expect(1, Basic.Ack(1, False))
    assert {int(harness.queue(name).message_count()) for name in names} == {1}
    alice.send(1, Basic.Get(queue=names[-1], no_ack=True))
    alice.expect(1, got(1, b"1", key="", exchange="amq.fanout"))
