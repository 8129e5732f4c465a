"""How long each view of the management page takes until it is painted, and until it has its data.

    python -m bench.page_paint

The broker has ten thousand queues, the browser is on the same machine, and has the files of the
page already, as it has for whoever lives in it; the first row is the first visit. Times are from
the request for the address, in milliseconds: the median of several visits.
"""

import statistics
import sys
from typing import Final
from urllib.parse import quote

from playwright.sync_api import sync_playwright

from tests.page.browsing import Viewer, launch, viewer
from tests.page.conftest import connected, import_definitions
from tests.page.test_views import VIEWS
from tests.support.brokers import Leveret

VISITS: Final = 5

PAINT: Final = """() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime"""
PAINTED: Final = f"() => ({PAINT})() !== undefined"


def visit(look: Viewer, address: str, shows: str) -> tuple[float, float]:
    """Milliseconds until the first paint, and until the data are there."""
    page = look.open(address, shows)
    complete = page.evaluate("() => performance.now()")
    page.wait_for_function(PAINTED)
    return page.evaluate(PAINT), complete


def measure(look: Viewer, connection: str) -> None:
    """Visit every view and print."""
    print("| view | first paint, ms | data, ms |")
    print("|---|---|---|")
    paint, complete = visit(look, "/", VIEWS["overview"].shows)
    print(f"| overview, first visit | {paint:.0f} | {complete:.0f} |")
    for name, (address, shows) in VIEWS.items():
        where = quote(address.format(connection=connection), safe="/?=&%")
        # These have nothing to show in a broker in which nothing has happened.
        wanted = "main h1" if name in ("delayed", "limits", "log") else shows
        times = [visit(look, where, wanted) for _ in range(VISITS)]
        paint, complete = (statistics.median(each) for each in zip(*times, strict=True))
        print(f"| {name} | {paint:.0f} | {complete:.0f} |")


def main() -> int:
    """Measure and print."""
    with Leveret(management=True) as broker, sync_playwright() as playwright:
        import_definitions(broker)
        with connected(broker) as connection:
            connection.channel().basic_consume("orders.0", lambda *_: None)
            browser = launch(playwright)
            with viewer(browser, broker.management_url) as look:
                name = look.open("/connections", "main tbody tr a").locator("main tbody tr a")
                found = name.first.inner_text()
            with viewer(browser, broker.management_url) as look:
                measure(look, found)
            browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
