"""The arguments of a declaration as they were sent, and what documentation says of an argument.

The arguments that have an effect, each with its `ArgumentDoc`, are in the tables of
`lifecycle/queue_arguments.py` and `routing/exchanges/exchange_arguments.py`.
"""

from typing import Final, NamedTuple

from pamqp.common import FieldValue

from leveret.engine.values.field_table import Table

SINGLE_ACTIVE_CONSUMER: Final = "x-single-active-consumer"
CONSUMER_TIMEOUT: Final = "x-consumer-timeout"
PRIORITY: Final = "x-priority"

RABBITMQ: Final = "RabbitMQ"
RABBITMQ_QUORUM: Final = "RabbitMQ, quorum queues"
LAVINMQ: Final = "LavinMQ"
DEDUPLICATION_PLUGIN: Final = "plugin rabbitmq-message-deduplication"
"""The origins of arguments."""

ANY_QUEUE: Final = "queues of every type take it"


class ArgumentDoc(NamedTuple):
    """What documentation says of an argument. All of it is text of `docs/features.md`."""

    accepts: str
    effect: str
    default: str = "none"
    origin: str = RABBITMQ
    differs: str = ""
    """How it differs from its origin; empty if it does not."""


class Arguments(dict[str, FieldValue]):
    """The arguments of a declaration, with the AMQP type each was sent with (`types`)."""

    def __init__(self, table: Table, types: dict[str, str]) -> None:
        super().__init__(table)
        self.types = types


def one_of(values: tuple[str, ...]) -> str:
    """The values an argument accepts, as documentation lists them."""
    return ", ".join(f"`{value}`" for value in values)
