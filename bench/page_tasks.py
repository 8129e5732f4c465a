"""Six tasks of an operator on the management pages of Leveret and RabbitMQ: clicks and seconds.

    python -m bench.page_tasks

Both brokers have the same virtual host: three hundred queues, an archive that is deep and stands
still, a queue that grows because its consumer holds what it has, and a queue of dead letters. A
script, which knows every way, drives both pages in the same Chromium, already logged in and at the
overview. The seconds are those of the page: nobody reads or thinks. A click is a press of the mouse
on anything, a field is one that is filled or chosen. Tasks end when the answer is to be seen, or
when its effect is there.

RabbitMQ has the plugins for management and, as it cannot move messages without, for shovels.
"""

import argparse
import json
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Final, NamedTuple

import pika
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from tests.page.browsing import launch
from tests.support.brokers import Broker, Leveret, RabbitMQ, free_port, wait_until

QUEUES: Final = 300
ARCHIVED: Final = 5000
PREFETCH: Final = 50
DEAD: Final = 20
PUBLISHED_A_SECOND: Final = 50
PLUGINS: Final = ("rabbitmq_management", "rabbitmq_shovel", "rabbitmq_shovel_management")
TIMEOUT_MS: Final = 60_000

LOGIN: Final = {"Authorization": f"Basic {b64encode(b'guest:guest').decode()}"}


class Cost(NamedTuple):
    """What a task takes."""

    clicks: int
    fields: int
    seconds: float


class Hand:
    """Uses a page, and counts what it does."""

    def __init__(self, page: Page, broker: Broker) -> None:
        self.page = page
        self.broker = broker
        self.clicks = 0
        self.fields = 0

    def click(self, what: str | Locator) -> None:
        """Press something."""
        self._find(what).click()
        self.clicks += 1

    def fill(self, what: str | Locator, text: str) -> None:
        """Type into a field."""
        self._find(what).fill(text)
        self.fields += 1

    def choose(self, what: str | Locator, value: str) -> None:
        """Choose from a list."""
        self._find(what).select_option(value)
        self.fields += 1

    def see(self, what: str | Locator) -> None:
        """Wait until something is shown."""
        self._find(what).wait_for()

    def _find(self, what: str | Locator) -> Locator:
        return (self.page.locator(what) if isinstance(what, str) else what).first

    def messages(self, queue: str) -> int:
        """The messages that are ready in a queue, asked over AMQP."""
        with pika.BlockingConnection(pika.URLParameters(self.broker.url)) as connection:
            count: int = (
                connection.channel().queue_declare(queue, passive=True).method.message_count
            )
            return count


Task = Callable[[Hand], None]


# Leveret


def leveret_find(hand: Hand) -> None:
    hand.click("#nav a[href='/queues']")
    hand.click(hand.page.locator("th button", has_text="In"))
    hand.see("tbody tr:first-child a:text-is('orders')")


def leveret_why(hand: Hand) -> None:
    hand.click("tbody tr:first-child a:text-is('orders')")
    hand.see(hand.page.get_by_text("prefetch"))


def leveret_peek(hand: Hand) -> None:
    hand.page.keyboard.press("/")
    hand.fill("dialog[open] input", "orders.dead")
    hand.click(
        "dialog[open] a:has-text('orders.dead'), dialog[open] [role=option]:has-text('orders.dead')"
    )
    hand.click(hand.page.get_by_role("link", name="Messages", exact=True))
    hand.see(hand.page.get_by_text("order 0", exact=True))


def leveret_move(hand: Hand) -> None:
    hand.click(hand.page.get_by_role("button", name="Send all back"))
    hand.click("dialog[open] button.primary")
    wait_until(lambda: hand.messages("orders.dead") == 0)


def leveret_user(hand: Hand) -> None:
    hand.click("#nav a[href='/users']")
    hand.click(hand.page.get_by_role("button", name="Add a user"))
    hand.fill("dialog[open] [name=name]", "worker")
    hand.fill("dialog[open] [name=password]", "secret")
    hand.choose("dialog[open] [name=vhost]", "/")
    hand.click("dialog[open] button.primary")
    wait_until(lambda: can_log_in(hand.broker))


def leveret_export(hand: Hand) -> None:
    hand.click("#nav a[href='/definitions']")
    with hand.page.expect_download():
        hand.click(hand.page.get_by_role("button", name="Download definitions.json"))


# RabbitMQ


def rabbitmq_find(hand: Hand) -> None:
    hand.click("#tabs a[href='#/queues']")
    by_rate = "a.sort[sort='message_stats.publish_details.rate']"
    hand.click(by_rate)
    hand.see(f"{by_rate} .arrow")
    hand.click(by_rate)
    hand.see("table.list tbody tr:first-child a:text-is('orders')")


def rabbitmq_why(hand: Hand) -> None:
    hand.click("table.list tbody tr:first-child a:text-is('orders')")
    hand.click(hand.page.locator("h2", has_text="Consumers"))
    hand.click("table.list a[href^='#/channels/']")
    hand.see(hand.page.get_by_text("Unacknowledged"))


def rabbitmq_peek(hand: Hand) -> None:
    hand.click("#tabs a[href='#/queues']")
    hand.fill("input#queues-name", "orders.dead")
    hand.page.keyboard.press("Enter")
    hand.click("table.list a:text-is('orders.dead')")
    hand.click(hand.page.locator("h2", has_text="Get messages"))
    hand.click("input[type=submit][value='Get Message(s)']")
    hand.see(hand.page.get_by_text("order 0", exact=True))


def rabbitmq_move(hand: Hand) -> None:
    hand.click(hand.page.locator("h2", has_text="Move messages"))
    hand.fill("input[name='dest-queue']", "orders")
    hand.click("input[type=submit][value='Move messages']")
    wait_until(lambda: hand.messages("orders.dead") == 0)


def rabbitmq_user(hand: Hand) -> None:
    hand.click("#tabs a[href='#/users']")
    hand.click(hand.page.locator("h2", has_text="Add a user"))
    hand.fill("input[name=username]", "worker")
    hand.fill("input[name=password]", "secret")
    hand.fill("input[name=password_confirm]", "secret")
    hand.click("input[type=submit][value='Add user']")
    hand.click("a[href='#/users/worker']")
    hand.choose("form[action='#/permissions'] select[name=vhost]", "/")
    hand.click("input[type=submit][value='Set permission']")
    wait_until(lambda: can_log_in(hand.broker))


def rabbitmq_export(hand: Hand) -> None:
    hand.click("#tabs a[href='#/']")
    hand.click(hand.page.locator("h2", has_text="Export definitions"))
    with hand.page.expect_download():
        hand.click("#download-definitions")


TASKS: Final[tuple[tuple[str, Task, Task], ...]] = (
    ("find the queue that grows", leveret_find, rabbitmq_find),
    ("see why", leveret_why, rabbitmq_why),
    ("look at the first dead letter", leveret_peek, rabbitmq_peek),
    ("move the dead letters back", leveret_move, rabbitmq_move),
    ("add a user with rights to one virtual host", leveret_user, rabbitmq_user),
    ("export the definitions", leveret_export, rabbitmq_export),
)


def can_log_in(broker: Broker) -> bool:
    """Whether the new user can connect to the virtual host."""
    credentials = pika.PlainCredentials("worker", "secret")
    try:
        pika.BlockingConnection(
            pika.ConnectionParameters(broker.host, broker.port, "/", credentials)
        ).close()
    except pika.exceptions.AMQPConnectionError:
        return False
    return True


@contextmanager
def situation(broker: Broker) -> Iterator[None]:
    """What an operator finds; a publisher and a consumer go on meanwhile."""
    with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
        channel = connection.channel()
        for number in range(QUEUES):
            channel.queue_declare(f"other.{number:03}")
        dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "orders.dead"}
        channel.queue_declare("orders", arguments=dead)
        for queue in ("archive", "orders.dead"):
            channel.queue_declare(queue)
        for number in range(ARCHIVED):
            channel.basic_publish("", "archive", f"old {number}".encode())
        for number in range(DEAD):
            channel.basic_publish("", "orders", f"order {number}".encode())
            wait_until(lambda: reject(channel, "orders"))
        channel.basic_qos(prefetch_count=PREFETCH)
        channel.basic_consume("orders", lambda *_: None)
        ending = threading.Event()
        grows = threading.Thread(target=_grow, args=(broker, ending))
        grows.start()
        try:
            wait_until(lambda: connection.process_data_events(0) is not None or ready(broker) > 100)
            yield
        finally:
            ending.set()
            grows.join()


def reject(channel: pika.adapters.blocking_connection.BlockingChannel, queue: str) -> bool:
    """Reject the next message of a queue, if there is one."""
    got, _, _ = channel.basic_get(queue)
    if got is not None:
        channel.basic_reject(got.delivery_tag, requeue=False)
    return got is not None


def ready(broker: Broker) -> int:
    """The messages that are ready in the queue that grows."""
    with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
        count: int = connection.channel().queue_declare("orders", passive=True).method.message_count
        return count


def _grow(broker: Broker, ending: threading.Event) -> None:
    """Publish steadily."""
    with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
        channel = connection.channel()
        while not ending.wait(1 / PUBLISHED_A_SECOND):
            channel.basic_publish("", "orders", b"new order")


def perform(browser: Browser, url: str, broker: Broker, tasks: list[Task]) -> list[Cost]:
    """Log in and do the tasks one after the other."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(url)
    page.locator("input[name=username]").fill("guest")
    page.locator("input[name=password]").fill("guest")
    page.keyboard.press("Enter")
    page.locator("h1", has_text="Overview").wait_for()
    page.on("dialog", lambda dialog: dialog.accept())
    costs = []
    for task in tasks:
        hand = Hand(page, broker)
        start = time.perf_counter()
        task(hand)
        costs.append(Cost(hand.clicks, hand.fields, time.perf_counter() - start))
    context.close()
    return costs


def statistics_are_there(url: str, port: int) -> None:
    """Wait until the rate of the queue that grows is known, as it is in a broker that runs."""

    def known() -> bool:
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/api/queues/%2F/orders", headers=LOGIN)
        body = json.loads(connection.getresponse().read())
        connection.close()
        rate = body.get("message_stats", {}).get("publish_details", {}).get("rate", 0)
        return bool(rate > 1) and body.get("messages_unacknowledged") == PREFETCH

    wait_until(known, what=f"the statistics of {url}")


def measure(browser: Browser) -> list[tuple[str, Cost, Cost]]:
    """Do all tasks on both pages."""
    with Leveret(management=True) as leveret, situation(leveret):
        statistics_are_there(leveret.management_url, leveret.management_port)
        ours = perform(browser, leveret.management_url, leveret, [task for _, task, _ in TASKS])
    port = free_port()
    listener = f"management.tcp.port = {port}", "management.tcp.ip = 127.0.0.1"
    with RabbitMQ(*listener, plugins=PLUGINS) as rabbitmq, situation(rabbitmq):
        url = f"http://127.0.0.1:{port}"
        statistics_are_there(url, port)
        theirs = perform(browser, url, rabbitmq, [task for _, _, task in TASKS])
    names = [name for name, _, _ in TASKS]
    return list(zip(names, ours, theirs, strict=True))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.parse_args()
    with sync_playwright() as playwright:
        browser = launch(playwright)
        rows = measure(browser)
        browser.close()
    print("| task | Leveret: clicks, fields, seconds | RabbitMQ 3.10.8: clicks, fields, seconds |")
    print("|---|---|---|")
    for name, *costs in rows:
        cells = [f"{cost.clicks}, {cost.fields}, {cost.seconds:.1f}" for cost in costs]
        print(f"| {name} | {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
