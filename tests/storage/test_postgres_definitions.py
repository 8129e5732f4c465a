"""The metadata of several brokers on PostgreSQL: a change at one is seen at the others, also while
connections are cut and the database fails over.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from leveret.cluster.shared_definitions import SharedDefinitions
from leveret.config import Auth
from leveret.engine.administration import users
from leveret.engine.administration.operator import Operator, Unavailable
from leveret.engine.metadata.entities import User, VirtualHostEntity
from leveret.engine.metadata.metadata import Record
from leveret_storage.media.postgres.database import Database
from leveret_storage.media.postgres.location import parse_location
from leveret_storage.media.postgres.shared_log import PostgresSharedLog
from tests.support.postgres import (
    DATABASE,
    HOST,
    OWNER,
    PostgresCluster,
    new_location,
    paused,
)
from tests.support.tcp_proxy import TcpProxy

STORES = 16
SEEN_WITHIN_S = 30.0


class Member:
    """A broker, as far as it has metadata."""

    def __init__(self, location: str) -> None:
        self.database = Database(parse_location(location))
        self.definitions = SharedDefinitions(PostgresSharedLog(self.database), Auth(), STORES)
        self.definitions.load()
        self.metadata = self.definitions.metadata
        self.operator = Operator(self.metadata, "", "", silent=True)

    async def close(self) -> None:
        await self.definitions.stop()
        await asyncio.to_thread(self.database.close)

    def add_vhost(self, name: str) -> None:
        # Not as an operator, who is refused while the database is known to be away.
        self.metadata.put(VirtualHostEntity(name, uid=name))

    def vhosts(self) -> set[str]:
        return {name for (name,) in self.metadata.all(VirtualHostEntity)}

    async def await_vhost(self, name: str) -> None:
        await await_state(lambda: name in self.vhosts(), f"{name} is seen")

    def state(self) -> list[Record]:
        return sorted(self.metadata.records(), key=str)


async def await_state(state: Callable[[], object], what: str) -> None:
    end = time.monotonic() + SEEN_WITHIN_S
    while not state():
        assert time.monotonic() < end, f"not within {SEEN_WITHIN_S} s: {what}"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def members(*locations: str) -> AsyncIterator[list[Member]]:
    """Brokers that start at once."""
    async with AsyncExitStack() as stack:
        found = await asyncio.gather(*(asyncio.to_thread(Member, each) for each in locations))
        for member in found:
            stack.push_async_callback(member.close)
            member.definitions.start()
        yield list(found)


def through(proxy: TcpProxy, location: str) -> str:
    """The same cluster, for a broker that reaches the database by the proxy only."""
    return f"postgresql://{OWNER}@{HOST}:{proxy.port}/{DATABASE}?{location.partition('?')[2]}"


def test_brokers_that_start_at_once_have_one_user_of_the_configuration(
    postgres: PostgresCluster,
) -> None:
    location = new_location(postgres)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(Member, [location] * 4))
    try:
        hashes = {each.password_hash for one in found for each in one.metadata.all(User).values()}
        assert len(hashes) == 1
        assert all(one.state() == found[0].state() for one in found)
    finally:
        for one in found:
            one.database.close()


def test_a_change_is_seen_by_all(postgres: PostgresCluster) -> None:
    async def test() -> None:
        async with members(*[new_location(postgres)] * 3) as (first, second, third):
            first.add_vhost("a")
            await first.definitions.durable()
            await second.await_vhost("a")
            await third.await_vhost("a")
            assert first.state() == second.state() == third.state()

    asyncio.run(test())


def test_changes_at_the_same_time_come_to_the_same(postgres: PostgresCluster) -> None:
    async def test() -> None:
        async with members(*[new_location(postgres)] * 3) as brokers:
            for number in range(20):
                for at, broker in enumerate(brokers):
                    broker.add_vhost(f"{at}-{number}")
                    users.put_user(broker.operator, "u", password_hash="", tags=[f"{at}"])
                await brokers[number % 3].definitions.durable()
            for broker in brokers:
                await broker.definitions.durable()
            for broker in brokers:
                await broker.definitions.refresh()
            assert len(brokers[0].vhosts()) == 61
            assert all(broker.state() == brokers[0].state() for broker in brokers)

    asyncio.run(test())


def test_changes_are_made_and_seen_while_connections_are_cut(postgres: PostgresCluster) -> None:
    """Also in mid-commit."""

    async def test() -> None:
        location = new_location(postgres)
        with TcpProxy(postgres.primary.port) as proxy:
            async with members(through(proxy, location), location) as (cut, other):
                for number in range(5):
                    proxy.hold_answers()
                    cut.add_vhost(f"cut {number}")
                    await asyncio.sleep(0)
                    other.add_vhost(f"other {number}")
                    await other.definitions.durable()
                    await asyncio.to_thread(proxy.lose_answers_and_cut)
                    await cut.await_vhost(f"other {number}")
                    await cut.definitions.durable()
                    await other.await_vhost(f"cut {number}")
                assert cut.state() == other.state()

    asyncio.run(test())


def test_a_change_is_durable_after_a_failover(failing_postgres: PostgresCluster) -> None:
    async def test() -> None:
        location = new_location(failing_postgres)
        async with members(location, location) as (first, second):
            first.add_vhost("before")
            await first.definitions.durable()
            failing_postgres.primary.kill()
            first.add_vhost("during")
            await asyncio.to_thread(failing_postgres.fail_over)
            await first.definitions.durable(SEEN_WITHIN_S)
            await second.await_vhost("during")
            assert first.vhosts() == {"/", "before", "during"}
            assert first.state() == second.state()

    asyncio.run(test())


def test_a_change_waits_for_a_standby_and_is_answered_in_time(
    failing_postgres: PostgresCluster,
) -> None:
    async def test() -> None:
        location = new_location(failing_postgres)
        async with members(location, location) as (first, second):
            one, other = failing_postgres.standbys
            with paused(one), paused(other):
                first.add_vhost("a")
                with pytest.raises(Unavailable):
                    await first.definitions.durable(0.3)
                assert "a" not in second.vhosts()
            await first.definitions.durable(SEEN_WITHIN_S)
            await second.await_vhost("a")

    asyncio.run(test())
