"""A browser for the tests of the management page: Debian's Chromium, driven by Playwright.

Every page records what must not happen: an error on the console, an uncaught exception, and a
request to anything but the broker. Nothing here sleeps: Playwright waits for what a test looks for.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect

ROOT: Final = Path(__file__).resolve().parents[2]

CHROMIUM: Final = shutil.which("chromium")

AXE: Final = ROOT / "node_modules/axe-core/axe.min.js"
"""The accessibility rules, which `make node_modules/.installed` installs."""

SCREENSHOTS: Final = ROOT / "build/screenshots"

DEADLINE_MS: Final = 30_000
"""Milliseconds that a busy machine may take until a page shows what a test waits for."""

WIDTHS: Final = {390: 844, 1280: 800, 2560: 1440}
"""Heights of the viewport by its widths."""

SERIOUS: Final = ("serious", "critical")

expect.set_options(timeout=DEADLINE_MS)


def launch(playwright: Playwright) -> Browser:
    """The browser. A sandbox is of no use for pages of one's own, and root cannot have one."""
    return playwright.chromium.launch(
        executable_path=CHROMIUM,
        args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
        env={name: value for name, value in os.environ.items() if name != "LD_PRELOAD"},
    )


class Viewer:
    """Somebody who is logged in and looks at the page."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context = context
        self.url = url
        self.faults: list[str] = []
        self.page = context.new_page()
        self.page.set_default_timeout(DEADLINE_MS)
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.faults.append(f"uncaught: {error}"))
        self.page.on("request", self._on_request)

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    def _on_request(self, request: Any) -> None:
        if not request.url.startswith((f"{self.url}/", "data:", "blob:")):
            self.faults.append(f"request to {request.url}")

    def open(self, address: str, shows: str = "h1") -> Page:
        """Open an address and wait until the page shows what the selector finds."""
        self.page.goto(f"{self.url}{address}")
        self.page.locator(shows).first.wait_for()
        return self.page

    def violations(self) -> list[str]:
        """What axe finds on the page that is serious."""
        if not self.page.evaluate("() => 'axe' in window"):
            self.page.evaluate(AXE.read_text())
        found = self.page.evaluate(
            """async () => {
                const options = { resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa"] };
                const { violations } = await axe.run(document, options);
                return violations.map(({ id, impact, nodes }) => ({
                    id, impact, nodes: nodes.slice(0, 3).map(({ html, failureSummary }) =>
                        `${html.slice(0, 200)}: ${failureSummary}`),
                }));
            }"""
        )
        return [
            f"{each['id']} ({each['impact']}): {each['nodes']}"
            for each in found
            if each["impact"] in SERIOUS
        ]

    def screenshot(self, name: str) -> None:
        """Keep what the viewport shows."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.jpg"
        self.page.screenshot(path=path, type="jpeg", quality=85, animations="disabled")

    def dialog_button(self, text: str) -> Any:
        """A button of the open dialog."""
        return self.page.locator("dialog[open]").get_by_role("button", name=text, exact=True)

    def fill(self, **values: str | bool) -> None:
        """Fill fields of the open dialog, which have these names."""
        for name, value in values.items():
            field = self.page.locator(f'dialog[open] [name="{name.replace("__", "-")}"]')
            if isinstance(value, bool):
                field.set_checked(value)
            elif field.evaluate("each => each.tagName") == "SELECT":
                field.select_option(value)
            else:
                field.fill(value)

    def choose(self, table: str, row: str, action: str) -> None:
        """Select the row of a table that has a text, and press a button for selected rows."""
        named = self.page.get_by_role("table", name=table, exact=True)
        found = self.page.locator("div.table", has=named)
        # The last action ends the selection, a moment after its dialog was closed.
        expect(found.locator("tbody tr.selected")).to_have_count(0)
        found.locator("tbody tr", has_text=row).first.get_by_role("checkbox").check()
        found.locator(".selected-bar").get_by_role("button", name=action, exact=True).click()

    def press(self, button: str) -> None:
        """Press a button of the view."""
        self.page.locator("main").get_by_role("button", name=button, exact=True).click()

    def type_to_confirm(self, text: str) -> None:
        """Type what the open dialog wants typed."""
        self.page.locator("dialog[open] input").fill(text)

    def submit(self, button: str) -> None:
        """Press a button of the open dialog, and wait until the dialog is closed."""
        self.dialog_button(button).click()
        self.page.locator("dialog[open]").wait_for(state="detached")


@contextmanager
def viewer(browser: Browser, url: str, *, user: str = "guest") -> Iterator[Viewer]:
    """Somebody who is logged in; the password is the name."""
    context = browser.new_context(viewport={"width": 1280, "height": WIDTHS[1280]})
    try:
        answer = context.request.post(
            f"{url}/api/session",
            data={"username": user, "password": user},
            headers={"X-Requested-With": "leveret"},
        )
        assert answer.ok, answer.text()
        # The page asks who is logged in only if somebody was: scripts cannot see the cookie.
        context.add_init_script("localStorage.setItem('leveret.login', 'yes')")
        yield Viewer(context, url)
    finally:
        context.close()
