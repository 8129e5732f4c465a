"""A broker that cannot open stores, for a reason of its own: others serve what it was to serve."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from leveret.datadir.transient_runs import transient_directory
from tests.cluster.world import World
from tests.support.brokers import wait_until
from tests.support.cluster import Node


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


def has_failed(world: World, node: Node, vhost: str = "/") -> bool:
    """Whether the others know that a broker has failed with the store of a virtual host."""
    view = world.brokers.look()
    if view is None:
        return False
    failed = {each.incarnation for each in view.leases[world.brokers.store_of(vhost)].failed}
    return any(each.name == node.name and each.incarnation in failed for each in view.members)


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
