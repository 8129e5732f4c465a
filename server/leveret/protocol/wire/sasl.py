"""SASL mechanisms: PLAIN and AMQPLAIN, each a function from a response to credentials.

(RabbitMQ: Authentication, Authorisation, Access Control.)
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from pamqp import decode

from leveret.engine.values import encoded_table
from leveret.errors import AmqpError, ReplyCode


class Credentials(NamedTuple):
    """The user name that a client gives, and its password."""

    user: str
    password: bytes


def plain(response: bytes) -> Credentials:
    """PLAIN (RFC 4616): authorisation identity, name and password, with zero octets between.

    :raises AmqpError: SYNTAX_ERROR.
    """
    parts = response.split(b"\0")
    if len(parts) != 3:
        raise _invalid()
    return Credentials(parts[1].decode("utf-8", "replace"), parts[2])


def amqplain(response: bytes) -> Credentials:
    """AMQPLAIN: a field table, without its length, of LOGIN and PASSWORD.

    :raises AmqpError: SYNTAX_ERROR.
    """
    framed = len(response).to_bytes(4, "big") + response
    try:
        encoded_table.check_table(framed, 0, len(framed))
        table = decode.field_table(framed)[1]
    except (ValueError, OverflowError, OSError):
        raise _invalid() from None
    user, password = table.get("LOGIN"), table.get("PASSWORD")
    if isinstance(password, str):
        password = password.encode()
    if not isinstance(user, str) or not isinstance(password, bytes):
        raise _invalid()
    return Credentials(user, password)


def _invalid() -> AmqpError:
    # The response holds a password, so it is not repeated.
    return AmqpError(ReplyCode.SYNTAX_ERROR, "response of the login mechanism is invalid")


MECHANISMS: Final[dict[str, Callable[[bytes], Credentials]]] = {
    "PLAIN": plain,
    "AMQPLAIN": amqplain,
}
"""In the order in which connection.start offers them."""
