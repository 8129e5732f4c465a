"""From the protocol header to connection.open-ok, in every order a client may try."""

import socket

import pytest
from pamqp import commands
from pamqp.base import Frame
from pamqp.commands import Channel, Connection, Queue

from leveret import __version__
from leveret.config import Amqp, Config, Server
from leveret.errors import ReplyCode
from tests.protocol import wire
from tests.protocol.harness import Client, Harness, start_ok

OUT_OF_TURN = {ReplyCode.COMMAND_INVALID, ReplyCode.CHANNEL_ERROR, ReplyCode.UNEXPECTED_FRAME}
"""The hard errors of a method that is not allowed in the state."""

STEPS = ("dialled", "greeted", "logged in", "tuned", "open")


def client_at(harness: Harness, step: str) -> Client:
    """A client that has come as far as a step of the handshake."""
    client = harness.connect()
    reached = STEPS.index(step)
    if reached >= 1:
        client.feed(wire.PROTOCOL_HEADER)
        client.expect_method(0, Connection.Start)
    if reached >= 2:
        client.call(0, start_ok(), Connection.Tune)
    if reached >= 3:
        client.send(0, Connection.TuneOk(2047, 131_072, 0))
    if reached >= 4:
        client.call(0, Connection.Open("/"), Connection.OpenOk)
    return client


def test_the_legal_order_opens_a_connection(harness: Harness) -> None:
    client = harness.connect()
    client.feed(wire.PROTOCOL_HEADER)
    start = client.expect_method(0, Connection.Start)
    assert (start.version_major, start.version_minor) == (0, 9)
    assert (start.mechanisms, start.locales) == ("PLAIN AMQPLAIN", "en_US")
    client.send(0, start_ok(name="the shop"))
    client.expect(0, Connection.Tune(2047, 131_072, 60))
    client.send(0, Connection.TuneOk(2047, 131_072, 0))
    client.expect_nothing()
    assert len(harness.broker.connections) == 0
    client.send(0, Connection.Open("/"))
    client.expect(0, Connection.OpenOk())
    assert len(harness.broker.connections) == 1
    assert client.log.of("connection opened") == {"user": "guest", "vhost": "/", "name": "the shop"}


def test_a_broker_without_a_name_is_called_as_its_machine() -> None:
    client = Harness(Config()).connect()
    client.feed(wire.PROTOCOL_HEADER)
    properties = client.expect_method(0, Connection.Start).server_properties
    assert properties["cluster_name"] == f"leveret@{socket.gethostname()}"


def test_start_names_the_broker_and_what_it_can_do() -> None:
    harness = Harness(Config(server=Server(product="Hare", cluster_name="c@h")))
    client = harness.connect()
    client.feed(wire.PROTOCOL_HEADER)
    properties = client.expect_method(0, Connection.Start).server_properties
    assert properties["product"] == "Hare"
    assert properties["cluster_name"] == "c@h"
    assert properties["version"] == __version__
    assert properties["capabilities"] == {
        "authentication_failure_close": True,
        "basic.nack": True,
        "connection.blocked": True,
        "consumer_cancel_notify": True,
        "consumer_priorities": True,
        "direct_reply_to": True,
        "exchange_exchange_bindings": True,
        "per_consumer_qos": True,
        "publisher_confirms": True,
    }
    harness.close()


def test_the_header_of_0_9_is_answered_as_0_9_1(harness: Harness) -> None:
    client = harness.connect()
    client.feed(b"AMQP\x01\x01\x00\x09")
    client.expect_method(0, Connection.Start)


@pytest.mark.parametrize("header", [wire.PROTOCOL_HEADER, b"AMQP\x01\x01\x00\x09"])
def test_a_header_may_come_octet_by_octet(harness: Harness, header: bytes) -> None:
    client = harness.connect()
    for at in range(8):
        client.expect_nothing()
        client.feed(header[at : at + 1])
    client.expect_method(0, Connection.Start)


@pytest.mark.parametrize(
    ("header", "what"),
    [
        (b"GET / HTTP/1.1\r\n", "an HTTP request"),
        (b"POST", "an HTTP request"),
        (b"HEAD /api", "an HTTP request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", "a TLS handshake"),
        (b"PUT / HTTP/1.1\r\n\r\n", "an HTTP request"),
        (b"DELETE / HTTP/1.1\r\n\r\n", "an HTTP request"),
        (b"OPTIONS * HTTP/1.1\r\n\r\n", "an HTTP request"),
        (b"CONNECT a:1 HTTP/1.1\r\n\r\n", "an HTTP request"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "an HTTP request (HTTP/2)"),
        (b"\x16\x03\x03", "a TLS handshake"),
        (b"CONNECT\naccept-version:1.2\n\n\0", "a STOMP client"),
        (b"STOMP\r\naccept-version:1.2\r\n\r\n\0", "a STOMP client"),
        (b"\x10\x10\0\4MQTT\4\2\0\x3c\0\4test", "an MQTT client"),
        (b"\x10\x90\1\0\4MQTT\4\2\0\x3c\0\x84", "an MQTT client"),
        (b"\x10\x12\0\6MQIsdp\3\2\0\x3c\0\4test", "an MQTT client"),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "a PROXY protocol header"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", "a PROXY protocol header"),
        (b"AMQP\x00\x01\x00\x00", "AMQP 1.0"),
        (b"AMQP\x02\x01\x00\x00", "AMQP 1.0"),
        (b"AMQP\x03\x01\x00\x00", "AMQP 1.0"),
        (b"AMQP\x00\x00\x09\x02", "another version of AMQP"),
        (b"AMQP\x01\x01\x08\x00", "another version of AMQP"),
        (b"SSH-2.0-OpenSSH", "an SSH client"),
        (b"\0" * 8, "no AMQP"),
        (b"AMQQ\x00\x00\x09\x01", "no AMQP"),
    ],
)
def test_what_is_no_amqp_is_told_the_right_header_and_cut_off(
    harness: Harness, header: bytes, what: str
) -> None:
    client = harness.connect()
    client.feed(header)
    client.expect(0, "header")
    client.expect_socket_closed()
    received = client.log.of("wrong protocol")["received"]
    assert isinstance(received, str)
    assert received.startswith(what)


@pytest.mark.parametrize("step", STEPS[1:])
@pytest.mark.parametrize(
    ("belongs_to", "method"),
    [
        ("greeted", start_ok()),
        ("logged in", Connection.TuneOk(2047, 131_072, 0)),
        ("tuned", Connection.Open("/")),
        ("", Connection.CloseOk()),
        ("open", Connection.UpdateSecret("new", "because")),
    ],
)
def test_a_method_out_of_turn_closes_the_connection(
    harness: Harness, step: str, belongs_to: str, method: Frame
) -> None:
    if step == belongs_to:
        client = client_at(harness, step)
        client.send(0, method)
        assert not client.connection.finished
        assert all(
            not isinstance(received, Connection.Close) for _, received in client.receive_all()
        )
        return
    client = client_at(harness, step)
    client.send(0, method)
    close = client.expect_method(0, Connection.Close)
    assert close.reply_code in OUT_OF_TURN
    assert (close.class_id, close.method_id) == divmod(method.index, 0x10000)
    client.send(0, Connection.CloseOk())
    client.expect_socket_closed()


@pytest.mark.parametrize("step", STEPS[1:4])
def test_a_channel_cannot_be_opened_before_the_connection(harness: Harness, step: str) -> None:
    client = client_at(harness, step)
    client.send(1, Channel.Open())
    assert client.expect_method(0, Connection.Close).reply_code in OUT_OF_TURN


@pytest.mark.parametrize(
    "method", [Connection.Start(), Connection.Tune(), Connection.OpenOk(), Queue.Declare()]
)
def test_a_method_that_is_not_for_channel_0_closes_the_connection(
    alice: Client, method: Frame
) -> None:
    alice.send(0, method)
    close = alice.expect_method(0, Connection.Close)
    assert close.reply_code in OUT_OF_TURN
    assert (close.class_id, close.method_id) == divmod(method.index, 0x10000)


@pytest.mark.parametrize("step", STEPS[1:])
def test_close_is_answered_at_every_step(harness: Harness, step: str) -> None:
    client = client_at(harness, step)
    client.send(0, Connection.Close(200, "changed my mind", 0, 0))
    client.expect(0, Connection.CloseOk())
    client.expect_socket_closed()
    assert len(harness.broker.connections) == 0


def test_after_a_refusal_all_is_ignored_but_close_and_close_ok(harness: Harness) -> None:
    client = client_at(harness, "open")
    client.open_channels(1, 2)
    client.send(2, commands.Basic.Consume(queue="q", consumer_tag="c"), Channel.Flow(False))
    client.expect_error(2, ReplyCode.NOT_FOUND, "no queue 'q' in vhost '/'", commands.Basic.Consume)
    client.send(1, Channel.Flow(False))
    client.expect_error(0, ReplyCode.NOT_IMPLEMENTED, "active=false", Channel.Flow)
    client.send(1, Queue.Declare(queue="q"))
    client.send(0, Connection.Open("/"))
    client.publish(1, "q", b"in flight while the error came")
    client.publish(7, "q", b"in flight while the error came")
    client.feed(wire.HEARTBEAT)
    client.expect_nothing()
    assert not client.connection.finished, "there is no close-ok yet"
    client.send(0, Connection.CloseOk())
    client.expect_socket_closed()
    assert not harness.has_queue("q")


def test_a_close_that_crosses_the_brokers_close_is_answered(alice: Client) -> None:
    alice.send(1, Channel.Flow(False))
    alice.expect_error(0, ReplyCode.NOT_IMPLEMENTED, "active=false", Channel.Flow)
    alice.send(0, Connection.Close(200, "", 0, 0))
    alice.expect(0, Connection.CloseOk())
    alice.expect_socket_closed()


def test_whatever_comes_behind_close_is_not_looked_at(harness: Harness, alice: Client) -> None:
    close = wire.method_frames(0, Connection.Close(200, "", 0, 0))
    alice.feed(close + wire.method_frames(1, Queue.Declare(queue="q")) + b"no frame at all, by far")
    alice.expect(0, Connection.CloseOk())
    alice.expect_socket_closed()
    alice.feed(wire.method_frames(1, Queue.Declare(queue="q")))
    alice.expect_socket_closed()
    assert not harness.has_queue("q")


@pytest.mark.parametrize(
    ("tuned", "text"),
    [
        (
            Connection.TuneOk(2047, 4095, 0),
            "negotiated frame_max = 4095 is lower than the minimum allowed value (4096)",
        ),
        (
            Connection.TuneOk(2047, 131_073, 0),
            "negotiated frame_max = 131073 is higher than the maximum allowed value (131072)",
        ),
        (
            Connection.TuneOk(2047, 0, 0),
            "negotiated frame_max = 0 (no limit) is higher than the maximum allowed value (131072)",
        ),
        (
            Connection.TuneOk(2048, 131_072, 0),
            "negotiated channel_max = 2048 is higher than the maximum allowed value (2047)",
        ),
        (
            Connection.TuneOk(0, 131_072, 0),
            "negotiated channel_max = 0 (no limit) is higher than the maximum allowed value (2047)",
        ),
    ],
)
def test_a_limit_beyond_what_was_proposed_is_refused(
    harness: Harness, tuned: Connection.TuneOk, text: str
) -> None:
    client = client_at(harness, "logged in")
    client.send(0, tuned)
    client.expect_error(0, ReplyCode.NOT_ALLOWED, text, Connection.TuneOk)


@pytest.mark.parametrize(("channels", "frame_max"), [(1, 4096), (2047, 131_072)])
def test_a_limit_within_what_was_proposed_is_the_clients_word(
    harness: Harness, channels: int, frame_max: int
) -> None:
    client = harness.open_client(1, channel_max=channels, frame_max=frame_max)
    assert client.connection.session.frame_max == frame_max


@pytest.mark.parametrize("vhost", ["nowhere", ""])
def test_an_unknown_virtual_host_is_refused(harness: Harness, vhost: str) -> None:
    client = client_at(harness, "tuned")
    client.send(0, Connection.Open(vhost))
    client.expect_error(0, ReplyCode.NOT_ALLOWED, f"vhost {vhost} not found", Connection.Open)
    assert client.log.of("unknown virtual host") == {"vhost": vhost, "there_are": ["/"]}


def test_a_connection_beyond_the_limit_is_refused_until_one_has_gone() -> None:
    harness = Harness(Config(amqp=Amqp(max_connections=1)))
    first = harness.open_client()
    second = client_at(harness, "tuned")
    second.send(0, Connection.Open("/"))
    second.expect_error(
        0,
        ReplyCode.NOT_ALLOWED,
        "connection refused: node connection limit (1) is reached",
        Connection.Open,
    )
    first.send(0, Connection.Close(200, "", 0, 0))
    first.expect(0, Connection.CloseOk())
    harness.open_client()
    harness.close()


def test_the_limits_of_the_configuration_are_proposed() -> None:
    harness = Harness(Config(amqp=Amqp(channel_max=7, frame_max=8192, heartbeat=5)))
    client = client_at(harness, "greeted")
    client.send(0, start_ok())
    client.expect(0, Connection.Tune(7, 8192, 5))
    harness.close()


def test_a_new_secret_is_taken(alice: Client) -> None:
    alice.send(0, Connection.UpdateSecret("secret", "it ran out"))
    alice.expect(0, Connection.UpdateSecretOk())


def test_an_internal_error_closes_only_its_connection(alice: Client, bob: Client) -> None:
    alice.connection.internal_error()
    alice.expect_error(0, ReplyCode.INTERNAL_ERROR, "the broker failed to handle a frame")
    bob.declare(1, "q")


def test_a_forced_close_gives_its_reason(harness: Harness, alice: Client) -> None:
    alice.connection.force_close("broker forced connection closure with reason 'shutdown'")
    alice.expect_error(
        0,
        ReplyCode.CONNECTION_FORCED,
        "broker forced connection closure with reason 'shutdown'",
    )
    assert len(harness.broker.connections) == 0
    alice.send(0, Connection.CloseOk())
    alice.expect_socket_closed()


def test_a_forced_close_before_amqp_was_spoken_just_cuts_the_socket(harness: Harness) -> None:
    client = harness.connect()
    client.connection.force_close("shutdown")
    client.expect_socket_closed()
