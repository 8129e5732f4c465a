"""The start of a broker whose database is not there yet."""

import asyncio
from pathlib import Path

import pytest

from leveret.cluster.joining import connect
from leveret.cluster.membership import Membership
from leveret.config import Config
from leveret.config_storage import Storage
from leveret.engine.metadata.entities import User
from leveret_storage.errors import DirectoryLocked
from tests.cluster.world import World
from tests.support.logs import capture_logs
from tests.support.postgres import PASSWORD
from tests.support.tcp_proxy import TcpProxy

SCHEMA = "joining"


async def _connect(config: Config, proxy: TcpProxy) -> Membership:
    """Connect through a proxy that refuses everybody until it is waited for."""
    proxy.refuses = True
    loop = asyncio.get_running_loop()
    with capture_logs() as events:
        connecting = loop.create_task(connect(config))
        waiting = loop.create_task(_until_waiting(events))
        done, _ = await asyncio.wait({connecting, waiting}, return_when=asyncio.FIRST_COMPLETED)
        assert waiting in done
        proxy.refuses = False
        return await connecting


async def _until_waiting(events: list[dict[str, object]]) -> None:
    while not any(event["event"] == "waiting for the database" for event in events):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def test_it_waits_for_the_database(world: World, tmp_path: Path) -> None:
    with TcpProxy(world.database.primary.port) as proxy:
        location = world.database.url_of([proxy.port], schema=SCHEMA)
        config = Config(
            storage=Storage(data_dir=location, password=PASSWORD, local_dir=str(tmp_path))
        )
        membership = asyncio.run(asyncio.wait_for(_connect(config, proxy), 60))
        assert [user for (user,) in membership.metadata.all(User)] == ["guest"]
        membership.close()


def test_two_brokers_do_not_have_one_local_directory(world: World, tmp_path: Path) -> None:
    config = Config(
        storage=Storage(
            data_dir=world.database.url(schema=SCHEMA), password=PASSWORD, local_dir=str(tmp_path)
        )
    )
    first = asyncio.run(connect(config))
    with pytest.raises(DirectoryLocked, match=r"storage\.local_dir: .* is in use by process"):
        asyncio.run(connect(config))
    first.close()
    asyncio.run(connect(config)).close()
