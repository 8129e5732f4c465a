"""A message: what was published, as it came.

A message is shared by every queue it was routed to and never changes. What differs from queue to
queue (its position, whether it was delivered before) is kept by the queue and by the delivery.
"""

from mypy_extensions import mypyc_attr


@mypyc_attr(acyclic=True)
class Message:
    """One content, ready to be sent again.

    `acyclic` keeps messages out of the cyclic garbage collector, which would otherwise walk every
    queued one in a full collection: a message holds nothing but bytes.
    """

    def __init__(self, route: bytes, header: bytes, body: bytes, persistent: bool) -> None:
        self.route = route
        """Exchange and routing key as two short strings: the tail of basic.deliver."""
        self.header = header
        """The payload of the content header frame: class, weight, body size, properties."""
        self.body = body
        """The whole body; how it was cut into frames is the publisher's affair."""
        self.persistent = persistent
        """Delivery mode 2: kept over a restart where the queue is durable."""
