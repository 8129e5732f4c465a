"""Every view of the page, at three widths, light and dark, with ten thousand queues."""

from typing import NamedTuple
from urllib.parse import quote

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from tests.page.browsing import WIDTHS, Viewer
from tests.page.world import QUEUES, VHOST


class View(NamedTuple):
    """A view, and what it shows once its data are there."""

    address: str
    shows: str


VIEWS = {
    "overview": View("/", "main .facts, main .chart"),
    "queues": View("/queues", "main tbody tr"),
    "queue": View(f"/queues/{VHOST}/orders.0", "main .facts dd"),
    "messages": View(f"/queues/{VHOST}/orders.0/messages", "main h1"),
    "exchanges": View("/exchanges", "main tbody tr"),
    "exchange": View(f"/exchanges/{VHOST}/orders?key=orders.new&try=1", "main .reached li"),
    "default-exchange": View(f"/exchanges/{VHOST}/amq.default", "main .facts dd"),
    "topology": View(f"/topology?vhost={VHOST}", "main .topology-node"),
    "delayed": View(f'/delayed?exchange=["{VHOST}","later"]', "main tbody tr"),
    "connections": View("/connections", "main tbody tr"),
    "connection": View("/connections/{connection}", "main .facts dd"),
    "channels": View("/channels", "main tbody tr"),
    "channel": View("/channels/{connection} (1)", "main .facts dd"),
    "consumers": View("/consumers", "main tbody tr"),
    "users": View("/users", "main tbody tr"),
    "user": View("/users/clerk", "main tbody tr"),
    "vhosts": View("/vhosts", "main tbody tr"),
    "vhost": View(f"/vhosts/{VHOST}", "main tbody tr"),
    "policies": View("/policies", "main tbody tr"),
    "limits": View("/limits", "main .blank p"),
    "definitions": View("/definitions", "main input[type=file]"),
    "cluster": View("/cluster", "main .panel"),
    "log": View("/log?level=debug", "main .log li"),
    "health": View("/health", "main .checks .status.ok"),
    "missing": View("/nothing/here", "main p"),
}


@pytest.fixture
def busy(channel: BlockingChannel, connection: pika.BlockingConnection) -> str:
    """Some messages and a consumer; the name of its connection."""
    channel.basic_qos(prefetch_count=2)
    channel.basic_consume("orders.0", lambda *_: None)
    channel.basic_publish("orders", "orders.new", b'{"order": 1}')
    channel.basic_publish("orders", "nowhere", b"lost")
    delay = pika.BasicProperties(headers={"x-delay": 3_600_000})
    channel.basic_publish("later", "soon", b"later", delay)
    connection.process_data_events()
    local, peer = (
        connection._impl._transport._sock.getsockname(),
        connection._impl._transport._sock.getpeername(),
    )
    return f"{local[0]}:{local[1]} -> {peer[0]}:{peer[1]}"


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_right_at_every_width_light_and_dark(name: str, look: Viewer, busy: str) -> None:
    view = VIEWS[name]
    page = look.open(quote(view.address.format(connection=busy), safe="/?=&%"), view.shows)
    for width, height in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            look.screenshot(f"{name}-{width}-{scheme}")
            if (width, scheme) in ((390, "light"), (1280, "dark")):
                assert look.violations() == []
        scrolled = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert scrolled <= 0, f"{width} px are too narrow by {scrolled}"


def test_ten_thousand_queues_are_shown_in_pages(look: Viewer) -> None:
    page = look.open("/queues?filter=vhost%3D/&sort=-name", "main tbody tr")
    page.get_by_text(f"queue.{QUEUES - 1:05}").first.wait_for()
    page.locator("input.filter").fill("queue.0012")
    page.get_by_text("queue.00129").first.wait_for()
    assert "filter=queue.0012" in page.url
