"""Clients that go on whatever happens: they connect again, publish again, consume again.

Each is a thread with a connection of its own, and notes in the account what it does. What it sends
is noted before it is sent, what it is answered once it was read.
"""

import asyncio
import threading
import time
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Final, Self

import aio_pika
import pika
from aio_pika.abc import AbstractIncomingMessage, AbstractRobustConnection
from aiormq.exceptions import AMQPError as AiormqError
from pamqp import commands
from pika.adapters.blocking_connection import BlockingChannel
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError as PikaError

from tests.cluster.account import Account, Id, body_of, read_body
from tests.support.brokers import HOST
from tests.support.wire import ClosedByServerError, Wire, describe

AGAIN_S: Final = 0.05
"""Between two attempts to connect."""

SILENCE_S: Final = 2.5
"""After which a client takes its connection for lost."""

AIO_CONNECT_S: Final = 30.0
"""For aio-pika to connect: an attempt that is ended blocks the next one for 10 s."""

AIO_STUCK_S: Final = 4.0
HEARTBEAT_S: Final = 2
PREFETCH: Final = 100
MESSAGE_BYTES: Final = 100
JOIN_S: Final = 60.0
LOST: Final = (
    PikaError,
    AMQPConnectorException,
    AiormqError,
    ClosedByServerError,
    OSError,
    ValueError,
    RuntimeError,
)
"""What client libraries raise when a connection or a channel is lost."""

POLL_S: Final = 0.1

CONNECTIONS: Final = count(1)
PUBLISHERS: Final = count(1)


class Client(threading.Thread):
    """Connects to the brokers in turn, and works until it is stopped."""

    def __init__(self, account: Account, ports: Sequence[int], vhost: str = "/") -> None:
        super().__init__(name=f"{type(self).__name__}-{next(PUBLISHERS)}", daemon=True)
        self.account = account
        self.vhost = vhost
        self.losses: list[str] = []
        """Why connections ended."""
        self._ports = ports
        self._attempts = 0
        self._stopping = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def next_port(self) -> int:
        self._attempts += 1
        return self._ports[(self._attempts - 1) % len(self._ports)]

    def abandon(self) -> None:
        """Have it end some time."""
        self._stopping.set()

    def stop(self) -> None:
        self.abandon()
        self.join(JOIN_S)
        assert not self.is_alive(), f"{self.name} did not stop: {self.losses[-3:]}"

    def run(self) -> None:
        while not self.is_stopping:
            try:
                self.work()
            except LOST as error:
                self.losses.append(repr(error))
                self._stopping.wait(AGAIN_S)

    @abstractmethod
    def work(self) -> None:
        """Connect, and work until the connection is lost or the client is stopped."""


class Publisher(Client):
    """Publishes over a raw socket, with so many messages unconfirmed at once."""

    def __init__(
        self, account: Account, ports: Sequence[int], vhost: str = "/", *, window: int = 20
    ) -> None:
        super().__init__(account, ports, vhost)
        self.is_blocked = False
        self.blocked_for: list[str] = []
        """The reasons of connection.blocked."""
        self._window = window
        self._open: list[int] = []
        """The numbers that are not confirmed, in order."""
        self._next = 0
        self._tags: dict[int, int] = {}
        self._tag = 0

    def work(self) -> None:
        with Wire(HOST, self.next_port(), SILENCE_S) as wire:
            wire.negotiate(vhost=self.vhost)
            wire.open_channel()
            wire.call(commands.Confirm.Select(), commands.Confirm.SelectOk)
            self._tags, self._tag, self.is_blocked = {}, 0, False
            for number in self._open:
                self._publish(wire, number)
            while not self.is_stopping or (self._tags and not self.is_blocked):
                while len(self._tags) < self._window and not self.is_stopping:
                    self._open.append(self._next)
                    self._next += 1
                    self._publish(wire, self._open[-1])
                self._read(wire)

    def _publish(self, wire: Wire, number: int) -> None:
        message = Id(self.name, number)
        self._tag += 1
        self._tags[self._tag] = number
        self.account.publish(message)
        wire.send_content(
            commands.Basic.Publish(routing_key=self.account.queue),
            1,
            body_of(message, MESSAGE_BYTES),
            commands.Basic.Properties(delivery_mode=2),
        )

    def _read(self, wire: Wire) -> None:
        try:
            arrived = wire.read().frame
        except TimeoutError:
            if self.is_blocked and not self.is_stopping:
                return
            raise
        if isinstance(arrived, commands.Connection.Blocked):
            self.is_blocked = True
            self.blocked_for.append(arrived.reason)
        elif isinstance(arrived, commands.Connection.Unblocked):
            self.is_blocked = False
        elif isinstance(arrived, commands.Basic.Ack):
            tag = arrived.delivery_tag or 0
            tags = [each for each in self._tags if each <= tag] if arrived.multiple else [tag]
            for each in tags:
                number = self._tags.pop(each)
                self._open.remove(number)
                self.account.confirm(Id(self.name, number))
        else:
            raise ValueError(describe(arrived))


class OneAtATime(Client):
    """Publishes a message, and waits for its confirm."""

    def __init__(self, account: Account, ports: Sequence[int], vhost: str = "/") -> None:
        super().__init__(account, ports, vhost)
        self._next = 0

    def begin(self) -> tuple[Id, bytes]:
        """The next message, or the last one if it was not confirmed."""
        message = Id(self.name, self._next)
        self.account.publish(message)
        return message, body_of(message, MESSAGE_BYTES)

    def end(self, message: Id) -> None:
        """It is confirmed."""
        self.account.confirm(message)
        self._next = message.number + 1


def pika_connection(port: int, vhost: str) -> pika.BlockingConnection:
    return pika.BlockingConnection(
        pika.ConnectionParameters(
            HOST,
            port,
            vhost,
            heartbeat=HEARTBEAT_S,
            socket_timeout=SILENCE_S,
            stack_timeout=SILENCE_S,
        )
    )


class PikaPublisher(OneAtATime):
    """With pika's blocking connection."""

    def work(self) -> None:
        with pika_connection(self.next_port(), self.vhost) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            while not self.is_stopping:
                message, body = self.begin()
                channel.basic_publish(
                    "",
                    self.account.queue,
                    body,
                    pika.BasicProperties(delivery_mode=2),
                    mandatory=True,
                )
                self.end(message)


class PikaConsumer(Client):
    """Consumes and acknowledges with pika's blocking connection."""

    def work(self) -> None:
        number = next(CONNECTIONS)
        with pika_connection(self.next_port(), self.vhost) as connection:
            channel: BlockingChannel = connection.channel()
            channel.basic_qos(prefetch_count=PREFETCH)
            for deliver, _, body in channel.consume(self.account.queue, inactivity_timeout=POLL_S):
                if deliver is not None:
                    self.account.receive(read_body(body), number, deliver.redelivered)
                    channel.basic_ack(deliver.delivery_tag)
                if self.is_stopping:
                    return


class AioClient(Client):
    """With aio-pika's robust connection, which connects again by itself, always to one port.

    It does not open its channel again if it was told connection.blocked before the connection was
    lost. So after a while without progress the client begins anew, as an application has to.
    """

    def __init__(self, account: Account, port: int, vhost: str = "/") -> None:
        super().__init__(account, [port], vhost)
        self._progress_at = 0.0

    def work(self) -> None:
        try:
            asyncio.run(self._work())
        except asyncio.CancelledError as error:
            raise ConnectionError("the library has cancelled its own task") from error

    async def _work(self) -> None:
        connection = await aio_pika.connect_robust(
            host=HOST,
            port=self.next_port(),
            virtualhost=self.vhost,
            heartbeat=HEARTBEAT_S,
            reconnect_interval=AGAIN_S,
            timeout=AIO_CONNECT_S,
        )
        self.has_progressed()
        try:
            await self.use(connection)
        finally:
            with suppress(TimeoutError):
                await asyncio.wait_for(connection.close(), SILENCE_S)

    def has_progressed(self) -> None:
        self._progress_at = time.monotonic()

    def check_progress(self) -> None:
        """:raises ConnectionError: if there was none for AIO_STUCK_S."""
        if time.monotonic() - self._progress_at > AIO_STUCK_S:
            raise ConnectionError("the library has not restored its channel")

    @abstractmethod
    async def use(self, connection: AbstractRobustConnection) -> None:
        """Work until the client is stopped."""


class AioPublisher(AioClient):
    """Publishes a message, and waits for its confirm."""

    def __init__(self, account: Account, port: int, vhost: str = "/") -> None:
        super().__init__(account, port, vhost)
        self._next = 0

    async def use(self, connection: AbstractRobustConnection) -> None:
        channel = await connection.channel()
        while not self.is_stopping:
            message = Id(self.name, self._next)
            self.account.publish(message)
            try:
                await channel.default_exchange.publish(
                    aio_pika.Message(
                        body_of(message, MESSAGE_BYTES),
                        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                    ),
                    self.account.queue,
                    timeout=SILENCE_S,
                )
            except LOST as error:
                self.losses.append(repr(error))
                self.check_progress()
                await asyncio.sleep(AGAIN_S)
                continue
            self.account.confirm(message)
            self.has_progressed()
            self._next += 1


class AioConsumer(AioClient):
    """Consumes and acknowledges."""

    async def use(self, connection: AbstractRobustConnection) -> None:
        channel = await connection.channel()
        await channel.set_qos(PREFETCH)
        queue = await channel.get_queue(self.account.queue)
        numbers: dict[object, int] = {}

        async def receive(message: AbstractIncomingMessage) -> None:
            number = numbers.setdefault(message.channel, next(CONNECTIONS))
            self.account.receive(read_body(message.body), number, bool(message.redelivered))
            self.has_progressed()
            await message.ack()

        await queue.consume(receive)
        while not await asyncio.to_thread(self._stopping.wait, POLL_S):
            self.check_progress()
