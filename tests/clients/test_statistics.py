"""What the HTTP API says has happened: the numbers of scripted traffic, and how they change."""

import base64
import json
import urllib.request
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from urllib.error import HTTPError

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import UnroutableError

from tests.support.brokers import Leveret, wait_until

RANGE = "msg_rates_age=60&msg_rates_incr=5&lengths_age=60&lengths_incr=5"


@pytest.fixture(scope="module")
def broker() -> Iterator[Leveret]:
    with Leveret("--memory", management=True) as leveret:
        yield leveret


@pytest.fixture
def channel(broker: Leveret) -> Iterator[BlockingChannel]:
    connection = pika.BlockingConnection(pika.URLParameters(broker.url))
    yield connection.channel()
    connection.close()


def get(broker: Leveret, path: str) -> Any:
    login = base64.b64encode(b"guest:guest").decode()
    request = urllib.request.Request(
        f"{broker.management_url}/api/{path}", headers={"Authorization": f"Basic {login}"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def wait_for_earlier_tests(broker: Leveret) -> None:
    """Wait until their connections have ended."""

    def one_is_open() -> bool:
        churn: dict[str, int] = get(broker, "overview")["churn_rates"]
        connections = churn["connection_created"] - churn["connection_closed"]
        return connections == 1 and churn["channel_created"] - churn["channel_closed"] == 1

    wait_until(one_is_open, what="the end of other connections")


def numbers(stats: dict[str, Any]) -> dict[str, int]:
    """The numbers of a `message_stats` that are not 0, without their details."""
    return {name: value for name, value in stats.items() if isinstance(value, int) and value}


def test_a_queue_counts_what_happens_to_its_messages(
    broker: Leveret, channel: BlockingChannel
) -> None:
    channel.queue_declare("counted")
    assert "message_stats" not in get(broker, "queues/%2F/counted")
    for body in (b"1", b"22", b"333", b"4444"):
        channel.basic_publish("", "counted", body)
    got, _, _ = channel.basic_get("counted")
    channel.basic_ack(got.delivery_tag)
    got, _, _ = channel.basic_get("counted")
    channel.basic_reject(got.delivery_tag, requeue=True)
    channel.basic_get("counted", auto_ack=True)
    held, _, _ = channel.basic_get("counted")
    channel.queue_declare("counted", passive=True)
    queue = get(broker, f"queues/%2F/counted?{RANGE}")
    stats = queue["message_stats"]
    assert numbers(stats) == {
        "publish": 4,
        "get": 3,
        "get_no_ack": 1,
        "deliver_get": 4,
        "redeliver": 1,
        "ack": 1,
    }
    assert (queue["messages"], queue["messages_ready"]) == (2, 1)
    assert queue["message_bytes_ready"] == 4
    assert len(stats["publish_details"]["samples"]) == 13
    assert len(queue["messages_details"]["samples"]) == 13
    stamps = [each["timestamp"] for each in stats["publish_details"]["samples"]]
    assert all(one - other == 5000 for one, other in pairwise(stamps))
    assert all(stamp % 5000 == 0 for stamp in stamps)
    channel.basic_nack(held.delivery_tag, requeue=False)
    for _ in range(2):
        channel.basic_get("counted", auto_ack=True)
    channel.queue_declare("counted", passive=True)
    assert get(broker, "queues/%2F/counted")["message_stats"]["get_empty"] == 1


def test_what_was_published_appears_in_the_samples(
    broker: Leveret, channel: BlockingChannel
) -> None:
    channel.queue_declare("sampled")
    for _ in range(7):
        channel.basic_publish("", "sampled", b"x")
    channel.queue_declare("sampled", passive=True)

    hour = "msg_rates_age=3600&msg_rates_incr=5&lengths_age=3600&lengths_incr=5"

    def newest() -> dict[str, int]:
        queue = get(broker, f"queues/%2F/sampled?{hour}")
        return {
            "publish": queue["message_stats"]["publish_details"]["samples"][0]["sample"],
            "messages": queue["messages_details"]["samples"][0]["sample"],
        }

    wait_until(lambda: newest() == {"publish": 7, "messages": 7}, what="a sample of the queue")
    details = get(broker, f"queues/%2F/sampled?{hour}")["message_stats"]["publish_details"]
    assert details["samples"][-1]["sample"] == 0
    assert details["avg_rate"] == pytest.approx(7 / 3600)


def test_exchanges_channels_and_the_overview(broker: Leveret, channel: BlockingChannel) -> None:
    before = get(broker, "overview")["message_stats"]
    channel.exchange_declare("counting")
    channel.queue_declare("bound")
    channel.queue_bind("bound", "counting", "key")
    channel.confirm_delivery()
    channel.basic_publish("counting", "key", b"1")
    channel.basic_publish("counting", "wrong", b"2")
    with pytest.raises(UnroutableError):
        channel.basic_publish("counting", "wronger", b"3", mandatory=True)
    exchange = get(broker, "exchanges/%2F/counting")
    assert numbers(exchange["message_stats"]) == {
        "publish_in": 3,
        "publish_out": 1,
        "drop_unroutable": 1,
        "return_unroutable": 1,
    }
    sample = exchange["unroutable"][-1]
    assert (sample["routing_key"], sample["returned"]) == ("wrong", False)
    published = {"publish": 3, "confirm": 3, "drop_unroutable": 1, "return_unroutable": 1}
    (shown,) = [each for each in get(broker, "channels") if each["confirm"]]
    assert numbers(shown["message_stats"]) == published
    after = get(broker, "overview")["message_stats"]
    growth = {name: after[name] - before.get(name, 0) for name in published}
    assert growth == published
    assert get(broker, "vhosts/%2F")["message_stats"]["publish"] == after["publish"]
    assert "message_stats" not in get(broker, "exchanges/%2F/amq.fanout")


def test_a_connection_counts_its_traffic(broker: Leveret, channel: BlockingChannel) -> None:
    channel.queue_declare("traffic")
    wait_for_earlier_tests(broker)
    (connection,) = get(broker, "connections")
    for _ in range(10):
        channel.basic_publish("", "traffic", b"x" * 1000)
    channel.queue_declare("traffic", passive=True)
    (later,) = get(broker, "connections?data_rates_age=60&data_rates_incr=5")
    assert later["recv_oct"] - connection["recv_oct"] > 10_000
    assert later["send_oct"] > connection["send_oct"] > 0
    assert later["recv_cnt"] > connection["recv_cnt"] > 0
    assert later["send_cnt"] > 0
    assert later["send_pend"] == 0
    assert len(later["recv_oct_details"]["samples"]) == 13


def test_a_consumer_shows_what_it_holds_and_since_when(
    broker: Leveret, channel: BlockingChannel
) -> None:
    channel.queue_declare("held")
    channel.basic_publish("", "held", b"12345")
    channel.basic_consume("held", lambda *_: None, consumer_tag="holder")
    channel.connection.process_data_events(0)

    def consumer() -> dict[str, Any]:
        (found,) = [each for each in get(broker, "consumers") if each["consumer_tag"] == "holder"]
        return dict(found)

    wait_until(lambda: consumer()["messages_unacknowledged"] == 1, what="the delivery")
    wait_until(
        lambda: get(broker, "vhosts/%2F")["messages_unacknowledged"] == 1, what="a look at it"
    )
    since = consumer()["oldest_unacknowledged"]
    assert consumer()["deliver"] == 1
    assert since == consumer()["oldest_unacknowledged"]
    (shown,) = [each for each in get(broker, "channels") if each["consumer_count"]]
    assert shown["oldest_unacknowledged"] == since
    queue = get(broker, "queues/%2F/held")
    assert (queue["message_bytes"], queue["message_bytes_unacknowledged"]) == (5, 5)
    assert queue["consumer_capacity"] == 1.0


def test_what_came_and_went(broker: Leveret, channel: BlockingChannel) -> None:
    wait_for_earlier_tests(broker)
    before = get(broker, "overview")["churn_rates"]
    other = channel.connection.channel()
    other.queue_declare("short-lived")
    other.queue_declare("short-lived")
    other.queue_delete("short-lived")
    other.close()
    after = get(broker, "overview")["churn_rates"]
    growth = {name: after[name] - before[name] for name in after if not name.endswith("_details")}
    assert {name: value for name, value in growth.items() if value} == {
        "channel_created": 1,
        "channel_closed": 1,
        "queue_declared": 2,
        "queue_created": 1,
        "queue_deleted": 1,
    }


@pytest.mark.parametrize("path", ["queues", "overview", "vhosts", "connections"])
def test_a_range_that_makes_no_sense_is_refused(broker: Leveret, path: str) -> None:
    with pytest.raises(HTTPError) as refused:
        get(broker, f"{path}?lengths_age=60&lengths_incr=0")
    assert refused.value.code == 400
    assert json.load(refused.value) == {
        "error": "invalid_range_parameters",
        "reason": "Invalid range parameters: age 60, incr 0",
    }
