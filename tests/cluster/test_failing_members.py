"""A broker that cannot open stores, for a reason of its own: others serve what it was to serve."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from leveret.datadir.transient_runs import transient_directory
from tests.cluster.world import World
from tests.support.brokers import wait_until
from tests.support.cluster import Node
from tests.support.postgres import OWNER, PASSWORD


@contextmanager
def without_local_directory(world: World, node: Node, vhost: str = "/") -> Iterator[None]:
    """A broker whose directory for a store is a file."""
    place = transient_directory(node.local_dir, world.brokers.store_of(vhost))
    shutil.rmtree(place, ignore_errors=True)
    place.write_text("")
    try:
        yield
    finally:
        place.unlink()


@contextmanager
def with_role(world: World, node: Node, role: str) -> Iterator[None]:
    """A broker that logs in to the database as a role of its own, which acts as that of all."""
    location = node.location
    node.location = location.replace(f"//{OWNER}@", f"//{role}@")
    assert node.location != location
    world.database.primary.superuser(f"create role {role} login password '{PASSWORD}'")
    world.database.primary.superuser(f"grant {OWNER} to {role}")
    world.database.primary.superuser(f"alter role {role} set role = {OWNER}")
    try:
        restart(world, node)
        yield
    finally:
        node.location = location
        restart(world, node)


def restart(world: World, node: Node) -> None:
    node.stop()
    node.start()
    world.brokers.await_served()


def limit(world: World, role: str, connections: int) -> None:
    """Have the database let in no more; -1 for any number."""
    world.database.primary.superuser(f"alter role {role} connection limit {connections}")


def has_failed(world: World, node: Node, vhost: str = "/") -> bool:
    """Whether the others know that a broker has failed with the store of a virtual host."""
    view = world.brokers.look()
    if view is None:
        return False
    failed = {each.incarnation for each in view.leases[world.brokers.store_of(vhost)].failed}
    return any(each.name == node.name and each.incarnation in failed for each in view.members)


def is_down(world: World, node: Node) -> bool:
    """Whether a broker has not renewed its leases."""
    view = world.brokers.look()
    return view is not None and any(
        each.name == node.name and not each.is_alive for each in view.members
    )


def test_a_store_that_a_broker_cannot_open_is_served_by_another(world: World) -> None:
    owner = world.owner()
    broken = world.others(owner)[0]
    with without_local_directory(world, broken), world.load() as load:
        load.fault()
        world.brokers.want("/", broken)
        wait_until(lambda: has_failed(world, broken), what=f"{broken.name} failing with the store")
        load.served_again("a move to a broker that cannot open the store")
        assert world.owner() is not broken
    # It is repaired, and has the store when an operator says so.
    world.brokers.move("/", broken)
    assert not has_failed(world, broken)


def test_a_store_that_a_broker_has_no_connection_for_is_served_by_another(world: World) -> None:
    broken = world.others(world.owner())[0]
    role = "few_connections"
    with with_role(world, broken, role):
        world.brokers.move("/", world.others(broken)[0])
        with world.load() as load:
            # Those that it has work, and it gets no more; not for its leases either, if a busy
            # machine does not answer it in time.
            limit(world, role, 0)
            load.fault()
            world.brokers.want("/", broken)
            wait_until(
                lambda: has_failed(world, broken) or is_down(world, broken),
                what=f"{broken.name} failing",
            )
            load.served_again("a move to a broker that gets no further connection")
            assert world.owner() is not broken
        limit(world, role, -1)
        world.brokers.move("/", broken)
