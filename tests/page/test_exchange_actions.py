"""What is done to exchanges and delayed messages on the page, and its effect on clients."""

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from tests.page.browsing import Viewer
from tests.page.conftest import until_messages
from tests.page.world import VHOST


@pytest.fixture
def queue(channel: BlockingChannel, request: pytest.FixtureRequest) -> str:
    """An empty queue of the test's own."""
    name: str = request.node.name
    channel.queue_declare(name)
    return name


@pytest.fixture
def exchange(channel: BlockingChannel, request: pytest.FixtureRequest) -> str:
    """A topic exchange of the test's own, without bindings."""
    name = f"{request.node.name}.x"
    channel.exchange_declare(name, "topic")
    return name


def test_an_exchange_is_added_and_deleted(
    look: Viewer, connection: pika.BlockingConnection
) -> None:
    look.open("/exchanges", "main tbody tr")
    look.press("Add an exchange")
    look.fill(
        vhost=VHOST,
        name="added",
        type="topic",
        durable=False,
        arguments="alternate-exchange=failed",
    )
    look.submit("Add")
    look.page.get_by_role("heading", name="added").wait_for()
    channel = connection.channel()
    channel.exchange_declare("added", "topic", arguments={"alternate-exchange": "failed"})

    look.press("Delete")
    look.submit("Delete")
    look.page.wait_for_url("**/exchanges")
    with pytest.raises(ChannelClosedByBroker) as closed:
        channel.exchange_declare("added", passive=True)
    assert closed.value.reply_code == 404


def test_exchanges_are_deleted_from_the_list(
    look: Viewer, exchange: str, connection: pika.BlockingConnection
) -> None:
    look.open(f"/exchanges?filter={exchange}", "main tbody tr")
    look.choose("exchanges", exchange, "Delete")
    look.submit("Delete")
    look.page.get_by_text("Deleted 1 exchange.").wait_for()
    with pytest.raises(ChannelClosedByBroker):
        connection.channel().exchange_declare(exchange, passive=True)


def test_a_queue_is_bound_and_unbound(
    look: Viewer, exchange: str, queue: str, channel: BlockingChannel
) -> None:
    look.open(f"/exchanges/{VHOST}/{exchange}", "main .facts dd")
    look.press("Bind a queue or an exchange")
    look.fill(kind="q", other=queue, routing_key="some.*")
    look.submit("Bind")
    look.page.locator("main tbody tr", has_text=queue).wait_for()
    channel.basic_publish(exchange, "some.key", b"bound")
    until_messages(channel, queue, 1)

    look.choose("bindings from it", queue, "Remove")
    look.submit("Remove")
    look.page.get_by_text("Removed 1 binding.").wait_for()
    channel.confirm_delivery()
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish(exchange, "some.key", b"unbound", mandatory=True)


def test_an_exchange_is_bound_to_another(
    look: Viewer, exchange: str, queue: str, channel: BlockingChannel
) -> None:
    channel.exchange_declare("upstream", "fanout", auto_delete=True)
    channel.queue_bind(queue, exchange, "#")
    look.open(f"/exchanges/{VHOST}/{exchange}", "main .facts dd")
    look.press("Bind to another exchange")
    look.fill(other="upstream")
    look.submit("Bind")
    look.page.locator("main tbody tr", has_text="upstream").wait_for()
    channel.basic_publish("upstream", "any", b"through two")
    until_messages(channel, queue, 1)


def test_the_try_it_box_says_what_a_publish_does(
    look: Viewer, exchange: str, queue: str, channel: BlockingChannel
) -> None:
    channel.queue_bind(queue, exchange, "order.#")
    page = look.open(f"/exchanges/{VHOST}/{exchange}", "main .facts dd")
    page.locator("#try-key").fill("order.new")
    look.press("Show where it goes")
    page.locator(".reached li", has_text=queue).wait_for()
    assert "key=order.new" in page.url
    page.locator("#try-key").fill("invoice.new")
    look.press("Show where it goes")
    page.get_by_text("It would reach no queue").wait_for()
    until_messages(channel, queue, 0)


def test_a_message_is_published(
    look: Viewer, exchange: str, queue: str, channel: BlockingChannel
) -> None:
    channel.queue_bind(queue, exchange, "k")
    look.open(f"/exchanges/{VHOST}/{exchange}", "main .facts dd")
    look.press("Publish a message")
    look.fill(
        routing_key="k",
        headers="tenant=42",
        properties="content_type=text/plain",
        payload="grüß dich",
    )
    look.submit("Publish")
    look.page.get_by_text("Published, and routed to a queue.").wait_for()
    until_messages(channel, queue, 1)
    _, properties, body = channel.basic_get(queue, auto_ack=True)
    assert body.decode() == "grüß dich"
    assert properties.headers == {"tenant": 42}
    assert (properties.content_type, properties.delivery_mode) == ("text/plain", 2)


def test_a_delayed_message_is_cancelled(look: Viewer, queue: str, channel: BlockingChannel) -> None:
    channel.exchange_declare(
        "soon", "x-delayed-message", auto_delete=True, arguments={"x-delayed-type": "direct"}
    )
    channel.queue_bind(queue, "soon", "k")
    delay = pika.BasicProperties(headers={"x-delay": 3_600_000})
    channel.confirm_delivery()
    channel.basic_publish("soon", "k", b"to be cancelled", delay)
    look.open(f'/delayed?exchange=["{VHOST}","soon"]', "main tbody tr")
    look.choose("delayed messages", "to be cancelled", "Cancel")
    look.submit("Cancel the messages")
    look.page.get_by_text("No message waits here until it is due.").wait_for()
    until_messages(channel, queue, 0)
