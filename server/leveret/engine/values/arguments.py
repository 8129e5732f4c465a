"""The arguments of a declaration: as they were sent, and what is to be said of those that count.

Which arguments count, and what `ArgumentDoc` each of them there is to say, stands in the tables of
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
"""Where arguments come from."""

ANY_QUEUE: Final = "queues of every type take it"


class ArgumentDoc(NamedTuple):
    """What documentation says of an argument. All of it is text of `docs/features.md`."""

    accepts: str
    effect: str
    default: str = "none"
    origin: str = RABBITMQ
    differs: str = ""
    """Where it is otherwise than at its origin; empty if nowhere."""


class Arguments(dict[str, FieldValue]):
    """The arguments of a declaration, with the AMQP type each was sent with (`types`)."""

    def __init__(self, table: Table, types: dict[str, str]) -> None:
        super().__init__(table)
        self.types = types


def one_of(values: tuple[str, ...]) -> str:
    """The values an argument accepts, as documentation lists them."""
    return ", ".join(f"`{value}`" for value in values)
