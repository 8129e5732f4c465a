"""The names of exchanges and queues, and how error texts quote them."""

import secrets
from base64 import urlsafe_b64encode
from typing import Final

from leveret.engine.queues.queue import Queue
from leveret.engine.routing.exchanges.base import Exchange
from leveret.engine.vhost import VirtualHost
from leveret.errors import AmqpError, ReplyCode

RESERVED_PREFIX: Final = "amq."
GENERATED_BYTES: Final = 16


def clean(name: str) -> str:
    """A name without the carriage returns and line feeds RabbitMQ strips, so logs stay whole."""
    return name.replace("\r", "").replace("\n", "")


def generated(prefix: str) -> str:
    """A unique name: the prefix and 22 characters of URL-safe base64."""
    random = urlsafe_b64encode(secrets.token_bytes(GENERATED_BYTES)).decode()
    return prefix + random.rstrip("=")


def the_exchange(vhost: VirtualHost, name: str) -> str:
    """How an error text names an exchange."""
    return f"exchange '{name}' in vhost '{vhost.name}'"


def the_queue(vhost: VirtualHost, name: str) -> str:
    """How an error text names a queue."""
    return f"queue '{name}' in vhost '{vhost.name}'"


def find_exchange(vhost: VirtualHost, name: str) -> Exchange:
    """The exchange of that name.

    :raises AmqpError: NOT_FOUND.
    """
    exchange = vhost.exchanges.get(name)
    if exchange is None:
        raise AmqpError(ReplyCode.NOT_FOUND, f"no {the_exchange(vhost, name)}")
    return exchange


def no_queue(vhost: VirtualHost, name: str) -> AmqpError:
    """The error of a queue that does not exist."""
    return AmqpError(ReplyCode.NOT_FOUND, f"no {the_queue(vhost, name)}")


def find_queue(vhost: VirtualHost, name: str, owner: object) -> Queue:
    """The queue of that name, for a connection that may use it.

    :raises AmqpError: NOT_FOUND, or RESOURCE_LOCKED for another connection's exclusive queue.
    """
    queue = vhost.queues.get(name)
    if queue is None:
        raise no_queue(vhost, name)
    check_owner(vhost, queue, owner)
    return queue


def check_owner(vhost: VirtualHost, queue: Queue, owner: object) -> None:
    """Check that an exclusive queue is used by its own connection.

    :raises AmqpError: RESOURCE_LOCKED.
    """
    if queue.owner is not None and queue.owner is not owner:
        raise locked(vhost, queue.name)


def locked(vhost: VirtualHost, name: str) -> AmqpError:
    """The error of using another connection's exclusive queue, or of asking for it exclusively."""
    return AmqpError(
        ReplyCode.RESOURCE_LOCKED,
        f"cannot obtain exclusive access to locked {the_queue(vhost, name)}. It could be "
        "originally declared on another connection or the exclusive property value does not "
        "match that of the original declaration.",
    )


def refuse_reserved(kind: str, name: str) -> None:
    """Check that the name of a new queue or exchange is not reserved for the broker.

    :raises AmqpError: ACCESS_REFUSED.
    """
    if name.startswith(RESERVED_PREFIX):
        raise AmqpError(
            ReplyCode.ACCESS_REFUSED,
            f"{kind} name '{name}' contains reserved prefix '{RESERVED_PREFIX}*'",
        )


def refuse_default_exchange(name: str) -> None:
    """Check that an operation is not on the default exchange.

    :raises AmqpError: ACCESS_REFUSED.
    """
    if not name:
        raise AmqpError(ReplyCode.ACCESS_REFUSED, "operation not permitted on the default exchange")


def inequivalent(what: str, argument: str, received: str, current: str) -> AmqpError:
    """The error of a redeclaration that differs in one property or argument."""
    return AmqpError(
        ReplyCode.PRECONDITION_FAILED,
        f"inequivalent arg '{argument}' for {what}: received {received} but current is {current}",
    )


Typed = tuple[str, str]
"""The value of an argument as an error text quotes it, and the name of its type."""


def inequivalent_argument(
    what: str, argument: str, received: Typed | None, current: Typed | None
) -> AmqpError:
    """The error of a redeclaration with an argument that differs, or is missing on one side."""
    if received is not None and current is not None:
        return inequivalent(what, argument, f"'{received[0]}'", f"'{current[0]}'")
    return inequivalent(what, argument, _described(received), _described(current))


def _described(value: Typed | None) -> str:
    return "none" if value is None else f"the value '{value[0]}' of type '{value[1]}'"


def flag(value: bool) -> str:
    """A truth value as error texts print it."""
    return "'true'" if value else "'false'"
