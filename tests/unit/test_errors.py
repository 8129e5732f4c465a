"""Reply codes: what each closes, and the reply text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leveret.errors import AmqpError, ReplyCode

CLOSES_CHANNEL = {
    "CONTENT_TOO_LARGE": 311,
    "NO_ROUTE": 312,
    "NO_CONSUMERS": 313,
    "ACCESS_REFUSED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_LOCKED": 405,
    "PRECONDITION_FAILED": 406,
}
"""The soft errors (AMQP 0-9-1, section 1.2)."""

CLOSES_CONNECTION = {
    "SUCCESS": 200,
    "CONNECTION_FORCED": 320,
    "INVALID_PATH": 402,
    "FRAME_ERROR": 501,
    "SYNTAX_ERROR": 502,
    "COMMAND_INVALID": 503,
    "CHANNEL_ERROR": 504,
    "UNEXPECTED_FRAME": 505,
    "RESOURCE_ERROR": 506,
    "NOT_ALLOWED": 530,
    "NOT_IMPLEMENTED": 540,
    "INTERNAL_ERROR": 541,
}
"""The hard errors, and 200, which is no error: it closes the connection or channel it is sent
for."""


def test_the_codes_are_those_of_the_specification() -> None:
    codes = {code.name: int(code) for code in ReplyCode}
    assert codes == CLOSES_CHANNEL | CLOSES_CONNECTION


@pytest.mark.parametrize("code", ReplyCode)
def test_the_code_alone_decides_what_is_closed(code: ReplyCode) -> None:
    assert AmqpError(code, "").closes_connection == (code.name in CLOSES_CONNECTION)


def test_a_reply_text_has_the_name_of_the_code_and_the_text() -> None:
    error = AmqpError(ReplyCode.NOT_FOUND, "no queue 'q' in vhost '/'")
    assert error.reply_text == "NOT_FOUND - no queue 'q' in vhost '/'"
    assert str(error) == error.reply_text
    assert (error.code, error.text) == (ReplyCode.NOT_FOUND, "no queue 'q' in vhost '/'")


@settings(deadline=None)
@given(st.sampled_from(ReplyCode), st.text(max_size=300))
def test_a_reply_text_fits_a_short_string_and_is_truncated_between_characters(
    code: ReplyCode, text: str
) -> None:
    full = f"{code.name} - {text}"
    reply_text = AmqpError(code, text).reply_text
    if len(full.encode()) <= 255:
        assert reply_text == full
        return
    assert reply_text.endswith("...")
    assert full.startswith(reply_text.removesuffix("..."))
    assert 255 - 4 < len(reply_text.encode()) <= 255


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_a_name_that_is_not_utf_8_makes_a_text_that_is(octets: bytes) -> None:
    name = octets.decode("utf-8", "surrogateescape")
    reply_text = AmqpError(ReplyCode.NOT_FOUND, name).reply_text
    assert len(reply_text.encode()) <= 255
