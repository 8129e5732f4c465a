"""pika's way in: credentials, virtual hosts, URL parameters, negotiated limits, and the way out."""

from collections.abc import Callable

import pika
import pytest
from pika.exceptions import (
    AMQPConnectionError,
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from tests.support.brokers import Broker

Connect = Callable[..., pika.BlockingConnection]


@pytest.mark.parametrize(("user", "password"), [("guest", "wrong"), ("nobody", "guest")])
def test_wrong_credentials_are_an_authentication_error(
    connect: Connect, user: str, password: str
) -> None:
    with pytest.raises(ProbableAuthenticationError) as raised:
        connect(credentials=pika.PlainCredentials(user, password))

    assert "(403)" in str(raised.value)
    assert "ACCESS_REFUSED - Login was refused" in str(raised.value)


def test_a_missing_virtual_host_is_refused_by_name(connect: Connect) -> None:
    with pytest.raises((ProbableAccessDeniedError, ConnectionClosedByBroker)) as raised:
        connect(virtual_host="nowhere")

    assert "NOT_ALLOWED - vhost nowhere not found" in str(raised.value)
    assert "530" in str(raised.value)


def test_a_login_works_right_after_a_refused_one(connect: Connect) -> None:
    with pytest.raises(AMQPConnectionError):
        connect(credentials=pika.PlainCredentials("guest", "wrong"))

    assert connect().is_open


def test_url_parameters_are_negotiated(broker: Broker) -> None:
    url = f"{broker.url}?heartbeat=17&frame_max=8192&channel_max=11&connection_attempts=2"

    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        parameters = connection._impl.params
        assert (parameters.heartbeat, parameters.frame_max, parameters.channel_max) == (
            17,
            8192,
            11,
        )
        assert connection.channel().is_open


def test_the_brokers_own_limits_are_offered(connect: Connect) -> None:
    parameters = connect()._impl.params

    assert parameters.heartbeat == 60
    assert parameters.frame_max == 131_072
    assert parameters.channel_max == 2047


def test_heartbeats_can_be_turned_off(connect: Connect) -> None:
    connection = connect(heartbeat=0)

    assert connection._impl.params.heartbeat == 0
    assert connection.channel().is_open


def test_every_capability_pika_asks_about_is_there(connect: Connect) -> None:
    connection = connect()

    assert connection.publisher_confirms_supported
    assert connection.exchange_exchange_bindings_supported
    assert connection.basic_nack_supported
    assert connection.consumer_cancel_notify_supported


def test_the_server_introduces_itself(connect: Connect) -> None:
    properties = connect()._impl.server_properties

    assert properties["product"]
    assert properties["version"]
    assert properties["capabilities"]["connection.blocked"] is True
    assert properties["capabilities"]["authentication_failure_close"] is True


def test_a_blocked_callback_is_not_called_while_nothing_is_wrong(
    connect: Connect, name: str
) -> None:
    connection = connect(blocked_connection_timeout=60)
    alarms: list[object] = []
    connection.add_on_connection_blocked_callback(lambda *frames: alarms.append(frames))
    connection.add_on_connection_unblocked_callback(lambda *frames: alarms.append(frames))
    channel = connection.channel()
    channel.queue_declare(name)
    channel.confirm_delivery()

    channel.basic_publish("", name, b"body")
    connection.process_data_events()

    assert alarms == []


def test_a_secret_can_be_updated(connect: Connect) -> None:
    connection = connect()

    connection.update_secret("guest", "rotation")

    assert connection.channel().is_open


def test_client_properties_of_any_kind_are_taken(connect: Connect) -> None:
    properties = {"connection_name": "hutch", "tags": ["a", 1], "deep": {"er": {"none": None}}}

    assert connect(client_properties=properties).channel().is_open


def test_closing_ends_every_channel(connect: Connect) -> None:
    connection = connect()
    channels = [connection.channel() for _ in range(5)]

    connection.close(reply_code=200, reply_text="that was all")

    assert connection.is_closed
    assert all(channel.is_closed for channel in channels)
