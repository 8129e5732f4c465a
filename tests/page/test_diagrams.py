"""Charts and the topology: the mouse, the keyboard, and the address."""

import re

import pytest
from pika.adapters.blocking_connection import BlockingChannel
from playwright.sync_api import Page, expect

from tests.page.browsing import Viewer
from tests.page.world import EXCHANGES, VHOST


@pytest.fixture
def charts(look: Viewer, channel: BlockingChannel) -> Page:
    """The view of a queue that something was published to."""
    channel.queue_declare("drawn", auto_delete=True)
    channel.basic_publish("", "drawn", b"")
    page = look.open(f"/queues/{VHOST}/drawn", ".chart-line[d^='M']")
    plot = page.locator(".chart-plot").first
    expect(plot).to_have_attribute("aria-valuetext", re.compile("Ready [1-9]"))
    return page


def test_a_range_is_in_the_address(charts: Page) -> None:
    charts.get_by_role("button", name="24 h", exact=True).first.click()
    charts.wait_for_url("**range=24h**")
    charts.reload()
    chosen = charts.get_by_role("button", name="24 h", exact=True).first
    expect(chosen).to_have_attribute("aria-pressed", "true")


def test_a_drag_zooms_and_back_goes_back(charts: Page) -> None:
    plot = charts.locator(".chart-plot").first
    box = plot.bounding_box()
    assert box is not None
    charts.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60)
    charts.mouse.down()
    charts.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 60)
    charts.mouse.up()
    charts.wait_for_url(re.compile(r"zoom=\d+-\d+"))
    charts.get_by_role("button", name="Reset zoom").first.wait_for()
    charts.get_by_role("button", name="Reset zoom").first.click()
    charts.wait_for_url(lambda url: "zoom" not in url)


def test_the_keyboard_reads_values_out(charts: Page) -> None:
    plot = charts.locator(".chart-plot").first
    plot.focus()
    charts.keyboard.press("End")
    last = plot.get_attribute("aria-valuenow")
    charts.keyboard.press("ArrowLeft")
    expect(plot).not_to_have_attribute("aria-valuenow", str(last))
    expect(charts.locator(".chart-cursor").first).to_have_attribute("visibility", "visible")
    charts.keyboard.press("Escape")
    expect(charts.locator(".chart-cursor").first).to_have_attribute("visibility", "hidden")


def test_the_legend_switches_a_line_off_and_the_table_has_its_values(charts: Page) -> None:
    chart = charts.locator(".chart").first
    chart.get_by_role("button", name="Table").click()
    heads = chart.locator("th")
    before = heads.count()
    chart.locator(".chart-series").first.click()
    expect(heads).to_have_count(before - 1)
    expect(chart.locator(".chart-line").first).to_have_attribute("visibility", "hidden")


def test_the_topology_shows_paths_and_is_filtered(look: Viewer) -> None:
    page = look.open(f"/topology?vhost={VHOST}", ".topology-node")
    page.get_by_role("link", name=re.compile("exchange orders")).focus()
    lit = page.locator(".topology-exchange.lit")
    expect(lit).to_have_count(len(EXCHANGES))
    page.get_by_text(re.compile("exchange orders: 0 bindings in")).wait_for()
    page.keyboard.press("ArrowRight")
    expect(lit).not_to_have_count(0)
    assert page.evaluate("document.activeElement.textContent") != "orders"

    page.locator("input.filter").fill("mail.3")
    expect(page.locator(".topology-queue")).to_have_count(1)
    assert "filter=mail.3" in page.url
    page.keyboard.press("Tab")
    page.locator(".topology-queue").click()
    page.wait_for_url(f"**/queues/{VHOST}/mail.3")
