"""What is in the broker while sections are played: one object of every kind, in use."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pika

from tests.parity.http.play import Play

QUEUES: Final = {
    "work": {"x-max-length": 1000, "x-dead-letter-exchange": "dead"},
    "spare": {},
    "single": {"x-single-active-consumer": True},
    "a b/c": {},
}
"""Durable queues of `/` and their arguments."""

SECOND: Final = "second"
"""Another virtual host."""


@contextmanager
def world(play: Play) -> Iterator[None]:
    """Have everything there, and in use."""
    _declare(play)
    with (
        play.connection(name="consumers") as consumers,
        play.connection(name="publishers") as publishers,
        play.connection(SECOND, name="elsewhere") as elsewhere,
    ):
        _use(consumers, publishers)
        elsewhere.channel().queue_declare("other")
        play.quietly_until(
            "/queues/%2F/work",
            lambda queue: (
                queue["messages"] == 3
                and queue["messages_details"]
                and queue["message_stats"]["publish"] == 4
                and queue["message_stats"]["deliver"] >= 1
                and queue["message_stats"]["get_no_ack"]
                and queue["consumer_details"]
            ),
        )
        play.quietly_until("/connections", lambda found: len(found) == 3 and found[0]["channels"])
        play.quietly_until("/channels", lambda found: _are_idle(found, 3))
        play.quietly_until("/queues", lambda found: _are_idle(found, 6))
        yield


def _are_idle(found: list[dict[str, Any]], count: int) -> bool:
    """Whether there are so many channels or queues, which say since when nothing has happened."""
    return len(found) == count and all(each["idle_since"] for each in found)


def _declare(play: Play) -> None:
    ask = play.quietly
    ask("PUT", f"/vhosts/{SECOND}", {"description": "the second", "tags": "a,b"})
    ask("PUT", f"/permissions/{SECOND}/guest", {"configure": ".*", "write": ".*", "read": ".*"})
    ask("PUT", "/users/alice", {"password": "alice", "tags": "management"})
    ask("PUT", "/users/lonely", {"password_hash": "", "tags": ""})
    ask("PUT", "/permissions/%2F/alice", {"configure": "^a", "write": "^a", "read": ".*"})
    topic = {"exchange": "events", "write": "^a", "read": ".*"}
    ask("PUT", "/topic-permissions/%2F/alice", topic)
    ask("PUT", "/user-limits/alice/max-connections", {"value": 10})
    ask("PUT", f"/vhost-limits/{SECOND}/max-queues", {"value": 100})
    policy = {"pattern": "^work$", "definition": {"message-ttl": 3600000}, "apply-to": "queues"}
    ask("PUT", "/policies/%2F/ttl", {**policy, "priority": 1})
    limit = {"pattern": "^work$", "definition": {"max-length": 500}, "apply-to": "queues"}
    ask("PUT", "/operator-policies/%2F/limit", limit)
    ask("PUT", "/global-parameters/colour", {"value": {"name": "blue"}})
    upstream = {"value": {"uri": "amqp://127.0.0.1"}}
    ask("PUT", "/parameters/federation-upstream/%2F/up", upstream)
    for name, arguments in QUEUES.items():
        path = f"/queues/%2F/{name.replace(' ', '%20').replace('/', '%2F')}"
        ask("PUT", path, {"durable": True, "arguments": arguments})
    events = {"type": "topic", "durable": True, "arguments": {"alternate-exchange": "dead"}}
    ask("PUT", "/exchanges/%2F/events", events)
    ask("PUT", "/exchanges/%2F/dead", {"type": "fanout", "durable": True})
    ask("POST", "/bindings/%2F/e/events/q/work", {"routing_key": "a.#", "arguments": {"n": 1}})
    ask("POST", "/bindings/%2F/e/events/q/spare", {"routing_key": "b.#"})
    ask("POST", "/bindings/%2F/e/events/e/dead", {"routing_key": ""})


def _use(consumers: pika.BlockingConnection, publishers: pika.BlockingConnection) -> None:
    publisher = publishers.channel()
    publisher.confirm_delivery()
    properties = pika.BasicProperties(delivery_mode=2, timestamp=1_700_000_000)
    for number in range(4):
        publisher.basic_publish("events", "a.b", b"%d" % number, properties)
    publisher.basic_publish("", "work-is-not-there", b"lost")
    publisher.basic_get("work", auto_ack=True)
    publisher.basic_get("spare", auto_ack=True)
    channel = consumers.channel()
    channel.queue_declare("mine", exclusive=True)
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume("work", lambda *_: None, consumer_tag="c1", arguments={"x-priority": 1})
    channel.basic_consume("single", lambda *_: None, consumer_tag="c2")
    consumers.process_data_events(0)
