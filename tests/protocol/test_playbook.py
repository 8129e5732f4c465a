"""The playbook itself: what is not as it should be has to fail a test."""

import pytest
from pamqp.commands import Basic, Connection, Queue

from tests.protocol import wire
from tests.protocol.playbook import Client, Play, got


def test_a_reply_that_is_not_heard_fails_before_the_next_word(alice: Client) -> None:
    alice.says(1, Queue.Declare(queue="q"))
    with pytest.raises(AssertionError, match=r"but: 1 Queue.DeclareOk\(queue='q'"):
        alice.says(1, Queue.Declare(queue="r"))
    alice.hears(1, Queue.DeclareOk("q", 0, 0))


def test_another_reply_than_expected_fails(alice: Client) -> None:
    alice.says(1, Queue.Declare(queue="q"))
    with pytest.raises(AssertionError, match=r"not: 1 .*message_count=1"):
        alice.hears(1, Queue.DeclareOk("q", 1, 0))


def test_a_reply_on_another_channel_than_expected_fails(alice: Client) -> None:
    alice.opens(2)
    alice.says(2, Queue.Declare(queue="q"))
    with pytest.raises(AssertionError, match="but: 2 "):
        alice.hears(1, Queue.DeclareOk("q", 0, 0))


def test_silence_where_something_is_expected_fails(alice: Client) -> None:
    with pytest.raises(AssertionError, match="but: nothing"):
        alice.hears(1, Queue.DeclareOk("q", 0, 0))
    with pytest.raises(AssertionError, match="but: nothing"):
        alice.hears_a(0, Connection.Close)
    with pytest.raises(AssertionError, match="but: an open one"):
        alice.is_cut_off()


def test_another_body_or_property_than_expected_fails(alice: Client) -> None:
    alice.declares(1, "q")
    alice.publishes(1, "q", b"sent", b"sent")
    alice.says(1, Basic.Get(queue="q", no_ack=True))
    with pytest.raises(AssertionError, match=r"but: .*b'sent'"):
        alice.hears(1, got(1, b"other", left=1))
    alice.says(1, Basic.Get(queue="q", no_ack=True))
    with pytest.raises(AssertionError, match=r"not: .*priority"):
        alice.hears(1, wire.Content(got(2, b"").method, b"sent", Basic.Properties(priority=1)))


def test_a_message_held_by_nobody_fails_the_play() -> None:
    play = Play()
    alice = play.opens(1)
    alice.declares(1, "q")
    play.queue("q").unacknowledged += 1
    with pytest.raises(AssertionError, match="q has messages with nobody"):
        play.ends()


def test_a_word_nobody_heard_fails_the_play() -> None:
    play = Play()
    alice = play.opens(1)
    alice.says(1, Queue.Declare(queue="q"))
    with pytest.raises(AssertionError, match=r"but: 1 Queue\.DeclareOk"):
        play.ends()
