"""Brokers of a cluster are killed, stopped and restarted under load."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from pamqp import commands

from tests.cluster.world import World
from tests.parity.http.client import Api
from tests.support.brokers import HOST, BrokerError
from tests.support.cluster import Node
from tests.support.wire import Wire

FAKETIME = Path("/usr/bin/faketime")
REAL_SLEEP_SOURCE = Path(__file__).parents[1] / "support" / "real_sleep.c"


def test_an_owner_is_killed(world: World) -> None:
    with world.load() as load:
        owner = world.owner()
        load.fault()
        owner.kill()
        load.served_again("kill -9 of the owner")
        assert world.owner() is not owner


def test_an_owner_that_stood_still_past_its_lease_confirms_nothing(world: World) -> None:
    owner = world.owner()
    account = world.declare()
    with Wire(owner.running.host, owner.port) as client, world.load(balanced=True) as load:
        client.negotiate()
        client.open_channel()
        client.call(commands.Confirm.Select(), commands.Confirm.SelectOk)
        load.fault()
        owner.pause()
        publish = commands.Basic.Publish(routing_key=account.queue)
        client.send_content(publish, 1, b"too late", commands.Basic.Properties(delivery_mode=2))
        load.served_again("SIGSTOP of the owner")
        owner.resume()
        assert close_code(client) == 320


def close_code(client: Wire) -> int:
    """What the server closes the connection with, which it has to do before it confirms."""
    while True:
        frame = client.read().frame
        assert not isinstance(frame, commands.Basic.Ack)
        if isinstance(frame, commands.Connection.Close):
            return frame.reply_code or 0


def test_owners_stand_still_in_the_midst_of_their_commits(world: World) -> None:
    """One of them holds the lock of its store: its statement has run, and waits for its commit."""
    with world.load(balanced=True) as load:
        for _ in range(2):
            owner = world.owner()
            load.fault()
            load.pause(owner)
            load.served_again("SIGSTOP of an owner that commits")
            owner.resume()


def test_all_brokers_are_killed_at_once(world: World) -> None:
    with world.load() as load:
        load.fault()
        for node in world.brokers.nodes.values():
            os.kill(node.running.pid, signal.SIGKILL)
        for node in world.brokers.nodes.values():
            node.kill()
        world.brokers.start()
        load.served_again("kill -9 of all brokers, and their start")


def test_brokers_are_restarted_in_turn(world: World) -> None:
    with world.load() as load:
        for node in world.brokers.nodes.values():
            load.fault()
            assert node.stop() == 0
            node.start()
            load.served_again(f"SIGTERM and start of {node.name}")


def test_a_second_broker_of_the_same_name_does_not_start(world: World) -> None:
    with world.load():
        impostor = Node(world.brokers, "one")
        with pytest.raises(BrokerError, match="one") as refused:
            impostor.start()
        assert "Traceback" not in str(refused.value)


def test_a_broker_with_a_clock_that_is_an_hour_ahead_is_as_any_other(
    world: World, an_hour_ahead: dict[str, str]
) -> None:
    owner, stranger = world.owner(), world.others(world.owner())[0]
    stranger.stop()
    stranger.variables = an_hour_ahead
    try:
        stranger.start()
        world.brokers.await_served()
        for one, another in ((stranger, owner), (owner, stranger)):
            assert status_with_session_of(one, another) == 200
        with world.load() as load:
            load.fault()
            owner.kill()
            load.served_again("kill -9 beside a clock that is an hour ahead")
            world.brokers.move("/", stranger)
            load.await_confirmed()
            load.fault()
            stranger.kill()
            load.served_again("kill -9 of an owner whose clock is an hour ahead")
    finally:
        stranger.stop()
        stranger.variables = {}


def status_with_session_of(node: Node, another: Node) -> int:
    """What a broker answers to a session of the page that has begun at another one."""
    page = {"X-Requested-With": "a test"}
    who = {"username": "guest", "password": "guest"}
    api = Api(HOST, another.running.management_port, user=None, headers=page)
    begun = api.ask("POST", "/api/session", who)
    cookie = {"Cookie": begun.headers["set-cookie"].partition(";")[0]}
    api = Api(HOST, node.running.management_port, user=None, headers=page | cookie)
    return api.ask("GET", "/api/whoami").status


@pytest.fixture
def an_hour_ahead(tmp_path: Path) -> dict[str, str]:
    """The variables of a process whose wall clock is an hour ahead of the tests'."""
    if not FAKETIME.exists():
        pytest.skip("faketime is not installed: apt-get install faketime")
    real_sleep = tmp_path / "real_sleep.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(real_sleep), str(REAL_SLEEP_SOURCE)]
    subprocess.run(command, check=True)
    ahead_s = int(os.environ.get("LEVERET_TEST_DAYS_AHEAD", "0")) * 86_400 + 3600
    return {
        "FAKETIME": f"+{ahead_s}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "LD_PRELOAD": f"{real_sleep}:/usr/$LIB/faketime/libfaketime.so.1",
    }
