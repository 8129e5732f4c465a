"""Which cached routes a change of queues leaves valid."""

import pytest

from leveret.config import Config
from leveret.engine.broker import Broker
from leveret.engine.lifecycle.bindings import bind_queue
from leveret.engine.lifecycle.queues import remove_queue
from leveret.engine.values.message import short_strings
from leveret.engine.vhost import VirtualHost
from tests.unit.engine.declaring import declare_plain_queue

BOUND = short_strings(b"amq.direct", b"k")


@pytest.fixture
def vhost() -> VirtualHost:
    return Broker(Config()).vhosts["/"]


def test_a_queue_that_comes_and_goes_unbound_leaves_the_routes_of_others(
    vhost: VirtualHost,
) -> None:
    bind_queue(vhost, declare_plain_queue(vhost, "q").name, "amq.direct", "k", {}, None)
    vhost.router.route(BOUND)
    misses = vhost.router.misses
    remove_queue(vhost, declare_plain_queue(vhost, "other"))
    assert [sink.name for sink in vhost.router.route(BOUND).sinks] == ["q"]
    assert vhost.router.misses == misses


def test_its_own_route_is_found_anew(vhost: VirtualHost) -> None:
    own = short_strings(b"", b"q")
    router = vhost.router
    before = router.route(own)
    assert before.sinks == []
    queue = declare_plain_queue(vhost, "q")
    assert before.generation != router.generation
    assert router.route(own).sinks == [queue]
    remove_queue(vhost, queue)
    assert router.route(own).sinks == []


def test_a_bound_queue_that_goes_is_in_no_route(vhost: VirtualHost) -> None:
    queue = declare_plain_queue(vhost, "q")
    bind_queue(vhost, "q", "amq.direct", "k", {}, None)
    route = vhost.router.route(BOUND)
    assert route.sinks == [queue]
    remove_queue(vhost, queue)
    assert route.generation != vhost.router.generation
    assert vhost.router.route(BOUND).sinks == []
