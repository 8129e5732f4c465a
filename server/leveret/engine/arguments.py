"""The arguments of a queue as they were declared."""

from typing import Final

from pamqp.common import FieldValue

from leveret.engine.table import Table

SINGLE_ACTIVE_CONSUMER: Final = "x-single-active-consumer"
CONSUMER_TIMEOUT: Final = "x-consumer-timeout"
PRIORITY: Final = "x-priority"


class Arguments(dict[str, FieldValue]):
    """The arguments of a declaration, with the AMQP type each was sent with (`types`)."""

    def __init__(self, table: Table, types: dict[str, str]) -> None:
        super().__init__(table)
        self.types = types
