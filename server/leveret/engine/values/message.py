"""A message: what was published, in its encoded form.

It is the store's own class, three byte strings and whether they are persistent, so that nothing is
converted on the way to disk and back. To the engine `route` is exchange and routing
key as two short strings, the tail of basic.deliver; `header` the payload of the content header
frame; `body` the whole body, however it was cut into frames.

A message is shared by every queue it was routed to and never changes. What differs from queue to
queue (its position, whether it was delivered before) is stored by the queue and the delivery.
"""

from leveret_storage.format.entries import StoredMessage as Message

__all__ = ["Message", "arriving", "exchange_and_key", "persistent", "short_strings"]


def short_strings(exchange: bytes, routing_key: bytes) -> bytes:
    """Exchange and routing key as a message's `route` has them."""
    return bytes([len(exchange)]) + exchange + bytes([len(routing_key)]) + routing_key


def exchange_and_key(route: bytes) -> tuple[bytes, bytes]:
    """Exchange and routing key, of the two short strings that `short_strings` made."""
    length = route[0]
    return route[1 : 1 + length], route[2 + length :]


def arriving(message: Message, now: int) -> Message:
    """The same message, published now, with all the time to live that it had."""
    expires_at = now + message.expires_at - message.arrived if message.expires_at else 0
    return Message(message.route, message.header, message.body, message.persistent, now, expires_at)


def persistent(message: Message) -> Message:
    """The same message, marked as persistent."""
    return Message(
        message.route, message.header, message.body, True, message.arrived, message.expires_at
    )
