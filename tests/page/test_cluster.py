"""What the page shows of a cluster, and what is ordered there."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from leveret.cluster.shared_database import Standby
from leveret.engine.lifecycle.queues import declare_queue
from leveret.engine.metadata.entities import Permission
from leveret.engine.values.arguments import Arguments
from leveret.logging import get_logger
from leveret.management.application import application
from leveret.management.authentication import Logins
from leveret.management.cluster.database_watch import DatabaseWatch
from leveret.management.cluster.standby_watch import StandbyWatch
from leveret.management.listener import HttpListener
from tests.page.browsing import WIDTHS, Viewer, viewer
from tests.support.brokers import wait_until
from tests.unit.management.cluster.brokers import Cluster
from tests.unit.management.cluster.test_operating import Database

MEMBERS = ("a", "b", "down_d")


def two_standbys() -> list[Standby]:
    """One that follows, and one that has not replied for long."""
    return [
        Standby("pg2", "10.0.0.2", "streaming", "quorum", 0, 100),
        Standby("pg3", "10.0.0.3", "streaming", "quorum", 4096, 90_000),
    ]


class ServedCluster(Cluster):
    """Two brokers of three, the first of which serves the page."""

    def __init__(self) -> None:
        super().__init__(a=("red",), b=("blue",), down_d=("gray",))
        self.coordination.members = set(MEMBERS)
        self.refusals[2] = "confirmed messages are missing"
        self.database = Database()
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()

    async def _start(self) -> None:
        for vhost in self.owners:
            self.put(Permission("guest", vhost, ".*", ".*", ".*"))
        for name, vhost in (("a", "red"), ("b", "blue")):
            for number in range(3):
                declare_queue(
                    self.brokers[name].broker.vhosts[vhost],
                    f"{vhost}.{number}",
                    durable=False,
                    auto_delete=False,
                    owner=None,
                    connection=None,
                    arguments=Arguments({}, {}),
                )
        node = self.brokers["a"]
        database = self.database
        node.state._database = DatabaseWatch(
            database.watch, lambda: database.report, ("db1:5432", "db2:5432")
        )
        node.state.standbys = StandbyWatch(two_standbys).standbys
        logins = Logins(node.broker)
        app = application(node.management, logins.identify, logins, node.front)
        self._listener = HttpListener("management", app, 100)
        await self._listener.start(["127.0.0.1:0"], None, required=True)
        self.url = f"http://{self._listener.addresses[0]}"

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._listener.stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def await_order(self, *order: object) -> None:
        """Wait until the database has an order."""
        wait_until(lambda: order in self.coordination.orders, what=f"the order {order}")


@pytest.fixture
def cluster() -> Iterator[ServedCluster]:
    served = ServedCluster()
    served.start()
    yield served
    served.stop()


@pytest.fixture
def look(browser: Browser, cluster: ServedCluster) -> Iterator[Viewer]:
    with viewer(browser, cluster.url) as found:
        yield found
        assert found.faults == []


def test_the_cluster_is_right_at_every_width_light_and_dark(
    look: Viewer, cluster: ServedCluster
) -> None:
    page = look.open("/cluster", "main tbody tr")
    page.get_by_role("navigation").get_by_role("link", name="Cluster", exact=True).wait_for()
    for text in (
        "db1:5432",
        "pg3: streaming, 4",
        "last reply",
        "confirmed messages are missing",
        "node 'down_d' is down",
    ):
        page.get_by_text(text).first.wait_for()
    cluster.database.tell("the connection was lost", None)
    page.get_by_text("the database does not answer: the connection was lost").wait_for()
    for width, height in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            look.screenshot(f"cluster-{width}-{scheme}")
            assert look.violations() == []
        scrolled = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert scrolled <= 0, f"{width} px are too narrow by {scrolled}"


def test_the_overview_says_which_node_has_an_alarm(look: Viewer, cluster: ServedCluster) -> None:
    cluster.brokers["b"].broker.set_alarm("low on memory")
    page = look.open("/", "main .problem .status")
    page.get_by_text("Memory alarm at b:").wait_for()
    page.get_by_text("Alarm: b: low on memory").wait_for()


def test_the_log_is_that_of_all_brokers(look: Viewer, cluster: ServedCluster) -> None:
    page = look.open("/log?filter=looked+for", "main .log")
    get_logger().warning("looked for", node="z")
    for name in ("a", "b"):
        line = page.locator("main .log li", has_text=f"{name} looked for")
        line.get_by_text("node=z").wait_for()


def test_nodes_are_drained_and_forgotten(look: Viewer, cluster: ServedCluster) -> None:
    look.open("/cluster", "main tbody tr")
    look.choose("nodes", "b", "Drain")
    look.page.locator("dialog[open]").get_by_text("blue").first.wait_for()
    look.submit("Drain")
    cluster.await_order("drain", "b", True)
    cluster.draining.add("b")
    look.page.locator("main .status.paused", has_text="drained").wait_for()
    look.choose("nodes", "b", "Undo drain")
    cluster.await_order("drain", "b", False)
    look.choose("nodes", "down_d", "Forget")
    look.submit("Forget")
    cluster.await_order("forget", "down_d")


def test_stores_are_moved_and_allowed(look: Viewer, cluster: ServedCluster) -> None:
    look.open("/cluster", "main tbody tr")
    look.choose("stores", "blue", "Move")
    look.fill(node="a")
    look.submit("Move")
    cluster.await_order("move", 1, "a")
    look.choose("stores", "blue", "Undo move")
    cluster.await_order("move", 1, "")
    look.choose("stores", "gray", "Allow")
    look.type_to_confirm("allow")
    look.submit("Allow")
    cluster.await_order("allow", 2)


def test_lists_name_the_node_of_each_object(look: Viewer) -> None:
    page = look.open("/queues", "main tbody tr")
    expect(page.locator("main tbody tr")).to_have_count(6)
    page.set_viewport_size({"width": 2560, "height": 1440})
    expect(page.locator("main tbody tr", has_text="blue.1")).to_contain_text("b")
    expect(page.locator("main thead")).to_contain_text("Node")
    page = look.open("/vhosts", "main tbody tr")
    page.set_viewport_size({"width": 2560, "height": 1440})
    expect(page.locator("main tbody tr", has_text="gray")).to_contain_text("down")


def test_the_overview_says_what_is_wrong(look: Viewer) -> None:
    page = look.open("/", "main .facts")
    page.get_by_text("node 'down_d' is down").wait_for()
    page.get_by_text("virtual hosts that nobody serves: 'gray'").wait_for()
