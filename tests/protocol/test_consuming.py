"""Consumers: begun, alone, cancelled by either side."""

import pytest
from pamqp.commands import Basic, Queue

from leveret.config import Amqp, Config
from leveret.errors import ReplyCode
from tests.protocol import wire
from tests.protocol.playbook import ALL_CAPABILITIES, Client, Play, got

NO_NOTIFY = tuple(name for name in ALL_CAPABILITIES if name != "consumer_cancel_notify")
IN_EXCLUSIVE_USE = "queue 'q' in vhost '/' in exclusive use"


def test_the_reply_comes_before_the_first_delivery(alice: Client) -> None:
    alice.declares(1, "q")
    alice.publishes(1, "q", b"1", b"2")
    alice.says(1, Basic.Consume(queue="q", consumer_tag="c"))
    alice.hears(1, Basic.ConsumeOk("c"))
    alice.gets(1, "c", 1, b"1")
    alice.gets(1, "c", 2, b"2")


def test_a_consumer_without_a_tag_is_given_one(alice: Client) -> None:
    alice.declares(1, "q")
    alice.says(1, Basic.Consume(queue="q"), Basic.Consume(queue="q"))
    tags = [alice.hears_a(1, Basic.ConsumeOk).consumer_tag or "" for _ in range(2)]
    assert all(tag.startswith("amq.ctag-") and len(tag) == 31 for tag in tags)
    assert tags[0] != tags[1]


def test_a_tag_is_used_once_on_a_channel(play: Play) -> None:
    client = play.opens(1, 2)
    client.declares(1, "q")
    client.consumes(1, "q", "c")
    client.consumes(2, "q", "c")
    client.says(1, Basic.Consume(queue="q", consumer_tag="c"))
    client.is_refused(0, ReplyCode.NOT_ALLOWED, "attempt to reuse consumer tag 'c'", Basic.Consume)


def test_a_cancelled_tag_can_be_used_again(alice: Client) -> None:
    alice.declares(1, "q")
    for _ in range(2):
        alice.consumes(1, "q", "c")
        alice.says(1, Basic.Cancel(consumer_tag="c"))
        alice.hears(1, Basic.CancelOk("c"))


def test_consumers_of_a_channel_may_be_limited() -> None:
    play = Play(Config(amqp=Amqp(consumers_per_channel=2)))
    client = play.opens(1, 2)
    client.declares(1, "q")
    for channel, tag in ((1, "a"), (1, "b"), (2, "c")):
        client.consumes(channel, "q", tag)
    client.says(1, Basic.Consume(queue="q", consumer_tag="d"))
    client.is_refused(
        0, ReplyCode.NOT_ALLOWED, "reached maximum (2) of consumers per channel", Basic.Consume
    )
    play.ends()


def test_an_exclusive_consumer_is_alone(play: Play, alice: Client, bob: Client) -> None:
    alice.declares(1, "q")
    alice.consumes(1, "q", "c", exclusive=True)
    for exclusive in (False, True):
        bob.says(1, Basic.Consume(queue="q", exclusive=exclusive))
        bob.is_refused(1, ReplyCode.ACCESS_REFUSED, IN_EXCLUSIVE_USE, Basic.Consume)
        bob.opens_again(1)
    alice.publishes(1, "q", b"1")
    alice.gets(1, "c", 1, b"1")
    alice.does(1, Basic.Cancel(consumer_tag="c"), Basic.CancelOk)
    bob.consumes(1, "q", "d")
    alice.says(1, Basic.Consume(queue="q", exclusive=True))
    alice.is_refused(1, ReplyCode.ACCESS_REFUSED, IN_EXCLUSIVE_USE, Basic.Consume)
    bob.gets(1, "d", 1, b"1", redelivered=True)


def test_get_is_not_consuming_so_it_may_come_beside_an_exclusive_consumer(
    alice: Client, bob: Client
) -> None:
    alice.declares(1, "q")
    alice.does(1, Basic.Qos(prefetch_count=1), Basic.QosOk)
    alice.consumes(1, "q", "c", exclusive=True)
    alice.publishes(1, "q", b"1", b"2")
    alice.gets(1, "c", 1, b"1")
    bob.says(1, Basic.Get(queue="q", no_ack=True))
    bob.hears(1, got(1, b"2"))


def test_cancelling_stops_deliveries_and_leaves_what_was_delivered(
    play: Play, alice: Client
) -> None:
    alice.declares(1, "q")
    alice.consumes(1, "q", "c")
    alice.publishes(1, "q", b"1", b"2")
    alice.gets(1, "c", 1, b"1")
    alice.gets(1, "c", 2, b"2")
    alice.says(1, Basic.Cancel(consumer_tag="c"))
    alice.hears(1, Basic.CancelOk("c"))
    alice.publishes(1, "q", b"3")
    alice.says(1, Basic.Ack(1))
    alice.says(1, Basic.Reject(2, True))
    alice.hears_nothing()
    assert play.queue("q").message_count() == 2


def test_cancelling_what_is_not_there_is_answered(alice: Client) -> None:
    alice.says(1, Basic.Cancel(consumer_tag="nobody"))
    alice.hears(1, Basic.CancelOk("nobody"))


@pytest.mark.parametrize("held_up_by", ["prefetch", "nothing"])
def test_a_consumer_can_be_cancelled_whether_or_not_it_is_held_up(
    play: Play, alice: Client, held_up_by: str
) -> None:
    alice.declares(1, "q")
    alice.does(1, Basic.Qos(prefetch_count=1), Basic.QosOk)
    alice.consumes(1, "q", "c")
    alice.publishes(1, "q", b"1")
    alice.gets(1, "c", 1, b"1")
    if held_up_by == "prefetch":
        alice.publishes(1, "q", b"2")
    alice.does(1, Basic.Cancel(consumer_tag="c"), Basic.CancelOk)
    assert play.queue("q").consumers == []
    alice.says(1, Basic.Ack(1))
    alice.consumes(1, "q", "c")
    if held_up_by == "prefetch":
        alice.gets(1, "c", 2, b"2")


def test_no_local_is_ignored(alice: Client) -> None:
    alice.declares(1, "q")
    alice.consumes(1, "q", "c", no_local=True)
    alice.publishes(1, "q", b"1")
    alice.gets(1, "c", 1, b"1")


# --- the queue goes --------------------------------------------------------------------------


def test_a_consumer_is_told_that_its_queue_is_gone(alice: Client, bob: Client) -> None:
    alice.declares(1, "q")
    alice.consumes(1, "q", "c")
    bob.does(1, Queue.Delete(queue="q"), Queue.DeleteOk)
    alice.hears(1, Basic.Cancel("c", True))
    alice.declares(1, "q")
    alice.consumes(1, "q", "c")


def test_who_cannot_read_it_is_not_told(play: Play, bob: Client) -> None:
    client = play.opens(1, capabilities=NO_NOTIFY)
    client.declares(1, "q")
    client.consumes(1, "q", "c")
    bob.does(1, Queue.Delete(queue="q"), Queue.DeleteOk)
    client.hears_nothing()
    client.declares(1, "q")
    client.consumes(1, "q", "c")


def test_all_consumers_of_a_queue_are_told(play: Play, alice: Client) -> None:
    others = [play.opens(1, 2) for _ in range(2)]
    alice.declares(1, "q")
    for other in others:
        other.consumes(1, "q", "a")
        other.consumes(2, "q", "b")
    alice.does(1, Queue.Delete(queue="q"), Queue.DeleteOk)
    for other in others:
        assert [wire.text_of(*heard) for heard in other.hears_all()] == [
            wire.text_of(1, Basic.Cancel("a", True)),
            wire.text_of(2, Basic.Cancel("b", True)),
        ]


def test_deleting_a_queue_one_consumes_is_answered_before_it_is_told(alice: Client) -> None:
    alice.declares(1, "q")
    alice.consumes(1, "q", "c")
    alice.says(1, Queue.Delete(queue="q"))
    assert [wire.text_of(*each) for each in alice.hears_all()] == [
        wire.text_of(1, Queue.DeleteOk(0)),
        wire.text_of(1, Basic.Cancel("c", True)),
    ]


def test_a_consumer_whose_queue_is_gone_may_be_cancelled_and_settled(
    alice: Client, bob: Client
) -> None:
    alice.declares(1, "q")
    alice.does(1, Basic.Qos(prefetch_count=1), Basic.QosOk)
    alice.consumes(1, "q", "c")
    alice.publishes(1, "q", b"1", b"2")
    alice.gets(1, "c", 1, b"1")
    bob.does(1, Queue.Delete(queue="q"), Queue.DeleteOk)
    alice.hears(1, Basic.Cancel("c", True))
    alice.says(1, Basic.Cancel(consumer_tag="c"))
    alice.hears(1, Basic.CancelOk("c"))
    alice.says(1, Basic.Ack(1))
    alice.hears_nothing()
