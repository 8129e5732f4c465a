"""Releasing: a delayed message that is due is routed as if it had been published now.

Its publisher has its confirm already. So a message that all queues refuse goes to the alternate
exchange as well, if there is one, and not only a message that reaches no queue.
"""

from typing import Final

from mypy_extensions import i64

from leveret.engine.flow.publish import Publisher
from leveret.engine.routing.routes import Router
from leveret.engine.routing.sink import ACCEPTED, DEAD_LETTERED
from leveret.engine.values import properties
from leveret.engine.values.delay import with_delay_over
from leveret.engine.values.message import Message, exchange_and_key
from leveret.engine.values.text import text_of

NOT_DROPPED: Final = ACCEPTED | DEAD_LETTERED


def release(
    publisher: Publisher, router: Router, exchange: str, message: Message, now: i64
) -> bool:
    """Publish a delayed message, with the bindings that its exchange has now.

    Its time to live begins now; so does that of a message whose queue has one.

    :returns: whether any queue took it, or refused it as a dead letter.
    """
    ttl = properties.expiration(message.header)
    expires_at = now + int(ttl) if ttl is not None else 0
    header = with_delay_over(message.header)
    due = Message(message.route, header, message.body, message.persistent, now, expires_at)
    octets = [exchange_and_key(message.route)[1], *properties.copy_keys(message.header)]
    keys = [text_of(key) for key in octets]
    sinks = router.sinks_for(exchange, keys, due)
    if publisher.publish_again(due, sinks) & NOT_DROPPED != 0:
        return True
    refused_by = router.exchanges.get(exchange)
    if not sinks or refused_by is None or not refused_by.alternate:
        return False
    sinks = router.sinks_for(refused_by.alternate, keys, due)
    return publisher.publish_again(due, sinks) & NOT_DROPPED != 0
