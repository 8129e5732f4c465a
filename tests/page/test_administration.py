"""What is done to users, virtual hosts, policies, limits and definitions on the page."""

import json
from pathlib import Path

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPConnectionError, ChannelClosedByBroker

from tests.page.browsing import Viewer
from tests.page.conftest import connected, until_messages
from tests.page.world import VHOST
from tests.support.brokers import Leveret


def refused(broker: Leveret, user: str, password: str, vhost: str = VHOST) -> bool:
    """Whether a user cannot connect."""
    try:
        connected(broker, user, password, vhost).close()
    except AMQPConnectionError:
        return True
    return False


def add_user(look: Viewer, name: str) -> None:
    look.open("/users", "main tbody tr")
    look.press("Add a user")
    look.fill(
        name=name,
        password="first",
        tags="management",
        vhost=VHOST,
        configure="",
        write="",
        read="^mine",
    )
    look.submit("Add")
    look.page.get_by_role("heading", name=name).wait_for()


def test_a_user_is_added_with_rights_changed_and_deleted(look: Viewer, broker: Leveret) -> None:
    add_user(look, "worker")
    with connected(broker, "worker", "first") as client, pytest.raises(ChannelClosedByBroker):
        client.channel().queue_declare("not.permitted")

    look.press("Change the password")
    look.fill(password="second")
    look.submit("Change")
    assert refused(broker, "worker", "first")

    look.press("Set permissions")
    look.fill(vhost=VHOST, configure=".*", write=".*", read=".*")
    look.submit("Set")
    with connected(broker, "worker", "second") as client:
        client.channel().queue_declare("permitted", auto_delete=True)

    look.press("Change tags")
    look.fill(monitoring=True, management=False)
    look.submit("Change")
    look.page.locator(".facts dd", has_text="monitoring").wait_for()
    assert not refused(broker, "worker", "second")

    look.choose("permissions", VHOST, "Clear")
    look.submit("Clear")
    look.page.get_by_text("Cleared 1 permission.").wait_for()
    assert refused(broker, "worker", "second")

    look.press("Delete")
    look.submit("Delete")
    look.page.wait_for_url("**/users")
    assert refused(broker, "worker", "second", "/")


def test_a_topic_permission_holds(look: Viewer, broker: Leveret) -> None:
    add_user(look, "topical")
    look.press("Set permissions")
    look.fill(vhost=VHOST, configure=".*", write=".*", read=".*")
    look.submit("Set")
    look.press("Set a topic permission")
    look.fill(vhost=VHOST, exchange="orders", write="^orders\\.", read=".*")
    look.submit("Set")
    look.page.locator("main tbody tr", has_text="orders").wait_for()
    with connected(broker, "topical", "first") as client:
        channel = client.channel()
        channel.confirm_delivery()
        channel.basic_publish("orders", "orders.1", b"permitted")
        with pytest.raises(ChannelClosedByBroker) as closed:
            channel.basic_publish("orders", "mail.1", b"refused")
    assert closed.value.reply_code == 403


def test_a_limit_of_a_user_holds(look: Viewer, broker: Leveret) -> None:
    add_user(look, "limited")
    look.press("Set a limit")
    look.fill(limit="max-connections", value="0")
    look.submit("Set")
    look.page.locator("main tbody tr", has_text="max-connections").wait_for()
    assert refused(broker, "limited", "first")

    look.open("/limits", "main tbody tr")
    look.choose("limits", "limited", "Clear")
    look.submit("Clear")
    look.page.get_by_text("Cleared 1 limit.").wait_for()
    assert not refused(broker, "limited", "first")


def test_a_virtual_host_is_added_changed_limited_and_deleted(look: Viewer, broker: Leveret) -> None:
    look.open("/vhosts", "main tbody tr")
    look.press("Add a virtual host")
    look.fill(name="a new one", description="for a test", tags="one,two")
    look.submit("Add")
    page = look.page
    page.locator(".facts dd", has_text="for a test").wait_for()

    look.press("Change")
    look.fill(description="changed")
    look.submit("Change")
    page.locator(".facts dd", has_text="changed").wait_for()

    look.press("Set permissions")
    look.fill(user="guest", configure=".*", write=".*", read=".*")
    look.submit("Set")
    look.press("Set a limit")
    look.fill(limit="max-queues", value="1")
    look.submit("Set")
    page.locator("main tbody tr", has_text="max-queues").wait_for()
    with connected(broker, vhost="a new one") as client:
        channel = client.channel()
        channel.queue_declare("first", durable=True)
        with pytest.raises(ChannelClosedByBroker):
            channel.queue_declare("second", durable=True)

    look.press("Delete")
    page.locator("dialog[open]").get_by_text("1 queue with 0 messages").wait_for()
    assert look.dialog_button("Delete").is_disabled()
    look.type_to_confirm("a new one")
    look.submit("Delete")
    page.wait_for_url("**/vhosts")
    assert refused(broker, "guest", "guest", "a new one")


def publish(channel: BlockingChannel, queue: str, count: int) -> None:
    for number in range(count):
        channel.basic_publish("", queue, str(number).encode())


@pytest.mark.parametrize(
    ("kind", "word"), [("policies", "a policy"), ("operator-policies", "an operator policy")]
)
def test_a_policy_is_added_changed_and_deleted(
    look: Viewer, channel: BlockingChannel, kind: str, word: str
) -> None:
    queue = f"limited.by.{kind}"
    channel.queue_declare(queue)
    page = look.open(f"/policies?kind={kind}", "main h1")
    look.press(f"Add {word}")
    look.fill(
        vhost=VHOST, name="of-test", pattern=f"^{queue}$", priority="7", definition="max-length=3"
    )
    look.submit("Add")
    page.locator("main tbody tr", has_text="of-test").wait_for()
    channel.confirm_delivery()
    publish(channel, queue, 5)
    until_messages(channel, queue, 3)

    look.choose("policies", "of-test", "What it applies to")
    page.locator("dialog[open]").get_by_text("1 queue").wait_for()
    page.locator("dialog[open]").get_by_role("link", name=queue).wait_for()
    look.submit("Close")

    look.choose("policies", "of-test", "Change")
    look.fill(definition="max-length=2")
    look.submit("Change")
    until_messages(channel, queue, 2)

    look.choose("policies", "of-test", "Delete")
    page.locator("dialog[open]").get_by_text("1 queue").wait_for()
    look.submit("Delete")
    page.get_by_text("Deleted 1 policy.").wait_for()
    publish(channel, queue, 5)
    until_messages(channel, queue, 7)
    channel.queue_delete(queue)


def test_definitions_are_downloaded_and_uploaded(
    look: Viewer, connection: pika.BlockingConnection, tmp_path: Path
) -> None:
    channel = connection.channel()
    page = look.open(f"/definitions?vhost={VHOST}", "main input[type=file]")
    with page.expect_download() as downloading:
        look.press("Download definitions.json")
    saved = tmp_path / "definitions.json"
    downloading.value.save_as(saved)
    found = json.loads(saved.read_text())
    assert "orders.0" in {queue["name"] for queue in found["queues"]}

    queue = {"name": "uploaded", "durable": True, "auto_delete": False, "arguments": {}}
    saved.write_text(json.dumps({**found, "queues": [*found["queues"], queue]}))
    page.locator("input[type=file]").set_input_files(saved)
    page.locator("main tbody tr", has_text="queues").get_by_text("1", exact=True).wait_for()
    look.press("Import")
    page.get_by_text("The definitions are imported.").wait_for()
    channel.queue_declare("uploaded", passive=True)
    channel.queue_delete("uploaded")


def test_the_log_shows_what_happens(look: Viewer, broker: Leveret) -> None:
    page = look.open("/log?level=warning", "main h1")
    page.get_by_role("button", name="Pause").wait_for()
    assert refused(broker, "nobody", "at all")
    page.locator(".log li", has_text="nobody").first.wait_for()
    page.locator("main input[type=search]").fill("not in any line")
    page.locator(".log li").first.wait_for(state="detached")
    assert "filter=not+in+any+line" in page.url
