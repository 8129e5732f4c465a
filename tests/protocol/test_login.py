"""Who may log in: mechanisms, refusals in a frame and silent ones."""

import pytest
from pamqp import encode
from pamqp.commands import Connection

from leveret.config import Auth, Config
from leveret.engine.access.login_failures import DELAY_S_MAX, FIRST_DELAY_S, FREE_FAILURES
from leveret.errors import ReplyCode
from leveret.limits import SILENT_CLOSE_DELAY_S
from tests.protocol import wire
from tests.protocol.harness import Client, Harness, start_ok


def amqplain(**fields: str) -> str:
    """The response of AMQPLAIN: a table without its length."""
    return encode.field_table(dict(fields))[4:].decode()


def greeted(harness: Harness, *, from_loopback: bool = True) -> Client:
    client = harness.connect(from_loopback=from_loopback)
    client.feed(wire.PROTOCOL_HEADER)
    client.expect_method(0, Connection.Start)
    return client


def refusal(mechanism: str) -> str:
    return (
        f"Login was refused using authentication mechanism {mechanism}. "
        "For details see the broker logfile."
    )


@pytest.mark.parametrize(
    ("mechanism", "response"),
    [
        ("PLAIN", "\0guest\0guest"),
        ("PLAIN", "someone\0guest\0guest"),
        ("AMQPLAIN", amqplain(LOGIN="guest", PASSWORD="guest")),
        ("AMQPLAIN", amqplain(PASSWORD="guest", LOGIN="guest", MORE="x")),
    ],
)
def test_the_right_password_logs_in(harness: Harness, mechanism: str, response: str) -> None:
    client = greeted(harness)
    client.send(0, start_ok(mechanism=mechanism, response=response))
    client.expect_method(0, Connection.Tune)
    assert client.connection.session.user == "guest"


WRONG = [
    ("PLAIN", "\0guest\0wrong"),
    ("PLAIN", "\0nobody\0guest"),
    ("PLAIN", "\0guest\0"),
    ("PLAIN", "\0\0"),
    ("AMQPLAIN", amqplain(LOGIN="guest", PASSWORD="wrong")),
]


@pytest.mark.parametrize(("mechanism", "response"), WRONG)
def test_a_wrong_login_is_told_to_who_can_read_it(
    harness: Harness, mechanism: str, response: str
) -> None:
    client = greeted(harness)
    client.send(0, start_ok(mechanism=mechanism, response=response))
    client.expect_error(0, ReplyCode.ACCESS_REFUSED, refusal(mechanism))
    assert client.log.of("login refused")["reason"] == "wrong user or password"
    assert len(client.log.events) == 1
    client.send(0, Connection.CloseOk())
    client.expect_socket_closed()


@pytest.mark.parametrize(("mechanism", "response"), WRONG)
def test_a_wrong_login_is_met_by_silence_and_then_the_end_otherwise(
    harness: Harness, mechanism: str, response: str
) -> None:
    client = greeted(harness)
    client.advance_to(5.0)
    client.send(0, start_ok(mechanism=mechanism, response=response, capabilities=()))
    client.advance_to(5.0 + SILENT_CLOSE_DELAY_S - 0.1)
    client.expect_nothing()
    assert not client.connection.finished
    client.advance_to(5.0 + SILENT_CLOSE_DELAY_S)
    client.expect_socket_closed()


@pytest.mark.parametrize(
    "more",
    [
        wire.method_frames(0, start_ok()),
        wire.method_frames(0, Connection.Close(200, "", 0, 0)),
        wire.PROTOCOL_HEADER,
        b"\xff" * 100,
    ],
)
def test_who_was_refused_in_silence_is_not_listened_to(harness: Harness, more: bytes) -> None:
    client = greeted(harness)
    refused = wire.method_frames(0, start_ok(response="\0guest\0wrong", capabilities=()))
    client.feed(refused + more)
    client.feed(more)
    client.expect_nothing()
    assert not client.connection.finished, "the wait makes guessing slow"
    client.advance_to(SILENT_CLOSE_DELAY_S)
    client.expect_socket_closed()


@pytest.mark.parametrize("capability", ["false", "a text", "absent"])
def test_a_capability_counts_only_if_it_is_true(harness: Harness, capability: str) -> None:
    client = greeted(harness)
    method = start_ok(response="\0guest\0wrong", capabilities=())
    if capability == "false":
        method.client_properties["capabilities"] = {"authentication_failure_close": False}
    elif capability == "a text":
        method.client_properties["capabilities"] = "authentication_failure_close"
    else:
        del method.client_properties["capabilities"]
    client.send(0, method)
    client.expect_nothing()


def test_guest_logs_in_from_loopback_only(harness: Harness) -> None:
    client = greeted(harness, from_loopback=False)
    client.send(0, start_ok())
    client.expect_error(0, ReplyCode.ACCESS_REFUSED, refusal("PLAIN"))
    assert client.log.of("login refused")["reason"] == "user may log in from loopback only"


def test_another_user_logs_in_from_anywhere() -> None:
    harness = Harness(Config(auth=Auth(default_user="shop", default_pass="s3cret")))
    client = greeted(harness, from_loopback=False)
    client.send(0, start_ok(response="\0shop\0s3cret"))
    client.expect_method(0, Connection.Tune)
    harness.close()


def test_guest_logs_in_from_anywhere_where_the_configuration_says_so() -> None:
    harness = Harness(Config(auth=Auth(loopback_users=())))
    client = greeted(harness, from_loopback=False)
    client.send(0, start_ok())
    client.expect_method(0, Connection.Tune)
    harness.close()


@pytest.mark.parametrize("mechanism", ["MAGIC", "plain", "EXTERNAL", "ANONYMOUS", ""])
def test_an_unknown_mechanism_is_refused(harness: Harness, mechanism: str) -> None:
    client = greeted(harness)
    client.send(0, start_ok(mechanism=mechanism))
    client.expect_error(
        0,
        ReplyCode.COMMAND_INVALID,
        f"unknown authentication mechanism '{mechanism}'",
        Connection.StartOk,
    )


@pytest.mark.parametrize(
    ("mechanism", "response"),
    [
        ("PLAIN", "guest"),
        ("PLAIN", "\0guest\0guest\0more"),
        ("PLAIN", ""),
        ("AMQPLAIN", amqplain(LOGIN="guest")),
        ("AMQPLAIN", amqplain(PASSWORD="guest")),
        ("AMQPLAIN", "\x05LOGINS"),
        ("AMQPLAIN", ""),
    ],
)
def test_a_malformed_response_is_refused_without_repeating_it(
    harness: Harness, mechanism: str, response: str
) -> None:
    client = greeted(harness)
    client.send(0, start_ok(mechanism=mechanism, response=response))
    client.expect_error(
        0,
        ReplyCode.SYNTAX_ERROR,
        "response of the login mechanism is invalid",
        Connection.StartOk,
    )


def test_no_password_is_ever_logged(harness: Harness) -> None:
    client = greeted(harness)
    client.send(0, start_ok(response="\0guest\0hunter2"))
    client.expect_method(0, Connection.Close)
    assert "hunter2" not in repr(client.log.events)
    assert client.log.of("login refused")["user"] == "guest"


def test_a_name_that_is_no_text_is_left_out(harness: Harness) -> None:
    client = greeted(harness)
    method = start_ok()
    method.client_properties["connection_name"] = 7
    client.send(0, method)
    client.expect_method(0, Connection.Tune)
    assert client.connection.session.peer.name == ""


def test_an_address_that_fails_often_is_refused_late(harness: Harness) -> None:
    for _ in range(FREE_FAILURES):
        client = greeted(harness)
        client.send(0, start_ok(response="\0guest\0wrong"))
        client.expect_error(0, ReplyCode.ACCESS_REFUSED, refusal("PLAIN"))
        client.send(0, Connection.CloseOk())
    client = greeted(harness)
    client.send(0, start_ok(response="\0guest\0wrong"))
    client.expect_nothing()
    client.advance_to(FIRST_DELAY_S / 2)
    client.expect_nothing()
    client.advance_to(2 * FIRST_DELAY_S)
    client.expect_error(0, ReplyCode.ACCESS_REFUSED, refusal("PLAIN"))
    assert not client.connection.finished
    client.send(0, Connection.CloseOk())
    client.expect_socket_closed()


def test_a_thousand_wrong_passwords_hold_up_nobody_and_are_not_kept(harness: Harness) -> None:
    """Also from the address that they came from."""
    refused = []
    for number in range(1000):
        client = greeted(harness)
        client.send(0, start_ok(response="\0guest\0wrong"))
        if number >= FREE_FAILURES:
            client.expect_nothing()
            refused.append(client)
        else:
            client.expect_error(0, ReplyCode.ACCESS_REFUSED, refusal("PLAIN"))
            client.send(0, Connection.CloseOk())
    friend = harness.open_client(1)
    friend.declare(1, "q")
    assert len(harness.broker.connections) == 1
    for client in refused:
        client.advance_to(DELAY_S_MAX + 1)
        client.expect_error(0, ReplyCode.ACCESS_REFUSED, refusal("PLAIN"))
        client.send(0, Connection.CloseOk())
        client.expect_socket_closed()
