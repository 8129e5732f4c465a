"""The start of a broker whose database is not there yet."""

import asyncio
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from leveret import app
from leveret.cluster.joining import connect
from leveret.cluster.membership import Membership
from leveret.config import Config
from leveret.config_storage import Storage
from leveret.engine.metadata.entities import User
from leveret_storage.errors import DirectoryLocked, UnsuitableMedium
from leveret_storage.media.postgres.location import PASSWORD_VARIABLE
from tests.cluster.world import STORES, World
from tests.support.brokers import BrokerError, free_port, leveret_command, wait_until
from tests.support.cluster import SECRET, BrokerCluster, Node
from tests.support.logs import capture_logs
from tests.support.postgres import PASSWORD, paused
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


def test_it_waits_for_the_standbys(world: World, tmp_path: Path) -> None:
    config = Config(
        storage=Storage(
            data_dir=world.database.url(schema=SCHEMA), password=PASSWORD, local_dir=str(tmp_path)
        )
    )

    async def begin(standbys: ExitStack) -> Membership:
        with capture_logs() as events:
            connecting = asyncio.get_running_loop().create_task(connect(config))
            await _until_waiting(events)
            standbys.close()
            return await connecting

    with ExitStack() as standbys:
        for standby in world.database.standbys:
            standbys.enter_context(paused(standby))
        asyncio.run(asyncio.wait_for(begin(standbys), 60)).close()


def test_a_database_that_does_not_come_is_told_apart_from_a_wrong_configuration(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leveret.cluster.joining.WAIT_S", 0.0)

    async def begin(ports: list[int], password: str) -> None:
        location = world.database.url_of(ports, schema=SCHEMA)
        storage = Storage(data_dir=location, password=password, local_dir=str(tmp_path))
        await app._connect(Config(storage=storage), asyncio.get_running_loop().create_future())

    with pytest.raises(app.StorageAway, match="Connection refused"):
        asyncio.run(begin([free_port()], PASSWORD))
    with pytest.raises(app.StartError) as refused:
        asyncio.run(begin([world.database.primary.port], "wrong"))
    assert not isinstance(refused.value, app.StorageAway)


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        (
            {"LEVERET_SERVER_NODE_NAME": "one"},
            "another process has the node name one, and is alive",
        ),
        ({"LEVERET_CLUSTER_STORES": "3"}, "the cluster in this database has 4 stores, not 3"),
        ({"LEVERET_CLUSTER_LISTEN": ":0"}, "cluster.advertise is needed"),
        ({PASSWORD_VARIABLE: "wrong"}, "password authentication failed"),
    ],
)
def test_what_does_not_fit_the_cluster_ends_the_start_with_one_line(
    world: World, tmp_path: Path, variables: dict[str, str], reason: str
) -> None:
    command, environment = leveret_command()
    environment |= {
        PASSWORD_VARIABLE: PASSWORD,
        "LEVERET_SERVER_NODE_NAME": "another",
        "LEVERET_STORAGE_DATA_DIR": world.database.url(),
        "LEVERET_STORAGE_LOCAL_DIR": str(tmp_path),
        "LEVERET_CLUSTER_STORES": str(STORES),
        "LEVERET_CLUSTER_LISTEN": "127.0.0.1:0",
        "LEVERET_CLUSTER_SECRET": SECRET,
        "LEVERET_AMQP_LISTEN": "127.0.0.1:0",
        "LEVERET_LOG_LEVEL": "error",
        **variables,
    }
    refused = subprocess.run(
        [*command, "serve"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert reason in refused.stderr


def test_a_reason_of_all_hosts_is_given_once(world: World, tmp_path: Path) -> None:
    config = Config(
        storage=Storage(
            data_dir=world.database.url(schema=SCHEMA), password="wrong", local_dir=str(tmp_path)
        )
    )
    with pytest.raises(UnsuitableMedium) as refused:
        Membership(config)
    hosts = ", ".join(f"127.0.0.1:{server.port}" for server in world.database.servers)
    assert f"{hosts}: FATAL:  password authentication failed" in str(refused.value)


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


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        (
            {"LEVERET_CLUSTER_SECRET": "not the secret of the others"},
            "cluster.secret is not that of the brokers that run",
        ),
        ({"LEVERET_CLUSTER_LISTEN": ""}, "cluster.listen is needed: one is a broker"),
    ],
)
def test_a_broker_that_the_others_cannot_reach_does_not_start(
    world: World, variables: dict[str, str], reason: str
) -> None:
    other = Node(world.brokers, "other")
    other.variables = variables
    with pytest.raises(BrokerError) as refused:
        other.start()
    assert reason in str(refused.value)
    view = world.brokers.look()
    assert view is not None
    assert "other" not in {member.name for member in view.members}


def test_a_signal_ends_a_start_that_waits_for_its_name(world: World, tmp_path: Path) -> None:
    """The lease of the process that has the name is long, and so is the wait."""
    location = world.database.url(schema=f"{SCHEMA}_again")
    with BrokerCluster(location, ["one"], {"LEVERET_CLUSTER_LEASE": "60000"}) as cluster:
        cluster.start()
        command, environment = leveret_command()
        environment |= {
            PASSWORD_VARIABLE: PASSWORD,
            "LEVERET_SERVER_NODE_NAME": "one",
            "LEVERET_STORAGE_DATA_DIR": location,
            "LEVERET_STORAGE_LOCAL_DIR": str(tmp_path),
            "LEVERET_CLUSTER_LEASE": "60000",
            "LEVERET_CLUSTER_LISTEN": "127.0.0.1:0",
            "LEVERET_CLUSTER_SECRET": SECRET,
            "LEVERET_AMQP_LISTEN": "127.0.0.1:0",
            "LEVERET_MANAGEMENT_LISTEN": "",
            "LEVERET_METRICS_LISTEN": "",
        }
        log = tmp_path / "log"
        with log.open("wb") as output:
            starting = subprocess.Popen([*command, "serve"], env=environment, stderr=output)
        wait_until(lambda: "database connected" in log.read_text(), what="it is connected")
        starting.send_signal(signal.SIGTERM)
        assert starting.wait(60) == 0
