"""Where a message would go, asked over the HTTP API: nothing is published."""

from collections.abc import Iterator
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from leveret.commands.client import Client, NotThere
from tests.support.brokers import Leveret


class World:
    """A broker, a channel to it, and its HTTP API."""

    def __init__(self, broker: Leveret, channel: BlockingChannel) -> None:
        self.api = Client(broker.data_dir)
        self.channel = channel

    def exchange(self, name: str, kind: str, **arguments: Any) -> str:
        table = {key.replace("_", "-"): value for key, value in arguments.items()}
        self.channel.exchange_declare(name, kind, arguments=table)
        return name

    def bind(self, queue: str, exchange: str, key: str = "", **arguments: Any) -> None:
        self.channel.queue_declare(queue)
        self.channel.queue_bind(queue, exchange, key, arguments)

    def try_it(self, exchange: str, key: str = "", **headers: Any) -> dict[str, list[str]]:
        """By queue, the steps of each way to it."""
        body = {"routing_key": key, "headers": headers}
        answer = self.api.post("exchanges", "/", exchange, "route", body=body)
        assert answer["complete"]
        return {
            each["name"]: [" ".join(_step(step) for step in way) for way in each["ways"]]
            for each in answer["queues"]
        }


def _step(step: dict[str, Any]) -> str:
    key = step["routing_key"]
    arguments = "".join(f"{name}={value};" for name, value in step["arguments"].items())
    return f"{step['source']}-{step['why']}:{key}{arguments}->{step['destination']}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with (
        Leveret(data_dir=tmp_path_factory.mktemp("try") / "data") as broker,
        pika.BlockingConnection(pika.URLParameters(broker.url)) as connection,
    ):
        yield World(broker, connection.channel())


def test_the_bindings_that_match_are_named(world: World) -> None:
    topic = world.exchange("t", "topic")
    world.bind("logs", topic, "log.#")
    world.bind("logs", topic, "*.error")
    world.bind("logs", topic, "mail.*")
    world.bind("mails", topic, "mail.*")
    assert world.try_it(topic, "log.error") == {
        "logs": ["t-binding:log.#->logs", "t-binding:*.error->logs"]
    }
    assert world.try_it(topic, "none") == {}
    direct = world.exchange("d", "direct")
    world.bind("logs", direct, "a")
    world.bind("logs", direct, "b")
    assert world.try_it(direct, "b") == {"logs": ["d-binding:b->logs"]}
    assert world.try_it("amq.default", "mails") == {"mails": [""]}
    headers = world.exchange("h", "headers")
    world.bind("logs", headers, "", **{"x-match": "any", "a": 1, "b": 2})
    world.bind("mails", headers, "", a=1, b=2)
    assert world.try_it(headers, a=1) == {"logs": ["h-binding:x-match=any;a=1;b=2;->logs"]}
    assert set(world.try_it(headers, a=1, b=2)) == {"logs", "mails"}


def test_the_way_goes_over_exchanges_and_alternate_exchanges(world: World) -> None:
    first = world.exchange("first", "direct", alternate_exchange="else")
    second, alternate = world.exchange("second", "fanout"), world.exchange("else", "fanout")
    world.channel.exchange_bind(second, first, "k")
    world.channel.exchange_bind(first, second)
    world.bind("end", second)
    world.bind("rest", alternate)
    assert world.try_it(first, "k") == {"end": ["first-binding:k->second second-binding:->end"]}
    assert world.try_it(first, "x") == {"rest": ["first-alternate:->else else-binding:->rest"]}


def test_what_chance_decides_is_not_decided(world: World) -> None:
    random = world.exchange("random", "x-random")
    for queue in ("one", "two"):
        world.bind(queue, random)
    assert world.try_it(random, "k") == {
        "one": ["random-random:->one"],
        "two": ["random-random:->two"],
    }
    hashing = world.exchange("hash", "x-consistent-hash")
    for queue in ("one", "two"):
        world.bind(queue, hashing, "1")
    ((queue, ways),) = world.try_it(hashing, "k").items()
    assert ways == [f"hash-hash:1->{queue}"]
    assert world.try_it(hashing, "k") == {queue: ways}


def test_nothing_is_published_or_remembered(world: World) -> None:
    history = world.exchange("recent", "x-recent-history")
    unique = world.exchange(
        "unique", "x-message-deduplication", x_cache_size=10, x_cache_ttl=600_000
    )
    later = world.exchange("later", "x-delayed-message", x_delayed_type="direct")
    for exchange in (history, unique, later):
        world.bind("effects", exchange, "k")
    for _ in range(2):
        assert set(world.try_it(history, "k")) == {"effects"}
        tried = world.try_it(unique, "k", **{"x-deduplication-header": "key"})
        assert set(tried) == {"effects"}
        assert set(world.try_it(later, "k", **{"x-delay": 5000})) == {"effects"}
    world.bind("another", history)
    for queue in ("effects", "another"):
        assert world.channel.queue_declare(queue, passive=True).method.message_count == 0
    with pytest.raises(NotThere):
        world.try_it("absent")
