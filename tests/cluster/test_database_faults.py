"""The servers of the database are killed, stopped, replaced and filled under load."""

import time

from tests.cluster.world import QUIET_S, World, await_quiet
from tests.support.full_disk import FullDisk
from tests.support.postgres import paused


def test_the_primary_is_killed_and_a_standby_promoted(world: World) -> None:
    with world.load() as load:
        load.fault()
        world.database.primary.kill()
        world.database.fail_over()
        load.served_again("kill -9 of the primary, and promotion of a standby")


def test_the_primary_and_the_owner_are_killed_at_once(world: World) -> None:
    with world.load() as load:
        owner = world.owner()
        load.fault()
        world.database.primary.kill()
        owner.kill()
        world.database.fail_over()
        load.served_again("kill -9 of the primary and the owner")


def test_one_standby_is_killed_and_the_other_is_enough(world: World) -> None:
    with world.load() as load:
        load.fault()
        world.database.standbys[0].kill()
        load.served_again("kill -9 of a standby")


def test_without_a_standby_nothing_is_confirmed_and_clients_are_told(world: World) -> None:
    with world.load() as load:
        one, other = world.database.standbys
        one.kill()
        other.kill()
        confirmed = await_quiet(load.accounts)
        load.await_blocked("storage unreachable")
        assert sum(account.confirmed for account in load.accounts) == confirmed
        load.fault()
        world.database.replace(one)
        load.served_again("return of a standby")


def test_the_standbys_stand_still_and_go_on(world: World) -> None:
    with world.load() as load:
        with paused(world.database.standbys[0]), paused(world.database.standbys[0]):
            await_quiet(load.accounts)
            load.fault()
        load.served_again("SIGCONT of the standbys")


def test_the_primary_stands_still_and_goes_on(world: World) -> None:
    with world.load() as load:
        with paused(world.database.primary):
            await_quiet(load.accounts)
            load.fault()
        load.served_again("SIGCONT of the primary")


def test_a_primary_that_stands_still_is_replaced(world: World) -> None:
    with world.load() as load:
        old = world.database.primary
        load.fault()
        old.pause()
        world.database.fail_over()
        load.served_again("SIGSTOP of the primary, and promotion of a standby")
        old.resume()
        load.await_confirmed()
        old.kill()


def test_a_commit_that_is_cancelled_while_it_waits_for_a_standby_confirms_nothing(
    world: World,
) -> None:
    with world.load() as load:
        standbys = world.database.standbys
        with paused(standbys[0]), paused(standbys[1]):
            confirmed = await_quiet(load.accounts)
            cancelled = 0
            while cancelled < 3:
                rows = world.database.owner(
                    "select count(pg_cancel_backend(pid)) from pg_stat_activity"
                    " where wait_event = 'SyncRep' and usename = 'leveret'"
                )
                cancelled += int(str(rows[0][0]))
            time.sleep(QUIET_S)
            assert sum(account.confirmed for account in load.accounts) == confirmed
            load.fault()
        load.served_again("SIGCONT of the standbys")
        load.fault()
        world.database.primary.kill()
        world.database.fail_over()
        load.served_again("kill -9 of the primary after that")


def test_a_database_that_is_full_is_used_again_once_there_is_room(lost_world: World) -> None:
    disk = FullDisk(lost_world.database)
    with lost_world.load() as load:
        disk.fill()
        await_quiet(load.accounts)
        load.fault()
        disk.make_room()
        load.served_again("room in a database that was full")
