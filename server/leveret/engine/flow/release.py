"""Releasing: a delayed message that is due is routed as if it had been published now."""

from mypy_extensions import i64

from leveret.engine.flow.publish import Publisher
from leveret.engine.routing.routes import Router
from leveret.engine.routing.sink import ACCEPTED
from leveret.engine.values import properties
from leveret.engine.values.delay import with_delay_over
from leveret.engine.values.message import Message, exchange_and_key
from leveret.engine.values.text import text_of


def release(
    publisher: Publisher, router: Router, exchange: str, message: Message, now: i64
) -> bool:
    """Publish a delayed message, with the bindings that its exchange has now.

    Its time to live begins now; so does that of a message whose queue has one.

    :returns: whether any queue took it.
    """
    ttl = properties.expiration(message.header)
    expires_at = now + int(ttl) if ttl is not None else 0
    header = with_delay_over(message.header)
    due = Message(message.route, header, message.body, message.persistent, now, expires_at)
    keys = [exchange_and_key(message.route)[1], *properties.copy_keys(message.header)]
    sinks = router.sinks_for(exchange, [text_of(key) for key in keys], due)
    return publisher.publish(due, sinks) & ACCEPTED != 0
