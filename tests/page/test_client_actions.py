"""What is done to connections and consumers on the page, as clients see it."""

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ConnectionClosedByBroker

from tests.page.browsing import Viewer
from tests.page.conftest import connected
from tests.support.brokers import Leveret, wait_until

REASON = "Wartung, bitte später"


def named(broker: Leveret, name: str) -> pika.BlockingConnection:
    """A connection with a name of the client's own."""
    parameters = pika.ConnectionParameters(
        broker.host,
        broker.port,
        "shop",
        pika.PlainCredentials("guest", "guest"),
        client_properties={"connection_name": name},
    )
    return pika.BlockingConnection(parameters)


def until_closed(connection: pika.BlockingConnection) -> ConnectionClosedByBroker:
    """Wait until the broker closes a connection."""
    with pytest.raises(ConnectionClosedByBroker) as closed:
        wait_until(lambda: connection.process_data_events(0.05) is not None, 60, "the close")
    return closed.value


def test_a_connection_is_closed_with_a_reason(look: Viewer, broker: Leveret) -> None:
    client = named(broker, "to-be-closed")
    look.open("/connections?filter=user_provided_name=to-be-closed", "main tbody tr a").locator(
        "main tbody tr a"
    ).first.click()
    look.page.get_by_role("heading", name="->").wait_for()
    look.press("Close")
    look.fill(reason=REASON)
    look.submit("Close")
    look.page.wait_for_url("**/connections")
    closed = until_closed(client)
    assert closed.reply_code == 320
    assert REASON in closed.reply_text


def test_connections_are_closed_from_the_list(look: Viewer, broker: Leveret) -> None:
    client = named(broker, "in-the-list")
    look.open("/connections?filter=user_provided_name=in-the-list", "main tbody tr")
    look.choose("connections", "in-the-list", "Close")
    look.submit("Close")
    look.page.get_by_text("Closed 1 connection.").wait_for()
    assert until_closed(client).reply_code == 320


def cancelled_by(channel: BlockingChannel, queue: str) -> list[str]:
    """Consume; the tags that the broker cancels come into the list."""
    found: list[str] = []
    channel.add_on_cancel_callback(lambda frame: found.append(frame.method.consumer_tag))
    channel.queue_declare(queue, auto_delete=True)
    channel.basic_consume(queue, lambda *_: None, consumer_tag=f"tag of {queue}")
    return found


def test_a_consumer_is_cancelled(
    look: Viewer, channel: BlockingChannel, connection: pika.BlockingConnection
) -> None:
    cancelled = cancelled_by(channel, "cancelled.1")
    look.open("/consumers?filter=queue.name=cancelled.1", "main tbody tr")
    look.choose("consumers", "tag of cancelled.1", "Cancel")
    look.submit("Cancel the consumers")
    look.page.get_by_text("Cancelled 1 consumer.").wait_for()
    wait_until(lambda: connection.process_data_events(0.05) is not None or bool(cancelled))
    assert cancelled == ["tag of cancelled.1"]


def test_a_consumer_is_cancelled_from_its_channel(
    look: Viewer, channel: BlockingChannel, connection: pika.BlockingConnection
) -> None:
    cancelled = cancelled_by(channel, "cancelled.2")
    page = look.open("/consumers?filter=queue.name=cancelled.2", "main tbody tr")
    page.locator("main tbody tr a", has_text="->").first.click()
    page.get_by_role("heading", name="Consumers").wait_for()
    look.choose("consumers", "tag of cancelled.2", "Cancel")
    look.submit("Cancel the consumers")
    wait_until(lambda: connection.process_data_events(0.05) is not None or bool(cancelled))
    assert cancelled == ["tag of cancelled.2"]


def test_a_new_connection_appears_by_itself(look: Viewer, broker: Leveret) -> None:
    page = look.open("/connections?filter=user_provided_name=appears", "main .blank :first-child")
    with connected(broker), named(broker, "appears"):
        page.locator("main tbody tr", has_text="appears").wait_for()
    page.locator("main .blank :first-child").wait_for()
