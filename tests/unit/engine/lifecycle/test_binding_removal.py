"""Deleting what has many bindings: they lead nowhere at once, and are removed in slices."""

import pytest

from leveret.engine.lifecycle.bindings import bind_exchange, bind_queue
from leveret.engine.lifecycle.exchanges import declare_exchange, delete_exchange
from leveret.engine.lifecycle.queues import remove_queue
from leveret.engine.routing.exchanges.base import ExchangeDeclaration
from leveret.engine.values.message import short_strings
from leveret.engine.vhost import VirtualHost
from leveret.limits import REMOVED_BINDINGS_MIN
from tests.unit.engine.declaring import declare_plain_queue

MANY = 3 * REMOVED_BINDINGS_MIN
SLICES = 3


def declare(vhost: VirtualHost, name: str, *, auto_delete: bool = False) -> None:
    declare_exchange(
        vhost,
        ExchangeDeclaration(
            "fanout", name, durable=False, auto_delete=auto_delete, internal=False, arguments={}
        ),
    )


def reached(vhost: VirtualHost, exchange: str) -> list[str]:
    """The names of the queues that a message to an exchange goes to."""
    route = vhost.router.route(short_strings(exchange.encode(), b""))
    return [sink.name for sink in route.sinks]


def slices_left(vhost: VirtualHost) -> int:
    """Run the work that is left, and count its slices."""
    count = 0
    while not vhost.work.is_empty():
        vhost.work.run_next(vhost.time_slice)
        count += 1
    return count


@pytest.fixture
def vhost() -> VirtualHost:
    """A virtual host whose time slices are always over."""
    made = VirtualHost("/")
    for name in ("x", "onward"):
        declare(made, name)
    for name in ("q", "behind"):
        declare_plain_queue(made, name)
    return made


def test_few_bindings_are_removed_at_once(vhost: VirtualHost) -> None:
    for number in range(REMOVED_BINDINGS_MIN - 1):
        bind_queue(vhost, "q", "x", str(number), {}, None)
    delete_exchange(vhost, "x", if_unused=False)
    assert vhost.work.is_empty()
    assert vhost.queues["q"].destination.incoming() == []


def test_an_exchange_is_gone_at_once_and_its_bindings_in_slices(vhost: VirtualHost) -> None:
    for number in range(MANY):
        bind_queue(vhost, "q", "x", str(number), {}, None)
    delete_exchange(vhost, "x", if_unused=False)
    assert "x" not in vhost.exchanges
    declare(vhost, "x")
    assert reached(vhost, "x") == []
    assert slices_left(vhost) == SLICES
    assert vhost.queues["q"].destination.incoming() == []


def test_bindings_to_what_is_deleted_lead_to_nothing_of_the_same_name(vhost: VirtualHost) -> None:
    bind_queue(vhost, "behind", "onward", "", {}, None)
    for number in range(MANY):
        bind_exchange(vhost, "onward", "x", str(number), {})
        bind_queue(vhost, "q", "x", str(number), {}, None)
    assert reached(vhost, "x") == ["q", "behind"]
    delete_exchange(vhost, "onward", if_unused=False)
    remove_queue(vhost, vhost.queues["q"])
    declare(vhost, "onward")
    declare_plain_queue(vhost, "q")
    bind_queue(vhost, "behind", "onward", "", {}, None)
    assert reached(vhost, "x") == []
    assert not vhost.work.is_empty()
    slices_left(vhost)
    assert vhost.exchanges["x"].bindings() == []


def test_an_exchange_that_auto_deletes_goes_with_its_last_binding(vhost: VirtualHost) -> None:
    declare(vhost, "chained", auto_delete=True)
    declare(vhost, "brief", auto_delete=True)
    bind_exchange(vhost, "brief", "chained", "", {})
    for number in range(MANY):
        bind_queue(vhost, "q", "brief", str(number), {}, None)
    remove_queue(vhost, vhost.queues["q"])
    assert "brief" in vhost.exchanges
    slices_left(vhost)
    assert "brief" not in vhost.exchanges
    assert "chained" not in vhost.exchanges


def test_an_exchange_that_is_bound_again_meanwhile_stays(vhost: VirtualHost) -> None:
    declare(vhost, "brief", auto_delete=True)
    for number in range(MANY):
        bind_queue(vhost, "q", "brief", str(number), {}, None)
    remove_queue(vhost, vhost.queues["q"])
    bind_queue(vhost, "behind", "brief", "", {}, None)
    slices_left(vhost)
    assert reached(vhost, "brief") == ["behind"]
