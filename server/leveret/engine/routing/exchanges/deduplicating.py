"""The deduplicating exchange: a fanout that passes on what it has not seen before.

`deduplication.py` says what a duplicate is. A duplicate is dropped, counted and confirmed: it
counts as routed, so it is not returned, though it be `mandatory`, and goes to no alternate
exchange. A message without a key is always passed on.
"""

from typing import TYPE_CHECKING, Final

from leveret.engine.routing.exchanges.base import (
    Binding,
    Destination,
    Exchange,
    Targets,
    add_target,
    remove_target,
)
from leveret.engine.values.deduplication import (
    CACHE_SIZE,
    CACHE_TTL,
    HEADER,
    KEYS_MAX,
    DeduplicationWindow,
    number,
)
from leveret.engine.values.field_table import Table
from leveret.engine.values.message import Message
from leveret.errors import AmqpError, ReplyCode

if TYPE_CHECKING:
    from leveret.engine.flow.duplicates import Duplicates

TYPE: Final = "x-message-deduplication"
PERSISTENCE: Final = "x-cache-persistence"
"""An argument of the plugin's, which is checked and has no effect here: what a durable exchange has
seen of persistent messages is kept."""


class DeduplicatingExchange(Exchange):
    """The type `x-message-deduplication`.

    Raises AmqpError(PRECONDITION_FAILED) for arguments it cannot have.
    """

    def __init__(
        self, name: str, durable: bool, auto_delete: bool, internal: bool, arguments: Table
    ) -> None:
        super().__init__(name, durable, auto_delete, internal, arguments)
        self.type = TYPE
        self.per_message = True
        self.window = _window(arguments)
        self.duplicates: Duplicates | None = None
        """Where duplicates go, from the time the exchange is in a virtual host."""
        self._targets: Targets = {}

    def match(self, routing_key: str, message: Message | None, into: list[Destination]) -> None:
        duplicates = self.duplicates
        if message is not None and duplicates is not None and duplicates.is_one(message):
            into.append(duplicates)
        else:
            into.extend(self._targets)

    def _add(self, binding: Binding) -> None:
        add_target(self._targets, binding.destination)

    def _remove(self, binding: Binding) -> None:
        remove_target(self._targets, binding.destination)


def _window(arguments: Table) -> DeduplicationWindow:
    size = number(arguments, CACHE_SIZE)
    if size is None:
        raise _refused(
            f"Missing or invalid argument, '{CACHE_SIZE}' must be an integer greater than 0"
        )
    if size > KEYS_MAX:
        raise _refused(f"Invalid argument, '{CACHE_SIZE}' must not be greater than {KEYS_MAX}")
    ttl = number(arguments, CACHE_TTL)
    if ttl is None:
        raise _refused(f"Invalid argument, '{CACHE_TTL}' must be an integer greater than 0")
    header = arguments.get(HEADER, HEADER)
    if not isinstance(header, str):
        raise _refused(f"Invalid argument, '{HEADER}' must be a string")
    if arguments.get(PERSISTENCE, "disk") not in ("disk", "memory"):
        raise _refused(f"Invalid argument, '{PERSISTENCE}' must be either 'disk' or 'memory'")
    return DeduplicationWindow(size, ttl, header)


def _refused(text: str) -> AmqpError:
    return AmqpError(ReplyCode.PRECONDITION_FAILED, text)
