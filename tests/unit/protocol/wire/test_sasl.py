"""Login mechanisms: names and passwords out of responses, and nothing else out of anything."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leveret.errors import AmqpError, ReplyCode
from leveret.protocol.wire.sasl import MECHANISMS, Credentials, amqplain, plain
from tests.unit.protocol.wire.octets import long_string, short_string

parts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


def field(name: bytes, value: bytes) -> bytes:
    return short_string(name) + b"S" + long_string(value)


def test_they_are_offered_in_this_order() -> None:
    assert list(MECHANISMS) == ["PLAIN", "AMQPLAIN"]


@settings(deadline=None)
@given(parts, parts, st.binary(max_size=30).filter(lambda octets: 0 not in octets))
def test_plain_reads_name_and_password(identity: str, user: str, password: bytes) -> None:
    response = identity.encode() + b"\0" + user.encode() + b"\0" + password
    assert plain(response) == Credentials(user, password)


@pytest.mark.parametrize("response", [b"", b"guest", b"guest\0guest", b"\0a\0b\0c", b"\0\0\0\0"])
def test_plain_has_three_parts(response: bytes) -> None:
    with pytest.raises(AmqpError) as raised:
        plain(response)
    assert raised.value.code == ReplyCode.SYNTAX_ERROR


@settings(deadline=None)
@given(parts, parts, st.booleans())
def test_amqplain_reads_name_and_password_in_any_order(
    user: str, password: str, reverse: bool
) -> None:
    fields = [field(b"LOGIN", user.encode()), field(b"PASSWORD", password.encode())]
    response = b"".join(reversed(fields) if reverse else fields)
    assert amqplain(response) == Credentials(user, password.encode())


def test_amqplain_takes_a_password_of_any_octets() -> None:
    response = field(b"LOGIN", b"guest") + field(b"PASSWORD", b"\xff\xfe")
    assert amqplain(response) == Credentials("guest", b"\xff\xfe")


@pytest.mark.parametrize(
    "response",
    [
        b"",
        field(b"LOGIN", b"guest"),
        field(b"PASSWORD", b"guest"),
        field(b"login", b"guest") + field(b"password", b"guest"),
        short_string(b"LOGIN") + b"t\x01" + field(b"PASSWORD", b"guest"),
        field(b"LOGIN", b"guest") + short_string(b"PASSWORD") + b"I\0\0\0\x01",
        field(b"LOGIN", b"\xff") + field(b"PASSWORD", b"guest"),
        (field(b"LOGIN", b"guest") + field(b"PASSWORD", b"guest"))[:-1],
        long_string(field(b"LOGIN", b"guest") + field(b"PASSWORD", b"guest")),
    ],
)
def test_amqplain_is_a_table_with_both(response: bytes) -> None:
    with pytest.raises(AmqpError) as raised:
        amqplain(response)
    assert raised.value.code == ReplyCode.SYNTAX_ERROR
    assert "guest" not in raised.value.text


@settings(deadline=None)
@given(st.sampled_from(sorted(MECHANISMS)), st.binary(max_size=200))
def test_any_response_is_credentials_or_an_error(mechanism: str, response: bytes) -> None:
    try:
        outcome: Credentials | ReplyCode = MECHANISMS[mechanism](response)
    except AmqpError as error:
        outcome = error.code
    if not isinstance(outcome, Credentials):
        assert outcome == ReplyCode.SYNTAX_ERROR
        return
    assert isinstance(outcome.user, str)
    assert isinstance(outcome.password, bytes)
