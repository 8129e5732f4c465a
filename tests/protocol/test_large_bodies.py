"""Bodies of several frames: the same to the consumer, however they are cut on the way."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp.commands import Basic, Tx

from leveret.limits import OUTPUT_HIGH_WATER_BYTES
from leveret.protocol.wire.output_parts import REFERRED_BODY_BYTES
from tests.protocol import wire
from tests.protocol.harness import Client, Harness
from tests.support.examples import examples

EVERYTHING = 10_000_000
frame_sizes = st.sampled_from([4096, 20_000, 131_072])
body_sizes = st.sampled_from([1, 4088, 8191, 8192, 50_000, 131_064, 131_065, 300_000])


def body_of(size: int) -> bytes:
    """No two stretches of it are alike."""
    return b"".join(number.to_bytes(4, "big") for number in range(size // 4 + 1))[:size]


def published(body: bytes, payload_max: int) -> bytes:
    """A publish whose body is in frames of at most `payload_max` octets."""
    method = wire.method_frames(1, Basic.Publish(routing_key="q"))
    frames = [
        wire.frame(3, 1, body[at : at + payload_max]) for at in range(0, len(body), payload_max)
    ]
    return method + wire.content_header(1, len(body), Basic.Properties()) + b"".join(frames)


@settings(max_examples=examples(60), deadline=None)
@given(
    st.lists(st.tuples(body_sizes, st.integers(3000, 131_064)), min_size=1, max_size=4),
    st.lists(st.sampled_from([1, 500, 1460, 10_000, 65_536, 256_000]), min_size=1, max_size=6),
    frame_sizes,
    st.sampled_from([0, 1000, EVERYTHING]),
)
def test_bodies_arrive_in_whatever_chunks_they_were_sent(
    messages: list[tuple[int, int]], chunks: list[int], frame_max: int, slice_bytes: int
) -> None:
    harness = Harness()
    publisher, consumer = harness.open_client(1), harness.open_client(1, frame_max=frame_max)
    publisher.declare(1, "q")
    consumer.consume(1, "q", "c", no_ack=True)
    bodies = [body_of(size) for size, _ in messages]
    octets = b"".join(
        published(body, payload) for body, (_, payload) in zip(bodies, messages, strict=True)
    )
    at = sent = 0
    while at < len(octets):
        # After a while no more octet by octet: a body has hundreds of thousands of them.
        size = max(chunks[sent % len(chunks)], 5000 if sent > 200 else 1)
        publisher.feed_unchecked(octets[at : at + size], slice_bytes)
        at += size
        sent += 1
    received = [content for _, content in consumer.receive_all()]
    assert [content.body for content in received if isinstance(content, wire.Content)] == bodies
    harness.disconnect_all()


@pytest.mark.parametrize("size", [REFERRED_BODY_BYTES - 1, REFERRED_BODY_BYTES, 300_000])
def test_the_output_is_the_same_in_parts_and_joined(harness: Harness, size: int) -> None:
    alice, bob = harness.open_client(1), harness.open_client(1)
    for client, queue in ((alice, "a"), (bob, "b")):
        client.declare(1, queue)
        client.consume(1, queue, "c", no_ack=True)
        client.reads = False
    body = b"x" * size
    for queue in ("a", "b"):
        bob.feed_unchecked(wire.publish(1, queue, body) + wire.publish(1, queue, b"small"))
    first, second = alice.connection.session, bob.connection.session
    size_before = first.output_size()
    joined = first.take_output()
    gathered = b"".join(second.take_parts())
    assert len(joined) == size_before
    assert gathered == joined.replace(b"\x00\x01a", b"\x00\x01b")
    assert first.output_size() == second.output_size() == 0


def test_bodies_that_wait_for_a_consumer_that_does_not_read_count_as_output(
    harness: Harness,
) -> None:
    slow, publisher = harness.open_client(1), harness.open_client(1)
    publisher.declare(1, "q")
    slow.consume(1, "q", "c", no_ack=True)
    slow.reads = False
    publisher.publish(1, "q", *[bytes(100_000)] * 10)
    waiting = slow.connection.session.output_size()
    assert OUTPUT_HIGH_WATER_BYTES <= waiting < OUTPUT_HIGH_WATER_BYTES + 101_000
    assert harness.queue("q").message_count() == 7


def test_a_returned_body_and_a_fetched_one_are_whole(alice: Client) -> None:
    body = body_of(300_000)
    alice.declare(1, "q")
    alice.publish(1, "q", body)
    alice.send(1, Basic.Get(queue="q", no_ack=True))
    assert alice.expect_content(1).body == body
    alice.publish(1, "nowhere", body, mandatory=True)
    assert alice.expect_content(1).body == body


def test_a_transaction_publishes_large_bodies_whole(alice: Client) -> None:
    body = body_of(300_000)
    alice.declare(1, "q")
    alice.call(1, Tx.Select(), Tx.SelectOk)
    alice.publish(1, "q", body)
    alice.call(1, Tx.Commit(), Tx.CommitOk)
    alice.send(1, Basic.Get(queue="q", no_ack=True))
    assert alice.expect_content(1).body == body
