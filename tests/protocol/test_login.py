"""Who may log in: mechanisms, refusals that are said and refusals that are not."""

import pytest
from pamqp import encode
from pamqp.commands import Connection

from leveret.config import Auth, Config
from leveret.errors import ReplyCode
from leveret.limits import SILENT_CLOSE_DELAY_S
from tests.protocol import wire
from tests.protocol.playbook import Client, Play, start_ok


def amqplain(**fields: str) -> str:
    """The response of AMQPLAIN: a table without its length."""
    return encode.field_table(dict(fields))[4:].decode()


def greeted(play: Play, *, from_loopback: bool = True) -> Client:
    client = play.dials(from_loopback=from_loopback)
    client.feeds(wire.PROTOCOL_HEADER)
    client.hears_a(0, Connection.Start)
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
def test_the_right_password_logs_in(play: Play, mechanism: str, response: str) -> None:
    client = greeted(play)
    client.says(0, start_ok(mechanism=mechanism, response=response))
    client.hears_a(0, Connection.Tune)
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
    play: Play, mechanism: str, response: str
) -> None:
    client = greeted(play)
    client.says(0, start_ok(mechanism=mechanism, response=response))
    client.is_refused(0, ReplyCode.ACCESS_REFUSED, refusal(mechanism))
    assert client.log.of("login refused")["reason"] == "wrong user or password"
    client.says(0, Connection.CloseOk())
    client.is_cut_off()


@pytest.mark.parametrize(("mechanism", "response"), WRONG)
def test_a_wrong_login_is_met_by_silence_and_then_the_end_otherwise(
    play: Play, mechanism: str, response: str
) -> None:
    client = greeted(play)
    client.passes(5.0)
    client.says(0, start_ok(mechanism=mechanism, response=response, capabilities=()))
    client.passes(5.0 + SILENT_CLOSE_DELAY_S - 0.1)
    client.hears_nothing()
    assert not client.connection.finished
    client.passes(5.0 + SILENT_CLOSE_DELAY_S)
    client.is_cut_off()


@pytest.mark.parametrize(
    "more",
    [
        wire.says(0, start_ok()),
        wire.says(0, Connection.Close(200, "", 0, 0)),
        wire.PROTOCOL_HEADER,
        b"\xff" * 100,
    ],
)
def test_who_was_refused_in_silence_is_not_listened_to(play: Play, more: bytes) -> None:
    client = greeted(play)
    refused = wire.says(0, start_ok(response="\0guest\0wrong", capabilities=()))
    client.feeds(refused + more)
    client.feeds(more)
    client.hears_nothing()
    assert not client.connection.finished, "the wait makes guessing slow"
    client.passes(SILENT_CLOSE_DELAY_S)
    client.is_cut_off()


@pytest.mark.parametrize("capability", ["false", "a text", "absent"])
def test_a_capability_counts_only_if_it_is_true(play: Play, capability: str) -> None:
    client = greeted(play)
    method = start_ok(response="\0guest\0wrong", capabilities=())
    if capability == "false":
        method.client_properties["capabilities"] = {"authentication_failure_close": False}
    elif capability == "a text":
        method.client_properties["capabilities"] = "authentication_failure_close"
    else:
        del method.client_properties["capabilities"]
    client.says(0, method)
    client.hears_nothing()


def test_guest_logs_in_from_loopback_only(play: Play) -> None:
    client = greeted(play, from_loopback=False)
    client.says(0, start_ok())
    client.is_refused(0, ReplyCode.ACCESS_REFUSED, refusal("PLAIN"))
    assert client.log.of("login refused")["reason"] == "user may log in from loopback only"


def test_another_user_logs_in_from_anywhere() -> None:
    play = Play(Config(auth=Auth(default_user="shop", default_pass="s3cret")))
    client = greeted(play, from_loopback=False)
    client.says(0, start_ok(response="\0shop\0s3cret"))
    client.hears_a(0, Connection.Tune)
    play.ends()


def test_guest_logs_in_from_anywhere_where_the_configuration_says_so() -> None:
    play = Play(Config(auth=Auth(loopback_users=())))
    client = greeted(play, from_loopback=False)
    client.says(0, start_ok())
    client.hears_a(0, Connection.Tune)
    play.ends()


@pytest.mark.parametrize("mechanism", ["MAGIC", "plain", "EXTERNAL", "ANONYMOUS", ""])
def test_an_unknown_mechanism_is_refused(play: Play, mechanism: str) -> None:
    client = greeted(play)
    client.says(0, start_ok(mechanism=mechanism))
    client.is_refused(
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
    play: Play, mechanism: str, response: str
) -> None:
    client = greeted(play)
    client.says(0, start_ok(mechanism=mechanism, response=response))
    client.is_refused(
        0,
        ReplyCode.SYNTAX_ERROR,
        "response of the login mechanism is invalid",
        Connection.StartOk,
    )


def test_no_password_is_ever_logged(play: Play) -> None:
    client = greeted(play)
    client.says(0, start_ok(response="\0guest\0hunter2"))
    client.hears_a(0, Connection.Close)
    assert "hunter2" not in repr(client.log.events)
    assert client.log.of("login refused")["user"] == "guest"


def test_a_name_that_is_no_text_is_left_out(play: Play) -> None:
    client = greeted(play)
    method = start_ok()
    method.client_properties["connection_name"] = 7
    client.says(0, method)
    client.hears_a(0, Connection.Tune)
    assert client.connection.name == ""
