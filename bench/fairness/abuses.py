"""The abuses: what one client does while the probe measures.

Each prepares what it needs, which is not measured, and acts then. Where the number of objects is
smaller for RabbitMQ, because it needs many minutes for as many as Leveret gets, the title says so.
"""

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from pamqp import commands, common

from bench.contestants import RABBITMQ, Running
from bench.fairness.abuser import Abuser, method
from tests.support.wire import marshal_content


def publish(
    routing_key: str, body: bytes = b"x" * 16, exchange: str = "", **fields: object
) -> bytes:
    """The frames of a publish; `fields` are `mandatory` and `properties`."""
    properties = fields.get("properties")
    assert properties is None or isinstance(properties, commands.Basic.Properties)
    publishing = commands.Basic.Publish(
        exchange=exchange, routing_key=routing_key, mandatory=bool(fields.get("mandatory"))
    )
    return marshal_content(publishing, 1, body, properties)


def declare_queue(name: str, arguments: common.FieldTable | None = None, **flags: bool) -> bytes:
    """The frame that declares a queue, without a reply."""
    declare = commands.Queue.Declare(queue=name, arguments=arguments or {}, nowait=True, **flags)
    return method(declare)


def declare_exchange(
    name: str, exchange_type: str = "fanout", arguments: common.FieldTable | None = None
) -> bytes:
    """The frame that declares an exchange, without a reply."""
    declare = commands.Exchange.Declare(
        exchange=name, exchange_type=exchange_type, arguments=arguments or {}, nowait=True
    )
    return method(declare)


def bind(
    queue: str, exchange: str, routing_key: str = "", arguments: common.FieldTable | None = None
) -> bytes:
    """The frame that binds a queue, without a reply."""
    binding = commands.Queue.Bind(
        queue=queue,
        exchange=exchange,
        routing_key=routing_key,
        arguments=arguments or {},
        nowait=True,
    )
    return method(binding)


class Abuse(ABC):
    """What one client does."""

    key: ClassVar[str]
    title: ClassVar[str]
    plugin: ClassVar[str] = ""
    """The plugin that RabbitMQ would need, which runs without any; empty if none."""

    def __init__(self, broker: Running) -> None:
        self.is_rabbitmq = broker.kind == RABBITMQ.kind

    @abstractmethod
    def prepare(self, client: Abuser) -> None:
        """Declare what is needed."""

    @abstractmethod
    def act(self, client: Abuser) -> None:
        """Return when the broker has done what was asked for."""


class DeadLetterCascade(Abuse):
    key = "cascade"
    title = "one message into 18 levels of two queues that dead-letter on"

    def prepare(self, client: Abuser) -> None:
        frames = [declare_exchange(f"level{level}") for level in range(19)]
        for level in range(18):
            arguments: common.FieldTable = {
                "x-max-length": 0,
                "x-dead-letter-exchange": f"level{level + 1}",
            }
            for side in "ab":
                queue = f"cascade{level}{side}"
                frames += [declare_queue(queue, arguments), bind(queue, f"level{level}")]
        frames += [declare_queue("cascaded", {"x-max-length": 1}), bind("cascaded", "level18")]
        client.send_all(frames)

    def act(self, client: Abuser) -> None:
        persistent = commands.Basic.Properties(delivery_mode=2)
        client.send_all([publish("", exchange="level0", properties=persistent)])


class DeadLetterFanout(Abuse):
    key = "dead-letter-fanout"
    title = "one message into 8 queues with TTL 0 that dead-letter into their own fanout"

    def prepare(self, client: Abuser) -> None:
        frames = [declare_exchange("circle")]
        arguments: common.FieldTable = {"x-message-ttl": 0, "x-dead-letter-exchange": "circle"}
        for number in range(8):
            queue = f"circle{number}"
            frames += [declare_queue(queue, arguments), bind(queue, "circle")]
        client.send_all(frames)

    def act(self, client: Abuser) -> None:
        client.send_all([publish("", exchange="circle")])


class TopicPatterns(Abuse):
    key = "topic-patterns"
    title = "20 publishes through 5,000 random topic patterns, with keys of 125 words"

    def prepare(self, client: Abuser) -> None:
        choose = random.Random(3)
        frames = [declare_exchange("patterns", "topic"), declare_queue("matched")]
        for number in range(5000):
            words = [choose.choice("a*#") for _ in range(choose.randint(20, 100))]
            frames.append(bind("matched", "patterns", ".".join([*words, f"z{number}"])))
        client.send_all(frames)

    def act(self, client: Abuser) -> None:
        keys = [".".join(["a"] * 124) + f".b{number}" for number in range(20)]
        client.send_all([publish(key, exchange="patterns") for key in keys])


class ConsumersGone(Abuse):
    key = "consumers-gone"
    title = "200,000 consumers of one queue gone at once (RabbitMQ: 20,000)"

    def prepare(self, client: Abuser) -> None:
        count = 20_000 if self.is_rabbitmq else 200_000
        consume = [
            method(commands.Basic.Consume(queue="left", consumer_tag=str(number), nowait=True))
            for number in range(count)
        ]
        client.send_all([declare_queue("left"), *consume])

    def act(self, client: Abuser) -> None:
        client.close_socket()
        # What the broker has to do is over when the probe is as quick as before.
        time.sleep(1.0)


class HashWeights(Abuse):
    key = "hash-weights"
    title = "20 consistent-hash bindings of weight 1,000"
    plugin = "rabbitmq_consistent_hash_exchange"

    def prepare(self, client: Abuser) -> None:
        client.send_all([declare_exchange("ring", "x-consistent-hash")])

    def act(self, client: Abuser) -> None:
        for number in range(20):
            queue = f"ring{number}"
            client.send_all([declare_queue(queue), bind(queue, "ring", "1000")])
            client.send_all([publish(f"key{each}", exchange="ring") for each in range(100)])


class DurableQueues(Abuse):
    key = "durable-queues"
    title = "steady persistent publishing beside 100,000 durable queues (RabbitMQ: 5,000)"
    count = 100_000
    rabbitmq_count = 5_000
    argument = b""

    def prepare(self, client: Abuser) -> None:
        arguments: common.FieldTable = {"x-note": self.argument.decode()} if self.argument else {}
        count = self.rabbitmq_count if self.is_rabbitmq else self.count
        client.send_all(
            declare_queue(f"durable{number}", arguments, durable=True) for number in range(count)
        )
        client.send_all([declare_queue("written", {"x-max-length": 1000}, durable=True)])

    def act(self, client: Abuser) -> None:
        persistent = commands.Basic.Properties(delivery_mode=2)
        message = publish("written", b"x" * 1000, properties=persistent)
        client.send_all([message] * 300_000)


class LongArguments(DurableQueues):
    key = "long-arguments"
    title = "steady persistent publishing beside 400 durable queues with 100 kB of arguments"
    count = rabbitmq_count = 400
    argument = b"y" * 100_000


class Objects(Abuse):
    key = "objects"
    title = "250,000 queues declared, bound and deleted (RabbitMQ: 10,000)"

    def prepare(self, client: Abuser) -> None:
        client.send_all([declare_exchange("objects", "direct")])

    def act(self, client: Abuser) -> None:
        count = 10_000 if self.is_rabbitmq else 250_000
        client.send_all(self._frames(count))

    def _frames(self, count: int) -> Iterator[bytes]:
        for number in range(count):
            yield declare_queue(f"object{number}")
        for number in range(count):
            yield bind(f"object{number}", "objects", f"key{number}")
        for number in range(count):
            yield method(commands.Queue.Delete(queue=f"object{number}", nowait=True))


class Transaction(Abuse):
    key = "transaction"
    title = "the commit of a transaction of a million persistent publishes (RabbitMQ: 100,000)"

    def prepare(self, client: Abuser) -> None:
        client.send_all([declare_queue("committed", durable=True)])
        client.request(commands.Tx.Select())
        message = publish("committed", properties=commands.Basic.Properties(delivery_mode=2))
        client.send_all([message] * (100_000 if self.is_rabbitmq else 1_000_000))

    def act(self, client: Abuser) -> None:
        client.request(commands.Tx.Commit())


class Filled(Abuse):
    """An abuse of a queue that has many messages."""

    count = 1_000_000
    arguments: ClassVar[common.FieldTable] = {}

    def prepare(self, client: Abuser) -> None:
        client.send_all([declare_queue("filled", self.arguments)])
        client.send_all([publish("filled")] * self.count)


class Purge(Filled):
    key = "purge"
    title = "a purge of a million messages"

    def act(self, client: Abuser) -> None:
        client.request(commands.Queue.Purge(queue="filled"))


class QueueDeletion(Filled):
    key = "queue-deletion"
    title = "the deletion of a queue of a million messages"

    def act(self, client: Abuser) -> None:
        client.request(commands.Queue.Delete(queue="filled"))


class Requeue(Filled):
    key = "requeue"
    title = "a million unacknowledged messages requeued at once"

    def prepare(self, client: Abuser) -> None:
        super().prepare(client)
        client.send(commands.Basic.Consume(queue="filled", consumer_tag="taker"), 1)
        received = 0
        while received < self.count:
            # Of the frames of a delivery only the last, the body, is counted.
            start = client.read_bytes(7)
            client.read_bytes(int.from_bytes(start[3:7], "big") + 1)
            received += start[0] == 3
        client.send_all([method(commands.Basic.Cancel(consumer_tag="taker", nowait=True))])

    def act(self, client: Abuser) -> None:
        client.settle(0, requeue=True)


class MessagesExpire(Abuse):
    key = "messages-expire"
    title = "400,000 messages of one queue expire at once"
    wait_s = 15.0

    def prepare(self, client: Abuser) -> None:
        ttl = int(self.wait_s * 1000)
        self._begun = time.monotonic()
        arguments: common.FieldTable = {"x-message-ttl": ttl}
        client.send_all([declare_queue("expiring-messages", arguments)])
        client.send_all([publish("expiring-messages")] * 400_000)

    def act(self, client: Abuser) -> None:
        time.sleep(max(0.0, self._begun + self.wait_s - time.monotonic()))
        deadline = time.monotonic() + 2 * self.wait_s
        declare = commands.Queue.Declare(queue="expiring-messages", passive=True)
        while client.call(declare, commands.Queue.DeclareOk).message_count:
            if time.monotonic() > deadline:
                raise TimeoutError("the messages did not expire")
            time.sleep(0.1)


class QueuesExpire(Abuse):
    key = "queues-expire"
    title = "53,000 queues expire at once (RabbitMQ: 5,000)"
    wait_s = 15.0

    def prepare(self, client: Abuser) -> None:
        count = 5_000 if self.is_rabbitmq else 53_000
        arguments: common.FieldTable = {"x-expires": int(self.wait_s * 1000)}
        client.send_all(declare_queue(f"expiring{number}", arguments) for number in range(count))
        self._begun = time.monotonic()

    def act(self, client: Abuser) -> None:
        time.sleep(max(0.0, self._begun + self.wait_s + 1.0 - time.monotonic()))


class Returns(Abuse):
    key = "returns"
    title = "a million messages returned as unroutable"

    def prepare(self, client: Abuser) -> None:
        """Nothing is needed."""

    def act(self, client: Abuser) -> None:
        client.send_all([publish("no-such-queue", mandatory=True)] * 1_000_000)


class Fanout(Abuse):
    key = "wide-fanout"
    title = "100 publishes to a fanout of 20,000 queues (RabbitMQ: 2,000)"

    def prepare(self, client: Abuser) -> None:
        frames = [declare_exchange("wide")]
        for number in range(2_000 if self.is_rabbitmq else 20_000):
            queue = f"wide{number}"
            frames += [declare_queue(queue, {"x-max-length": 1}), bind(queue, "wide")]
        client.send_all(frames)

    def act(self, client: Abuser) -> None:
        client.send_all([publish("", exchange="wide")] * 100)


class DeadLetterPatterns(TopicPatterns):
    key = "dead-letter-patterns"
    title = "20 dead letters through 5,000 random topic patterns, with keys of 125 words"

    def prepare(self, client: Abuser) -> None:
        super().prepare(client)
        arguments: common.FieldTable = {"x-max-length": 0, "x-dead-letter-exchange": "patterns"}
        dying = [declare_exchange("dying"), declare_queue("died", arguments), bind("died", "dying")]
        client.send_all(dying)

    def act(self, client: Abuser) -> None:
        keys = [".".join(["a"] * 124) + f".b{number}" for number in range(20)]
        client.send_all([publish(key, exchange="dying") for key in keys])


class SharedPrefetch(Abuse):
    key = "shared-prefetch"
    title = "1,000 deliveries under a prefetch of 1 that 50,000 consumers share (RabbitMQ: 5,000)"

    def prepare(self, client: Abuser) -> None:
        count = 5_000 if self.is_rabbitmq else 50_000
        consume = [
            method(commands.Basic.Consume(queue="shared", consumer_tag=str(number), nowait=True))
            for number in range(count)
        ]
        client.send_all([declare_queue("shared"), *consume])
        client.call(commands.Basic.Qos(prefetch_count=1, global_=True), commands.Basic.QosOk)

    def act(self, client: Abuser) -> None:
        client.send_bytes(b"".join([publish("shared")] * 1_000))
        for tag in range(1, 1_001):
            # The method, the header and the body of a delivery.
            for _ in range(3):
                start = client.read_bytes(7)
                client.read_bytes(int.from_bytes(start[3:7], "big") + 1)
            client.send(commands.Basic.Ack(delivery_tag=tag), 1)


class LargeTables(Abuse):
    key = "large-tables"
    title = "1,000 messages with 8,000 headers to a headers exchange"

    def prepare(self, client: Abuser) -> None:
        arguments: common.FieldTable = {"x-match": "all", "k1": 1}
        client.send_all(
            [
                declare_exchange("tables", "headers"),
                declare_queue("tabled", {"x-max-length": 1}),
                bind("tabled", "tables", arguments=arguments),
            ]
        )

    def act(self, client: Abuser) -> None:
        headers: common.FieldTable = {f"k{number}": number for number in range(8_000)}
        properties = commands.Basic.Properties(headers=headers)
        client.send_all([publish("", exchange="tables", properties=properties)] * 1_000)


ABUSES: tuple[type[Abuse], ...] = (
    DeadLetterCascade,
    DeadLetterFanout,
    TopicPatterns,
    ConsumersGone,
    HashWeights,
    DurableQueues,
    LongArguments,
    Objects,
    Transaction,
    Purge,
    QueueDeletion,
    Requeue,
    MessagesExpire,
    QueuesExpire,
    Returns,
    Fanout,
    DeadLetterPatterns,
    SharedPrefetch,
    LargeTables,
)
