"""What operators do to the messages of a queue, over the HTTP API."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ConnectionClosedByBroker

from leveret.commands.client import Client, NotThere, RequestFailed
from tests.support.brokers import Leveret, wait_until

PERSISTENT = 2


class World:
    """A broker, a channel to it, and its HTTP API."""

    def __init__(self, broker: Leveret, channel: BlockingChannel) -> None:
        self.api = Client(broker.data_dir)
        self.url = broker.url
        self.channel = channel
        self._named = 0

    def queue(self, **arguments: Any) -> str:
        """Declare a queue of its own; underscores are written as hyphens."""
        self._named += 1
        name = f"q{self._named}"
        table = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
        self.channel.queue_declare(name, durable=True, arguments=table)
        return name

    def publish(self, queue: str, *bodies: bytes, **properties: Any) -> None:
        for body in bodies:
            how = pika.BasicProperties(delivery_mode=PERSISTENT, **properties)
            self.channel.basic_publish("", queue, body, how)

    def peek(self, queue: str, count: int = 100, **wanted: Any) -> dict[str, Any]:
        answer = self.post(queue, "peek", count=count, **wanted)
        assert isinstance(answer, dict)
        return answer

    def payloads(self, queue: str, **wanted: Any) -> list[str]:
        return [each["payload"] for each in self.peek(queue, **wanted)["messages"]]

    def positions(self, queue: str) -> dict[str, str]:
        """Positions by payload."""
        return {each["payload"]: each["position"] for each in self.peek(queue)["messages"]}

    def post(self, name: str, what: str, /, **body: Any) -> Any:
        return self.api.post("queues", "/", name, what, body=body)

    def count(self, queue: str) -> int:
        ready = self.api.get("queues", "/", queue)["messages_ready"]
        assert isinstance(ready, int)
        return ready

    def taken(self, queue: str) -> list[tuple[bytes | None, bool]]:
        """All messages of a queue, which is empty then: bodies, and whether redelivered."""
        found: list[tuple[bytes | None, bool]] = []
        while True:
            method, _, body = self.channel.basic_get(queue, auto_ack=True)
            if method is None:
                return found
            found.append((body, method.redelivered))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with (
        Leveret(data_dir=tmp_path_factory.mktemp("messages") / "data") as broker,
        pika.BlockingConnection(pika.URLParameters(broker.url)) as connection,
    ):
        channel = connection.channel()
        channel.confirm_delivery()
        yield World(broker, channel)


def test_a_look_goes_on_where_the_last_one_ended(world: World) -> None:
    queue = world.queue()
    world.publish(queue, *[b"%d" % number for number in range(5)])
    first = world.peek(queue, 2)
    assert [each["payload"] for each in first["messages"]] == ["0", "1"]
    assert (first["scanned"], first["next_offset"]) == (2, 2)
    rest = world.peek(queue, 100, offset=first["next_offset"])
    assert [each["payload"] for each in rest["messages"]] == ["2", "3", "4"]
    assert rest["next_offset"] is None
    assert world.peek(queue, 2, offset=3)["next_offset"] is None
    assert world.peek(queue, 2, offset=30) == {"messages": [], "scanned": 0, "next_offset": None}
    assert world.taken(queue) == [(b"%d" % number, False) for number in range(5)]


@pytest.mark.parametrize("priorities", [0, 3])
def test_a_search_looks_at_keys_headers_properties_and_bodies(
    world: World, priorities: int
) -> None:
    queue = world.queue(**({"max_priority": priorities} if priorities else {}))
    world.channel.exchange_declare("searched", "fanout")
    world.channel.queue_bind(queue, "searched")
    for number in range(30):
        headers = {"customer": number, "nested": {"id": f"n{number}"}}
        properties = pika.BasicProperties(message_id=f"m-{number}", headers=headers)
        world.channel.basic_publish("searched", f"key.{number}", b"body %d." % number, properties)
    assert world.payloads(queue, routing_key="key.17") == ["body 17."]
    assert world.payloads(queue, header="customer", header_value="23") == ["body 23."]
    assert world.payloads(queue, header="message_id", header_value="m-5") == ["body 5."]
    assert world.payloads(queue, header_value="n29") == ["body 29."]
    assert world.payloads(queue, header="absent") == []
    assert world.payloads(queue, payload="y 1.") == ["body 1."]
    assert world.payloads(queue, payload="body 2", routing_key="9") == ["body 29."]
    found = world.peek(queue, 1, payload="body 2")
    assert (found["scanned"], found["next_offset"]) == (3, 3)


def test_what_is_wrong_with_a_request_is_said(world: World) -> None:
    queue = world.queue()
    wrong: list[tuple[str, dict[str, Any], str]] = [
        ("peek", {"count": 101}, "count: expected 0 to 100"),
        ("peek", {"offset": -1}, "offset: expected 0 to "),
        ("peek", {"offset": 2**64}, "offset: expected 0 to "),
        ("copy", {"queue": "x", "offset": 2**64}, "'x' does not exist"),
        ("replay", {"offset": 2**64}, "offset: expected 0 to "),
        ("move", {"count": 1}, "expected either a queue or an exchange"),
        ("move", {"queue": queue}, "a queue's messages cannot be moved to itself"),
        ("copy", {"exchange": "absent"}, "exchange 'absent' does not exist in virtual host '/'"),
        ("discard", {}, "positions: expected a list"),
        ("discard", {"positions": ["x"]}, "positions: expected those that a look at the queue"),
    ]
    for what, body, reason in wrong:
        with pytest.raises(RequestFailed, match=reason):
            world.post(queue, what, **body)


@pytest.mark.parametrize("priorities", [0, 3])
def test_selected_messages_leave_the_middle_and_no_trace(world: World, priorities: int) -> None:
    arguments = {"max_priority": priorities} if priorities else {}
    source, target = world.queue(**arguments), world.queue()
    world.publish(source, *[b"%d" % number for number in range(10)])
    at = world.positions(source)
    answer = world.post(source, "move", queue=target, positions=[at["3"], at["7"], "12345"])
    assert answer == {"moved": 2, "refused_key": None}
    assert world.post(source, "discard", positions=[at["0"], at["9"], at["3"]]) == {"discarded": 2}
    assert world.post(source, "copy", queue=target, positions=[at["5"]])["copied"] == 1
    assert world.count(source) == 6
    assert [body for body, _ in world.taken(target)] == [b"3", b"7", b"5"]
    assert world.taken(source) == [(b"%d" % each, False) for each in (1, 2, 4, 5, 6, 8)]


def test_a_copy_leaves_what_it_copies_and_goes_on(world: World) -> None:
    source, target = world.queue(), world.queue()
    world.publish(source, b"a", b"b", b"c", priority=4)
    first = world.post(source, "copy", exchange="amq.default", routing_key=target, count=2)
    assert first == {"copied": 2, "refused_key": None, "next_offset": 2}
    rest = world.post(source, "copy", queue=target, offset=2)
    assert rest == {"copied": 1, "refused_key": None, "next_offset": None}
    assert all(each["properties"]["priority"] == 4 for each in world.peek(target)["messages"])
    assert (
        world.taken(target) == world.taken(source) == [(b"a", False), (b"b", False), (b"c", False)]
    )


def test_a_full_queue_refuses_and_the_message_keeps_its_place(world: World) -> None:
    source, target = world.queue(), world.queue(max_length=1, overflow="reject-publish")
    world.publish(source, b"a", b"b")
    assert world.post(source, "move", queue=target) == {"moved": 1, "refused_key": target}
    assert world.taken(source) == [(b"b", False)]


def test_dead_letters_return_to_where_they_died(world: World) -> None:
    dead = world.queue()
    limited = world.queue(dead_letter_exchange="", dead_letter_routing_key=dead, max_length=1)
    rejecting = world.queue(dead_letter_exchange="", dead_letter_routing_key=dead)
    world.publish(limited, b"dropped", b"kept")
    world.publish(dead, b"own")
    world.publish(rejecting, b"rejected")
    method, _, _ = world.channel.basic_get(rejecting)
    assert method is not None
    world.channel.basic_reject(method.delivery_tag or 0, requeue=False)
    wait_until(lambda: world.count(dead) == 3)
    world.taken(limited)
    assert world.post(dead, "replay") == {"replayed": 2, "left_out": 1, "refused_queue": None}
    assert [world.taken(each)[0][0] for each in (limited, rejecting, dead)] == [
        b"dropped",
        b"rejected",
        b"own",
    ]


def test_a_dead_letter_of_a_queue_that_is_gone_stays(world: World) -> None:
    dead = world.queue()
    gone = world.queue(dead_letter_exchange="", dead_letter_routing_key=dead, max_length=0)
    world.publish(gone, b"x")
    world.channel.queue_delete(gone)
    assert world.post(dead, "replay") == {"replayed": 0, "left_out": 0, "refused_queue": gone}
    assert world.taken(dead) == [(b"x", False)]


def test_delayed_messages_are_listed_and_cancelled(world: World) -> None:
    queue = world.queue()
    world.channel.exchange_declare(
        "delays", "x-delayed-message", durable=True, arguments={"x-delayed-type": "fanout"}
    )
    world.channel.queue_bind(queue, "delays")
    for number in (3, 1, 2):
        headers = {"x-delay": 3_600_000 * number}
        how = pika.BasicProperties(headers=headers, delivery_mode=PERSISTENT)
        world.channel.basic_publish("delays", f"key.{number}", b"x" * number, how)
    found = world.api.get("exchanges", "/", "delays", "delayed")
    assert [(each["routing_key"], each["payload_bytes"]) for each in found] == [
        ("key.1", 1),
        ("key.2", 2),
        ("key.3", 3),
    ]
    assert found[1]["due"] - found[0]["due"] == pytest.approx(3_600_000, abs=60_000)
    assert found[2]["payload"] == "xxx"
    assert world.api.get("exchanges", "/", "delays")["messages_delayed"] == 3
    world.api.delete("exchanges", "/", "delays", "delayed", found[1]["id"])
    with pytest.raises(NotThere, match="waits in exchange 'delays'"):
        world.api.delete("exchanges", "/", "delays", "delayed", found[1]["id"])
    found = world.api.get("exchanges", "/", "delays", "delayed")
    assert [each["routing_key"] for each in found] == ["key.1", "key.3"]
    with pytest.raises(NotThere, match="does not delay"):
        world.api.get("exchanges", "/", "amq.topic", "delayed")


def test_a_consumer_is_cancelled_and_told(world: World) -> None:
    queue = world.queue()
    cancelled: list[str] = []
    got: list[bytes] = []

    def take(_: object, __: object, ___: object, body: bytes) -> None:
        got.append(body)

    channel = world.channel.connection.channel()
    channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    channel.basic_consume(queue, take, consumer_tag="a b/c")
    world.publish(queue, b"held")
    while not got:
        world.channel.connection.process_data_events(0.1)
    (consumer,) = [
        each for each in world.api.get("consumers", "/") if each["queue"]["name"] == queue
    ]
    details = consumer["channel_details"]
    where = ("consumers", "/", details["connection_name"], str(details["number"]))
    with pytest.raises(NotThere, match="consumer 'x' does not exist"):
        world.api.delete(*where, "x")
    world.api.delete(*where, "a b/c")
    while not cancelled:
        world.channel.connection.process_data_events(0.1)
    assert cancelled == ["a b/c"]
    state = world.api.get("queues", "/", queue)
    assert (state["consumers"], state["messages_unacknowledged"]) == (0, 1)
    channel.basic_ack(1)
    channel.close()
    assert world.taken(queue) == []


def test_a_connection_is_closed_with_a_reason(world: World) -> None:
    broker_url = pika.URLParameters(world.url)
    other = pika.BlockingConnection(broker_url)
    name = world.api.get("connections")[-1]["name"]
    world.api.delete("connections", name, headers={"X-Reason": "it hangs"})
    with pytest.raises(ConnectionClosedByBroker, match="it hangs"):
        other.process_data_events(5)


def test_a_deep_queue_is_read_and_changed_on_disk(tmp_path: Path) -> None:
    """The queue has most of its messages on disk only, and after a kill those that it had."""
    count, body = 6000, b"x" * 1000
    with Leveret(data_dir=tmp_path / "data") as broker:
        with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
            world = World(broker, connection.channel())
            source, target = world.queue(), world.queue()
            for number in range(count):
                world.publish(source, b"%d " % number + body)
            wait_until(lambda: world.count(source) == count)
            deep = world.peek(source, 2, offset=5000, truncate=4)["messages"]
            assert [each["payload"] for each in deep] == ["5000", "5001"]
            (found,) = world.peek(source, 2, payload="3999 ", truncate=4)["messages"]
            answer = world.post(source, "move", queue=target, positions=[found["position"]])
            assert answer["moved"] == 1
            assert world.post(source, "discard", positions=[deep[0]["position"]])["discarded"] == 1
        broker.kill()
    with Leveret(data_dir=tmp_path / "data") as broker:
        api = Client(broker.data_dir)
        assert api.get("queues", "/", source)["messages_ready"] == count - 2
        with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
            world = World(broker, connection.channel())
            numbers = [int((each or b"").split()[0]) for each, _ in world.taken(source)]
            assert numbers == [each for each in range(count) if each not in (3999, 5000)]
            assert [each for each, _ in world.taken(target)] == [b"3999 " + body]
