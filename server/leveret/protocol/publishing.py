"""The properties of a published message that the broker itself answers for.

Everything else in the properties is between publisher and consumer.
"""

from leveret.errors import AmqpError, ReplyCode
from leveret.protocol import methods


def check_properties_of(header: bytes, user: str) -> None:
    """See that the properties of a content header hold what they must.

    :raises AmqpError: PRECONDITION_FAILED for a user-id that is not the user's (RabbitMQ:
        Validated User-ID), or an expiration that is no number of milliseconds.
    """
    properties = methods.properties(header)
    if properties.user_id and properties.user_id != user:
        raise AmqpError(
            ReplyCode.PRECONDITION_FAILED,
            f"user_id property set to '{properties.user_id}' but authenticated user was '{user}'",
        )
    if properties.expiration is not None:
        check_expiration(properties.expiration)


def check_expiration(expiration: str) -> None:
    """See that an expiration is milliseconds in decimal (RabbitMQ: Time-To-Live and Expiration).

    :raises AmqpError: PRECONDITION_FAILED.
    """
    digits = len(expiration) - len(expiration.lstrip("0123456789"))
    if digits == 0:
        wrong = "no_integer"
    elif digits < len(expiration):
        wrong = f'{{leftover_string,"{expiration[digits:]}"}}'
    else:
        return
    raise AmqpError(ReplyCode.PRECONDITION_FAILED, f"invalid expiration '{expiration}': {wrong}")
