"""The exchanges and queues of the shop, which every service declares at its start."""

from pika.adapters.blocking_connection import BlockingChannel

ORDERS = "orders"
"""The exchange that orders are published to."""

SHIPPING = "shipping"
"""Orders that wait to be shipped."""

RETRY = "shipping.retry"
"""Orders that could not be shipped: they go back to `shipping` when their time to live is over."""

FAILED = "shipping.failed"
"""Orders that nobody tries to ship any more."""

UNPAID = "orders.unpaid"
"""Orders whose payment is awaited, each for as long as its message lives."""

REMINDERS = "orders.reminders"
"""Orders whose payment did not come in time."""

RETRY_AFTER_MS = 10 * 60 * 1000
PAYMENT_DAYS = 30


def declare(channel: BlockingChannel) -> None:
    """Declare all of it; what is there already stays."""
    channel.exchange_declare(ORDERS, "topic", durable=True)
    channel.queue_declare(
        SHIPPING,
        durable=True,
        arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": RETRY},
    )
    channel.queue_declare(
        RETRY,
        durable=True,
        arguments={
            "x-message-ttl": RETRY_AFTER_MS,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": SHIPPING,
        },
    )
    channel.queue_declare(FAILED, durable=True)
    channel.queue_declare(
        UNPAID,
        durable=True,
        arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": REMINDERS},
    )
    channel.queue_declare(REMINDERS, durable=True)
    channel.queue_bind(SHIPPING, ORDERS, "order.placed")
