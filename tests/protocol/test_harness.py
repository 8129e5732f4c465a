"""The harness itself: what differs from what a test expects has to fail it."""

import pytest
from pamqp.commands import Basic, Connection, Queue

from tests.protocol import wire
from tests.protocol.harness import Client, Harness, got


def test_a_reply_that_is_not_expected_fails_before_anything_more_is_sent(alice: Client) -> None:
    alice.send(1, Queue.Declare(queue="q"))
    with pytest.raises(AssertionError, match=r"but: 1 Queue.DeclareOk\(queue='q'"):
        alice.send(1, Queue.Declare(queue="r"))
    alice.expect(1, Queue.DeclareOk("q", 0, 0))


def test_another_reply_than_expected_fails(alice: Client) -> None:
    alice.send(1, Queue.Declare(queue="q"))
    with pytest.raises(AssertionError, match=r"not: 1 .*message_count=1"):
        alice.expect(1, Queue.DeclareOk("q", 1, 0))


def test_a_reply_on_another_channel_than_expected_fails(alice: Client) -> None:
    alice.open_channels(2)
    alice.send(2, Queue.Declare(queue="q"))
    with pytest.raises(AssertionError, match="but: 2 "):
        alice.expect(1, Queue.DeclareOk("q", 0, 0))


def test_silence_where_something_is_expected_fails(alice: Client) -> None:
    with pytest.raises(AssertionError, match="but: nothing"):
        alice.expect(1, Queue.DeclareOk("q", 0, 0))
    with pytest.raises(AssertionError, match="but: nothing"):
        alice.expect_method(0, Connection.Close)
    with pytest.raises(AssertionError, match="but: an open one"):
        alice.expect_socket_closed()


def test_another_body_or_property_than_expected_fails(alice: Client) -> None:
    alice.declare(1, "q")
    alice.publish(1, "q", b"sent", b"sent")
    alice.send(1, Basic.Get(queue="q", no_ack=True))
    with pytest.raises(AssertionError, match=r"but: .*b'sent'"):
        alice.expect(1, got(1, b"other", left=1))
    alice.send(1, Basic.Get(queue="q", no_ack=True))
    with pytest.raises(AssertionError, match=r"not: .*priority"):
        alice.expect(1, wire.Content(got(2, b"").method, b"sent", Basic.Properties(priority=1)))


def test_an_unacknowledged_message_without_a_channel_fails_at_the_end() -> None:
    harness = Harness()
    alice = harness.open_client(1)
    alice.declare(1, "q")
    harness.queue("q").unacknowledged += 1
    with pytest.raises(AssertionError, match="q has deliveries without a channel"):
        harness.close()


def test_a_reply_that_is_not_expected_fails_at_the_end() -> None:
    harness = Harness()
    alice = harness.open_client(1)
    alice.send(1, Queue.Declare(queue="q"))
    with pytest.raises(AssertionError, match=r"but: 1 Queue\.DeclareOk"):
        harness.close()
