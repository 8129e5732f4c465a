"""Declaring in the tests of the engine: a plain queue, with nothing that a test does not name."""

from leveret.engine.lifecycle.queues import declare_queue
from leveret.engine.queues.queue import Queue
from leveret.engine.values.arguments import Arguments
from leveret.engine.vhost import VirtualHost


def declare_plain_queue(vhost: VirtualHost, name: str, *, durable: bool = False) -> Queue:
    """A queue without arguments."""
    return declare_queue(
        vhost,
        name,
        durable=durable,
        auto_delete=False,
        owner=None,
        connection=None,
        arguments=Arguments({}, {}),
    )
