"""The network between a broker and its database is cut, silent and slow under load."""

import time

from pamqp import commands

from tests.cluster.world import World
from tests.support.brokers import wait_until
from tests.support.cluster import Node
from tests.support.wire import PROTOCOL_HEADER, Wire, make_start_ok


def test_connections_to_the_database_are_cut_and_made_again(world: World) -> None:
    with world.load() as load:
        network = world.networks[world.owner().name]
        for _ in range(3):
            load.fault()
            network.cut()
            load.served_again("cut of the connections to the database")


def test_connections_are_cut_in_the_midst_of_commits(world: World) -> None:
    """Commits reach the server, and their answers are lost."""
    with world.load() as load:
        network = world.networks[world.owner().name]
        for _ in range(3):
            network.hold_answers()
            time.sleep(0.1)
            load.fault()
            network.lose_answers_and_cut()
            load.served_again("cut of connections in the midst of commits")


def test_a_slow_network_only_slows(world: World) -> None:
    with world.load() as load:
        network = world.networks[world.owner().name]
        for _ in range(5):
            network.hold_answers()
            time.sleep(0.3)
            network.pass_answers()
            load.await_confirmed()


def open_error(node: Node) -> int:
    """What a broker closes a connection with that is to be opened; 0 if it opens it."""
    with Wire(node.running.host, node.port) as wire:
        wire.send_bytes(PROTOCOL_HEADER)
        wire.read_one(commands.Connection.Start)
        wire.send(make_start_ok())
        tune = wire.read_one(commands.Connection.Tune)
        wire.send(commands.Connection.TuneOk(tune.channel_max, tune.frame_max, 0))
        wire.send(commands.Connection.Open("/"))
        answer = wire.read().frame
        return answer.reply_code or 0 if isinstance(answer, commands.Connection.Close) else 0


def test_an_owner_without_its_database_is_replaced(world: World) -> None:
    with world.load() as load:
        owner = world.owner()
        load.fault()
        world.networks[owner.name].close()
        load.served_again("cut between the owner and the database")
        assert world.owner() is not owner
        wait_until(lambda: open_error(owner) == 541, what="a refusal by a broker that is cut off")
        world.networks[owner.name].open()
        load.await_confirmed()


def test_an_owner_whose_database_is_silent_is_replaced(world: World) -> None:
    with world.load() as load:
        owner = world.owner()
        load.fault()
        world.networks[owner.name].hold_answers()
        load.served_again("silence between the owner and the database")
        assert world.owner() is not owner
        world.networks[owner.name].lose_answers_and_cut()
        load.await_confirmed()
