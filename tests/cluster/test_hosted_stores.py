"""Stores that are opened, handed over and given up while a broker serves, as its clients see it."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aio_pika
import pika
import pika.exceptions
import pytest
from aio_pika.abc import AbstractConnection
from aiormq.exceptions import ConnectionClosed

from leveret.cluster.database_memory import FILE_NAME, DatabaseMemory
from leveret.cluster.hosted_stores import HostedStores
from leveret.config import Amqp, Config, Memory
from leveret.engine.access.passwords import hash_password
from leveret.engine.access.rights import ANY
from leveret.engine.broker import Broker
from leveret.engine.metadata.entities import Permission, User, VirtualHostEntity
from leveret.engine.metadata.metadata import Metadata
from leveret.engine.placement import Placement, ServedBy
from leveret.engine.store_opening import TURN_NS
from leveret.net.server import AmqpServer
from leveret_storage.errors import DataLost, LostEpoch, MediumFailed
from leveret_storage.media.filesystem import FilesystemMedium
from leveret_storage.medium import Medium

STORE_OF = {"/": 0, "other": 1}
"""The virtual hosts, and the stores that carry them."""


class ByName(Placement):
    """Every virtual host has a store, and nobody else serves one."""

    def store_of(self, vhost: str) -> int:
        return STORE_OF[vhost]

    def served_by(self, vhost: str) -> ServedBy | None:
        return None


def metadata() -> Metadata:
    found = Metadata()
    found.put(User("guest", hash_password(b"guest")))
    for name in STORE_OF:
        found.put(VirtualHostEntity(name))
        found.put(Permission("guest", name, ANY, ANY, ANY))
    return found


class Serving:
    """A broker whose stores are opened by its test."""

    def __init__(self, open_medium: Callable[[int], Medium], local_dir: Path, turn_ns: int) -> None:
        config = Config(amqp=Amqp(listen=("127.0.0.1:0",)), memory=Memory(limit="90%"))
        self.local_dir = local_dir
        self.broker = Broker(config, metadata())
        self.broker.placement = ByName()
        self.server = AmqpServer(self.broker, config, None, 100)
        self.stores = HostedStores(
            self.broker,
            self.server,
            ByName(),
            open_medium,
            local_dir,
            DatabaseMemory(local_dir),
            "node",
            2,
            self._refresh,
            turn_ns=turn_ns,
        )
        self.is_restoring = asyncio.Event()
        """Set when a store was taken, and its queues are restored next."""
        self.failures: list[tuple[int, Exception]] = []
        self.has_failed = asyncio.Event()
        self.stores.failed = self._failed

    async def _refresh(self) -> None:
        self.is_restoring.set()

    def _failed(self, store: int, error: Exception) -> None:
        self.failures.append((store, error))
        self.has_failed.set()

    async def connect(self, vhost: str = "/") -> AbstractConnection:
        ((_, address),) = self.server.listeners()
        return await aio_pika.connect(
            host="127.0.0.1", port=address.port, virtualhost=vhost.removeprefix("/") or "/"
        )

    def connect_blocking(self) -> pika.BlockingConnection:
        """With a client that leaves nothing behind when it is refused."""
        ((_, address),) = self.server.listeners()
        return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", address.port))


@asynccontextmanager
async def serving(
    open_medium: Callable[[int], Medium], turn_ns: int = TURN_NS
) -> AsyncIterator[Serving]:
    with TemporaryDirectory() as local_dir:
        served = Serving(open_medium, Path(local_dir), turn_ns)
        await served.server.start()
        try:
            yield served
        finally:
            for store in served.stores.open_stores():
                await served.stores.hand_over(store, "the test ends")
            await served.stores.wait_until_ended()
            await served.server.stop("the test ends")


async def publish(connection: AbstractConnection, queue: str, *bodies: bytes) -> None:
    async with connection.channel() as channel:
        await channel.declare_queue(queue, durable=True)
        for body in bodies:
            message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await channel.default_exchange.publish(message, queue)


async def contents(connection: AbstractConnection, queue: str) -> list[bytes]:
    found = []
    async with connection.channel() as channel:
        declared = await channel.declare_queue(queue, passive=True)
        while (message := await declared.get(fail=False)) is not None:
            found.append(message.body)
    return found


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


def when_closed(connection: AbstractConnection) -> asyncio.Future[BaseException | None]:
    """What a connection will be closed with."""
    closed: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    def note(_: object, error: BaseException | None) -> None:
        if not closed.done():
            closed.set_result(error)

    connection.close_callbacks.add(note, weak=False)
    return closed


@pytest.fixture
def medium_of(tmp_path: Path) -> Callable[[int], Medium]:
    return lambda store: FilesystemMedium(tmp_path / str(store))


def test_a_store_is_served_though_the_local_disk_takes_nothing(
    medium_of: Callable[[int], Medium],
) -> None:
    async def test() -> None:
        async with serving(medium_of) as served:
            # A full disk, for this one file.
            (served.local_dir / FILE_NAME).mkdir()
            await served.stores.open(0)
            async with await served.connect() as connection:
                await publish(connection, "a", b"1")
                assert await contents(connection, "a") == [b"1"]

    run(test())


def test_a_store_that_is_handed_over_has_what_was_confirmed(
    medium_of: Callable[[int], Medium],
) -> None:
    async def test() -> None:
        async with serving(medium_of) as one, serving(medium_of) as two:
            assert await one.stores.open(0) == 1
            connection = await one.connect()
            await publish(connection, "q", b"1", b"2")
            closed = when_closed(connection)
            await one.stores.hand_over(0, "store 0 moves")
            error = await closed
            assert isinstance(error, ConnectionClosed)
            assert error.errno == 320
            assert "store 0 moves" in str(error)
            assert await two.stores.open(0) == 2
            async with await two.connect() as second:
                assert await contents(second, "q") == [b"1", b"2"]

    run(test())


def test_other_stores_go_on(medium_of: Callable[[int], Medium]) -> None:
    async def test() -> None:
        async with serving(medium_of) as one:
            await one.stores.open(0)
            await one.stores.open(1)
            async with await one.connect("other") as connection:
                await publish(connection, "q", b"1")
                await one.stores.hand_over(0, "")
                await publish(connection, "q", b"2")
                assert await contents(connection, "q") == [b"1", b"2"]
            with pytest.raises(pika.exceptions.AMQPConnectionError):
                await asyncio.to_thread(one.connect_blocking)
            await one.stores.open(0)
            async with await one.connect("/") as connection:
                await publish(connection, "again", b"3")

    run(test())


def test_a_store_that_is_given_up_confirms_nothing_more(
    medium_of: Callable[[int], Medium],
) -> None:
    async def test() -> None:
        async with serving(medium_of) as one, serving(medium_of) as two:
            await one.stores.open(0)
            connection = await one.connect()
            await publish(connection, "q", b"1")
            channel = await connection.channel()
            closed = when_closed(connection)
            one.stores.give_up(0, "the lease of store 0 is lost")
            message = aio_pika.Message(b"2", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            with pytest.raises(ConnectionClosed, match="the lease of store 0 is lost"):
                await channel.default_exchange.publish(message, "q")
            assert isinstance(await closed, ConnectionClosed)
            await one.stores.wait_until_ended()
            assert one.failures == []
            await two.stores.open(0)
            async with await two.connect() as second:
                assert await contents(second, "q") == [b"1"]

    run(test())


class Failing(FilesystemMedium):
    """A medium whose appends fail from an order on."""

    fails = False

    def append_synced(self, name: str, data: bytes | list[bytes]) -> int:
        if self.fails:
            raise MediumFailed("on order")
        return super().append_synced(name, data)


def test_a_store_that_fails_is_reported_once_and_can_be_opened_again(tmp_path: Path) -> None:
    async def test() -> None:
        media: list[Failing] = []

        def medium_of(store: int) -> Medium:
            media.append(Failing(tmp_path / str(store)))
            return media[-1]

        async with serving(medium_of) as one:
            await one.stores.open(0)
            await one.stores.open(1)
            connection = await one.connect()
            await publish(connection, "q", b"1")
            media[0].fails = True
            publishing = asyncio.get_running_loop().create_task(publish(connection, "q", b"2"))
            await one.has_failed.wait()
            ((store, error),) = one.failures
            assert (store, str(error)) == (0, "on order")
            one.stores.give_up(0, "store 0 failed")
            with pytest.raises(ConnectionClosed, match="store 0 failed"):
                await publishing
            await one.stores.open(0)
            async with await one.connect() as second:
                assert await contents(second, "q") == [b"1"]

    run(test())


def test_what_cannot_be_opened_leaves_nothing(medium_of: Callable[[int], Medium]) -> None:
    async def test() -> None:
        async with serving(medium_of) as one, serving(medium_of) as two:
            await one.stores.open(0)
            with pytest.raises(Exception, match="is in use"):
                await two.stores.open(0)
            assert two.stores.open_stores() == []
            assert two.broker.vhosts == {}
            await one.stores.hand_over(0, "")
            await two.stores.open(0)
            assert list(two.broker.vhosts) == ["/"]

    run(test())


def test_a_store_may_be_given_up_while_it_is_opened(tmp_path: Path) -> None:
    async def test() -> None:
        entered, left = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        class Waiting(FilesystemMedium):
            """A medium that is away until it is given up."""

            def give_up(self, error: Exception) -> None:
                loop.call_soon_threadsafe(left.set)

            def read_head(self) -> tuple[int, bytes]:
                loop.call_soon_threadsafe(entered.set)
                asyncio.run_coroutine_threadsafe(left.wait(), loop).result(30)
                raise LostEpoch("given up")

        async with serving(partial(_waiting, Waiting, tmp_path)) as one:
            opening = asyncio.get_running_loop().create_task(one.stores.open(0))
            await entered.wait()
            one.stores.give_up(0, "the lease is lost")
            with pytest.raises(LostEpoch):
                await opening
            assert one.stores.open_stores() == []

    run(test())


def test_a_store_may_be_given_up_while_its_queues_are_restored(
    medium_of: Callable[[int], Medium],
) -> None:
    """Each step is a turn of the event loop, and after more of them each time it is given up."""
    names = [f"q{number}" for number in range(12)]

    async def test() -> None:
        async with serving(medium_of) as one:
            await one.stores.open(0)
            async with await one.connect() as connection:
                for name in names:
                    await publish(connection, name, name.encode())
        async with serving(medium_of, turn_ns=0) as two:
            await two.stores.open(1)
            async with await two.connect("other") as other:
                for turns in range(0, 120, 8):
                    two.is_restoring.clear()
                    opening = asyncio.get_running_loop().create_task(two.stores.open(0))
                    await two.is_restoring.wait()
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    two.stores.give_up(0, "the lease is lost")
                    with suppress(LostEpoch):
                        # It may be open already.
                        await opening
                        two.stores.give_up(0, "the lease is lost")
                    await two.stores.wait_until_ended()
                    assert two.stores.open_stores() == [1]
                    assert list(two.broker.vhosts) == ["other"]
                    await publish(other, "q", b"1")
                assert two.failures == []
                await two.stores.open(0)
                async with await two.connect() as connection:
                    assert [await contents(connection, name) for name in names] == [
                        [name.encode()] for name in names
                    ]

    run(test())


def _waiting(kind: type[FilesystemMedium], directory: Path, store: int) -> Medium:
    return kind(directory / str(store))


@pytest.mark.parametrize("is_given_up", [True, False])
def test_an_older_state_of_a_store_is_noticed_by_who_has_served_it(
    tmp_path: Path, is_given_up: bool
) -> None:
    """Also one of the same epoch: what was confirmed is missing, and nothing else tells."""

    def medium_of(store: int) -> Medium:
        return FilesystemMedium(tmp_path / str(store))

    async def test() -> None:
        async with serving(medium_of) as one:
            await one.stores.open(0)
            async with await one.connect() as connection:
                await publish(connection, "q", b"1")
                shutil.copytree(tmp_path / "0", tmp_path / "older")
                await publish(connection, "q", b"2" * 10_000)
                if is_given_up:
                    one.stores.give_up(0, "the lease is lost")
                    await one.stores.wait_until_ended()
                else:
                    await one.stores.hand_over(0, "it moves")
            shutil.rmtree(tmp_path / "0")
            shutil.copytree(tmp_path / "older", tmp_path / "0")
            with pytest.raises(DataLost, match="has not got what this broker had confirmed"):
                await one.stores.open(0)
            # An operator has allowed it.
            await one.stores.open(0)
            async with await one.connect() as connection:
                assert await contents(connection, "q") == [b"1"]

    run(test())


def test_a_store_that_is_given_up_as_soon_as_it_is_open_lacks_nothing(
    medium_of: Callable[[int], Medium],
) -> None:
    """What the owner was about to write does not count as confirmed."""

    async def test() -> None:
        async with serving(medium_of) as one:
            await one.stores.open(0)
            async with await one.connect() as connection:
                await publish(connection, "q", b"1")
            one.stores.give_up(0, "the lease is lost")
            await one.stores.wait_until_ended()
            for _ in range(3):
                await one.stores.open(0)
                one.stores.give_up(0, "the lease is lost")
                await one.stores.wait_until_ended()
            await one.stores.open(0)
            async with await one.connect() as connection:
                assert await contents(connection, "q") == [b"1"]

    run(test())
