"""Clients that work until their broker is killed, and record in the account what they do.

Each is a thread with a connection of its own. What it sends is in the account before it is sent,
what it was answered as soon as it has read that; so whatever the instant of the kill, the account
is right.
"""

import struct
import threading
from abc import abstractmethod
from random import Random

from pamqp import commands
from pamqp.base import Frame

from tests.crash.account import Account, Id, Move, body_of, read_body
from tests.support.wire import ClosedByServerError, Wire, connect, raw_frame, short_string

PERSISTENT_HEADER = b"\x10\x00\x02"
"""Property flags and value of delivery-mode 2."""

DELIVER = struct.pack(">HH", 60, 60)
"""Class and method of basic.deliver."""

TOPIC = "crash.topic"
TOPIC_QUEUES = {"topic.0": "a.#", "topic.1": "#", "topic.2": "*.b"}
"""Queues of the topic exchange, and their binding keys."""
TOPIC_ROUTES = {
    "a.b": ("topic.0", "topic.1", "topic.2"),
    "a.c": ("topic.0", "topic.1"),
    "x.b": ("topic.1", "topic.2"),
    "x.y": ("topic.1",),
}
DEFINED_EXCHANGE = "crash.defined"

Route = tuple[str, str, tuple[str, ...]]
"""Exchange, routing key, and the queues they lead to."""


BODY_FRAME_BYTES = 100_000
"""Bytes of a body in one frame: fewer than frames may have."""


def publish_bytes(exchange: str, routing_key: str, content: bytes) -> bytes:
    """The frames of a persistent message on channel 1, in one piece."""
    arguments = b"\0\0" + short_string(exchange) + short_string(routing_key) + b"\0"
    head = struct.pack(">HHQ", 60, 0, len(content)) + PERSISTENT_HEADER
    frames = [raw_frame(1, 1, struct.pack(">HH", 60, 40) + arguments), raw_frame(2, 1, head)]
    parts = range(0, len(content), BODY_FRAME_BYTES)
    frames += [raw_frame(3, 1, content[at : at + BODY_FRAME_BYTES]) for at in parts]
    return b"".join(frames)


class Numbers:
    """Gives each publisher's messages their numbers, over all kills."""

    def __init__(self) -> None:
        self._next: dict[int, int] = {}

    def next(self, publisher: int) -> Id:
        """The next message of a publisher."""
        number = self._next.get(publisher, 0)
        self._next[publisher] = number + 1
        return Id(publisher, number)


class Client(threading.Thread):
    """One client."""

    def __init__(self, account: Account, numbers: Numbers, who: int, seed: str) -> None:
        super().__init__(name=f"{type(self).__name__} {who}", daemon=True)
        self.account = account
        self.numbers = numbers
        self.who = who
        self.random = Random(f"{seed} {who}")

    def attach(self, host: str, port: int) -> None:
        """Connect and make ready, before the work begins."""
        self.wire = connect(host, port)
        self.prepare()

    def run(self) -> None:
        try:
            while True:
                self.work()
        except (ClosedByServerError, ConnectionError):
            self.wire.close_socket()
        except (ValueError, TimeoutError) as error:
            self.account.wrong.append(f"{self.name}: {error!r}")

    @abstractmethod
    def prepare(self) -> None:
        """Set the channel up."""

    @abstractmethod
    def work(self) -> None:
        """Do a bit of work."""


class Publisher(Client):
    """Publishes with confirms, a window of messages at a time."""

    def __init__(
        self,
        account: Account,
        numbers: Numbers,
        who: int,
        seed: str,
        *,
        routes: list[Route],
        window: int,
        sizes: tuple[int, ...],
    ) -> None:
        super().__init__(account, numbers, who, seed)
        self.routes = routes
        self.window = window
        self.sizes = sizes

    def prepare(self) -> None:
        self.open: dict[int, tuple[Id, tuple[str, ...]]] = {}
        self.tag = 0
        self.first = 1
        self.wire.call(commands.Confirm.Select(), commands.Confirm.SelectOk)

    def work(self) -> None:
        frames: list[bytes] = []
        for _ in range(min(self.window - len(self.open), self.random.choice((1, 10, 100)))):
            exchange, routing_key, queues = self.random.choice(self.routes)
            message = self.numbers.next(self.who)
            self.tag += 1
            self.open[self.tag] = (message, queues)
            self.account.sent(message, queues)
            content = body_of(message, self.random.choice(self.sizes))
            frames.append(publish_bytes(exchange, routing_key, content))
        self.wire.send_bytes(b"".join(frames))
        while len(self.open) >= self.window:
            self._read_confirm()

    def _read_confirm(self) -> None:
        ack = self.wire.read_one(commands.Basic.Ack)
        tags = range(self.first, ack.delivery_tag + 1) if ack.multiple else [ack.delivery_tag]
        for tag in tags:
            if tag in self.open:
                self.account.confirm(*self.open.pop(tag))
        if ack.multiple:
            self.first = ack.delivery_tag + 1


class Receiver(Client):
    """Consumes a queue with a prefetch."""

    def __init__(
        self, account: Account, numbers: Numbers, who: int, seed: str, *, queue: str, prefetch: int
    ) -> None:
        super().__init__(account, numbers, who, seed)
        self.queue = queue
        self.prefetch = prefetch

    def prepare(self) -> None:
        self.last: dict[int, int] = {}
        self.outstanding: list[tuple[int, Id]] = []
        self.wire.call(commands.Basic.Qos(prefetch_count=self.prefetch), commands.Basic.QosOk)
        self.wire.call(commands.Basic.Consume(queue=self.queue), commands.Basic.ConsumeOk)

    def receive(self) -> None:
        """Read the next delivery, and see that it is one that may come."""
        self.take(self.wire.read_one(commands.Basic.Deliver))

    def take(self, deliver: commands.Basic.Deliver) -> None:
        """Read what is delivered."""
        message = read_body(read_content(self.wire))
        if message is None:
            raise ValueError(f"{self.queue}: a body nobody sent")
        ledger = self.account.ledger(self.queue)
        if message not in ledger.sent or message in ledger.acked or message in ledger.settled:
            raise ValueError(f"{self.queue}: {message} may not be delivered (again)")
        if not deliver.redelivered:
            if message.number <= self.last.get(message.publisher, -1):
                raise ValueError(f"{self.queue}: {message} behind a later one")
            self.last[message.publisher] = message.number
        self.outstanding.append((deliver.delivery_tag or 0, message))


class Consumer(Receiver):
    """Acknowledges one by one or many at once, and gives some back."""

    def work(self) -> None:
        self.receive()
        chance = self.random.random()
        if chance < 0.05:
            tag, _ = self.outstanding.pop(self.random.randrange(len(self.outstanding)))
            self.wire.send(commands.Basic.Nack(tag, False, True), 1)
        elif chance < 0.5:
            tag, message = self.outstanding.pop(self.random.randrange(len(self.outstanding)))
            self.account.ack(message, self.queue)
            self.wire.send(commands.Basic.Ack(tag, False), 1)
        elif chance < 0.55 or len(self.outstanding) >= self.prefetch:
            upto = self.random.randrange(len(self.outstanding))
            settled = sorted(self.outstanding)[: upto + 1]
            self.outstanding = sorted(self.outstanding)[upto + 1 :]
            for _, message in settled:
                self.account.ack(message, self.queue)
            self.wire.send(commands.Basic.Ack(settled[-1][0], True), 1)


class Mover(Receiver):
    """Moves messages from one queue to others in transactions."""

    def __init__(
        self,
        account: Account,
        numbers: Numbers,
        who: int,
        seed: str,
        *,
        queue: str,
        targets: tuple[str, ...],
    ) -> None:
        super().__init__(account, numbers, who, seed, queue=queue, prefetch=200)
        self.targets = targets

    def prepare(self) -> None:
        self.wire.call(commands.Tx.Select(), commands.Tx.SelectOk)
        super().prepare()

    def work(self) -> None:
        wanted = self.random.choice((1, 3, 30, 120))
        while len(self.outstanding) < wanted:
            self.receive()
        put: list[tuple[str, Id]] = []
        frames: list[bytes] = []
        for _ in self.outstanding:
            for target in self.targets:
                message = self.numbers.next(self.who)
                put.append((target, message))
                content = body_of(message, self.random.choice((10, 4000, 9000)))
                frames.append(publish_bytes("", target, content))
        if self.random.random() < 0.1:
            self.wire.send_bytes(b"".join(frames))
            self._call(commands.Tx.Rollback(), commands.Tx.RollbackOk)
            return
        move = Move(self.queue, [message for _, message in self.outstanding], put)
        last_tag = self.outstanding[-1][0]
        self.outstanding = []
        self.wire.send_bytes(b"".join(frames))
        self.wire.send(commands.Basic.Ack(last_tag, True), 1)
        self.account.commit(self.who, move)
        self._call(commands.Tx.Commit(), commands.Tx.CommitOk)
        self.account.committed(self.who)

    def _call(self, method: Frame, reply: type[Frame]) -> None:
        """Call a method; deliveries may come before its reply, and are outstanding then."""
        self.wire.send(method, 1)
        while True:
            arrived = self.wire.read().frame
            if isinstance(arrived, reply):
                return
            if not isinstance(arrived, commands.Basic.Deliver):
                raise ValueError(f"{method.name} got {arrived.name}")
            self.take(arrived)


class Definer(Client):
    """Declares, binds, unbinds and deletes queues."""

    def prepare(self) -> None:
        """It needs nothing."""

    def work(self) -> None:
        name = f"defined.{self.random.randrange(20)}"
        binding = f"{DEFINED_EXCHANGE} {name}"
        declared = self.account.definitions.get(name) is not False
        if not declared or name not in self.account.definitions:
            self._do(commands.Queue.Declare(queue=name, durable=True), {name: True})
        elif self.account.definitions.get(binding):
            if self.random.random() < 0.5:
                self._do(commands.Queue.Delete(queue=name), {binding: False, name: False})
            else:
                self._do(commands.Queue.Unbind(0, name, DEFINED_EXCHANGE, name), {binding: False})
        else:
            self._do(
                commands.Queue.Bind(queue=name, exchange=DEFINED_EXCHANGE, routing_key=name),
                {binding: True},
            )

    def _do(self, method: Frame, then: dict[str, bool]) -> None:
        self.account.definitions.update(dict.fromkeys(then))
        self.wire.send(method, 1)
        arrived = self.wire.read()
        if arrived.frame.name != f"{method.name}Ok":
            raise ValueError(f"{method.name} got {arrived.frame.name}")
        self.account.definitions.update(then)
        self.account.defined += 1


def read_content(wire: Wire) -> bytes:
    """The body behind a method with content, read without the codec, which would take most of the
    time."""
    size = int.from_bytes(_read_frame(wire)[4:12])
    content = b""
    while len(content) < size:
        content += _read_frame(wire)
    return content


def read_delivery(wire: Wire) -> bytes:
    """The body of a delivery, which has to come next."""
    payload = _read_frame(wire)
    if payload[:4] != DELIVER:
        raise ValueError(f"expected a delivery, got {payload!r}")
    return read_content(wire)


def _read_frame(wire: Wire) -> bytes:
    """The payload of the next frame."""
    size = int.from_bytes(wire.read_bytes(7)[3:])
    return wire.read_bytes(size + 1)[:-1]
