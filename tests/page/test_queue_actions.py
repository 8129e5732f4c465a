"""What is done to queues and their messages on the page, and its effect on clients."""

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from tests.page.browsing import Viewer
from tests.page.conftest import until_messages
from tests.page.world import VHOST


@pytest.fixture
def queue(channel: BlockingChannel, request: pytest.FixtureRequest) -> str:
    """A queue of the test's own with three messages."""
    name: str = request.node.name.removeprefix("test_")
    channel.confirm_delivery()
    channel.queue_declare(name)
    for number in range(3):
        properties = pika.BasicProperties(headers={"number": number})
        channel.basic_publish("", name, f"body {number}".encode(), properties)
    return name


def exists(connection: pika.BlockingConnection, queue: str) -> bool:
    try:
        connection.channel().queue_declare(queue, passive=True)
    except ChannelClosedByBroker:
        return False
    return True


def bodies(channel: BlockingChannel, queue: str) -> list[bytes]:
    """Take all messages of a queue."""
    return [
        body for _, _, body in iter(lambda: channel.basic_get(queue, auto_ack=True), (None,) * 3)
    ]


def open_queue(look: Viewer, queue: str) -> None:
    look.open(f"/queues/{VHOST}/{queue}", "main .facts dd")


def open_messages(look: Viewer, queue: str) -> None:
    look.open(f"/queues/{VHOST}/{queue}/messages", "main tbody tr")


def test_a_queue_is_declared_bound_unbound_and_deleted(
    look: Viewer, channel: BlockingChannel, connection: pika.BlockingConnection
) -> None:
    page = look.open("/queues", "main tbody tr")
    look.press("New queue")
    look.fill(vhost=VHOST, name="declared", arguments="x-max-length=10")
    look.submit("Declare")
    page.get_by_role("heading", name="declared").wait_for()
    channel.queue_declare("declared", durable=True, arguments={"x-max-length": 10})

    look.press("Bind")
    look.fill(source="orders", routingKey="declared.#")
    look.submit("Bind")
    page.locator("main tbody tr", has_text="declared.#").wait_for()
    channel.basic_publish("orders", "declared.one", b"")
    until_messages(channel, "declared", 1)
    look.choose("bindings", "declared.#", "Unbind")
    look.submit("Unbind")
    page.get_by_text("Unbound: orders").wait_for()
    channel.basic_publish("orders", "declared.one", b"")
    until_messages(channel, "declared", 1)

    page.locator(".facts dd", has_text="1").first.wait_for()
    look.press("Delete")
    page.locator("dialog[open]").get_by_text("declared with 1 message").wait_for()
    assert look.dialog_button("Delete").is_disabled()
    look.type_to_confirm("declared")
    look.submit("Delete")
    page.wait_for_url("**/queues")
    assert not exists(connection, "declared")


def test_a_queue_is_paused_and_resumed(look: Viewer, queue: str, channel: BlockingChannel) -> None:
    open_queue(look, queue)
    look.press("Pause")
    look.submit("Pause")
    look.page.get_by_role("button", name="Resume", exact=True).wait_for()
    assert bodies(channel, queue) == []
    look.press("Resume")
    look.page.get_by_role("button", name="Pause", exact=True).wait_for()
    assert len(bodies(channel, queue)) == 3


def test_a_queue_is_published_to_and_purged(
    look: Viewer, queue: str, channel: BlockingChannel
) -> None:
    open_queue(look, queue)
    look.press("Publish")
    look.fill(payload="from the page", contentType="text/plain", headers="tenant=42")
    look.submit("Publish")
    until_messages(channel, queue, 4)
    look.page.locator(".facts dd", has_text="4").first.wait_for()
    look.press("Purge")
    look.type_to_confirm(queue)
    look.submit("Purge")
    until_messages(channel, queue, 0)


def test_arguments_are_changed(look: Viewer, queue: str, channel: BlockingChannel) -> None:
    open_queue(look, queue)
    look.press("Change arguments")
    look.fill(arguments="x-max-length=1")
    look.submit("Change")
    until_messages(channel, queue, 1)


def test_all_is_moved(look: Viewer, queue: str, channel: BlockingChannel) -> None:
    channel.queue_declare("moved.to", auto_delete=True)
    open_queue(look, queue)
    look.page.locator(".facts dd", has_text="3").first.wait_for()
    look.press("Move all")
    look.fill(to="moved.to")
    look.submit("Move")
    until_messages(channel, "moved.to", 3)
    until_messages(channel, queue, 0)
    channel.queue_delete("moved.to")


def test_queues_are_deleted_from_the_list(
    look: Viewer, queue: str, connection: pika.BlockingConnection
) -> None:
    look.open(f"/queues?filter={queue}", "main tbody tr")
    look.choose("queues", queue, "Pause")
    look.submit("Pause")
    look.page.locator("main tbody tr", has_text="paused").wait_for()
    look.choose("queues", queue, "Delete")
    look.type_to_confirm(queue)
    look.submit("Delete")
    look.page.get_by_text(f"Deleted: {queue}").wait_for()
    assert not exists(connection, queue)


def test_messages_are_searched_without_a_trace(
    look: Viewer, queue: str, channel: BlockingChannel
) -> None:
    page = look.open(f"/queues/{VHOST}/{queue}/messages?header=number&value=1", "main tbody tr")
    found = page.get_by_role("table", name="messages", exact=True).locator("tbody tr")
    found.filter(has_text="body 1").wait_for()
    assert found.count() == 1
    got, _, _ = channel.basic_get(queue)
    assert not got.redelivered


def test_a_message_is_copied_moved_and_deleted(
    look: Viewer, queue: str, channel: BlockingChannel
) -> None:
    channel.queue_declare("other", auto_delete=True)
    open_messages(look, queue)
    look.choose("messages", "body 0", "Copy to")
    look.fill(queue="other")
    look.submit("Copy")
    until_messages(channel, "other", 1)
    look.choose("messages", "body 1", "Move")
    look.fill(queue="other")
    look.submit("Move")
    until_messages(channel, "other", 2)
    look.page.locator("main tbody tr", has_text="body 1").wait_for(state="detached")
    look.choose("messages", "body 2", "Delete")
    look.submit("Delete")
    until_messages(channel, queue, 1)
    assert bodies(channel, queue) == [b"body 0"]
    assert bodies(channel, "other") == [b"body 0", b"body 1"]
    channel.queue_delete("other")


@pytest.mark.parametrize("how", ["Send back", "Send all back"])
def test_dead_letters_go_back(look: Viewer, channel: BlockingChannel, how: str) -> None:
    dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "graves"}
    channel.queue_declare("alive", auto_delete=True, arguments=dead)
    channel.queue_declare("graves", auto_delete=True)
    channel.confirm_delivery()
    channel.basic_publish("", "alive", b"died")
    tag = channel.basic_get("alive")[0].delivery_tag
    channel.basic_reject(tag, requeue=False)
    until_messages(channel, "graves", 1)
    open_messages(look, "graves")
    if how == "Send back":
        look.choose("messages", "died", how)
    else:
        look.press(how)
    look.submit(how)
    until_messages(channel, "alive", 1)
    until_messages(channel, "graves", 0)
    channel.queue_delete("alive")
    channel.queue_delete("graves")
