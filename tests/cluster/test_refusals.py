"""What no broker accepts: a database without what was confirmed, or one that replicates nothing."""

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.world import World, await_quiet
from tests.support.brokers import BrokerError, wait_until
from tests.support.postgres import Server, await_state

VHOST = "/"
STILL_S = 1.0


def lease_refused(world: World) -> str:
    """Why the store of the virtual host is refused; empty if it is not."""
    view = world.brokers.look()
    return view.leases[world.brokers.store_of(VHOST)].refused if view else ""


def log_of(world: World) -> str:
    return "\n".join(
        node.broker.log_text() for node in world.brokers.nodes.values() if node.broker is not None
    )


def publish(world: World, messages: int) -> None:
    """Have so many messages confirmed, and stop."""
    account = world.declare(VHOST)
    with world.publisher(account, VHOST):
        account.await_confirmed(messages)


def test_a_standby_that_lacks_what_was_confirmed_is_refused(lost_world: World) -> None:
    database = lost_world.database
    stale, fresh = database.standbys
    publish(lost_world, 100)
    # The stale one receives nothing more, and the other one is enough.
    stale.configure(primary_conninfo="''")
    stale.reload()
    await_state(stale.is_detached, "the stale standby is detached")
    publish(lost_world, 200)
    database.primary.kill()
    fresh.kill()
    promote(lost_world, stale)
    database.replace(fresh)
    wait_until(lambda: bool(lease_refused(lost_world)), what="a refusal")
    assert "confirmed" in lease_refused(lost_world) or "lost" in lease_refused(lost_world)
    time.sleep(STILL_S)
    assert lost_world.brokers.owner_of(VHOST) is None
    # An operator goes on with what there is.
    lost_world.brokers.allow(VHOST)
    publish(lost_world, 20)


def promote(world: World, server: Server) -> None:
    server.promote()
    world.database.primary = server


def test_a_database_that_was_restored_to_an_older_state_is_refused(lost_world: World) -> None:
    database, brokers = lost_world.database, lost_world.brokers
    publish(lost_world, 100)
    for node in brokers.nodes.values():
        node.stop()
    restore = back_up(database.servers)
    brokers.start()
    publish(lost_world, 100)
    for node in brokers.nodes.values():
        node.stop()
    restore()
    await_state(lambda: database.count_streaming() == 2, "both standbys follow")
    with pytest.raises(BrokerError, match="an older state was restored") as refused:
        brokers.start()
    assert "Traceback" not in str(refused.value)


def backup_of(server: Server) -> Path:
    return server.directory.with_name(f"{server.name}-backup")


def back_up(servers: list[Server]) -> Callable[[], None]:
    """Copy the files of all servers, which stand still meanwhile; returns what restores them."""
    for server in servers:
        server.stop()
        subprocess.run(["cp", "-a", server.directory, backup_of(server)], check=True)
    for server in servers:
        server.start()

    def restore() -> None:
        for server in servers:
            server.stop()
            shutil.rmtree(server.directory)
            server.copy_from(backup_of(server))
        for server in servers:
            server.start()

    return restore


def test_without_names_of_standbys_nothing_is_confirmed(world: World) -> None:
    """So two primaries never confirm, though an operator empties them to go on without standbys."""
    with world.load() as load:
        primary = world.database.primary
        set_names(primary, "")
        confirmed = await_quiet(load.accounts)
        load.await_blocked("storage unreachable")
        assert "synchronous_standby_names" in log_of(world)
        assert sum(account.confirmed for account in load.accounts) == confirmed
        load.fault()
        set_names(primary, "ANY 1 (*)")
        load.served_again("return of synchronous_standby_names")


def set_names(server: Server, names: str) -> None:
    server.configure(synchronous_standby_names=f"'{names}'")
    server.reload()


def waiting_for_standbys(server: Server) -> list[tuple[object, ...]]:
    """The statements whose commits wait for a standby."""
    return server.superuser("select query from pg_stat_activity where wait_event = 'SyncRep'")


def test_of_two_primaries_the_old_one_confirms_nothing(world: World) -> None:
    with world.load() as load:
        old = world.database.primary
        load.fault()
        world.database.fail_over()
        load.served_again("promotion of a standby beside a primary that runs on")
        old.kill()
        load.await_confirmed()


def test_what_only_the_old_primary_has_is_missed(lost_world: World) -> None:
    """Commits that wait for a standby succeed when the names are emptied: what they have is told to
    be missing once a standby is promoted."""
    database = lost_world.database
    publish(lost_world, 20)
    account = lost_world.declare(VHOST)
    for standby in database.standbys:
        standby.configure(primary_conninfo="''")
        standby.reload()
        await_state(standby.is_detached, "a standby is detached")
    # A publisher that begins now: one of the standbys may have received what was under way before.
    with lost_world.publisher(account, VHOST) as publisher:
        wait_until(lambda: bool(waiting_for_standbys(database.primary)), what="a commit waits")
        assert not account.confirmed
        set_names(database.primary, "")
        wait_until(lambda: account.confirmed > 0, what="an end of the wait")
        database.fail_over()
        wait_until(lambda: bool(lease_refused(lost_world)), what="a refusal")
        publisher.abandon()
