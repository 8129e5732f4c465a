"""The arguments of an exchange: which type each belongs to, and what documentation says of it.

The exchange type checks the value of an argument when an exchange is made. As in RabbitMQ, a
redeclaration does not check it, but for `alternate-exchange`, which all types have. Arguments that
are not in the table are accepted and stored.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from leveret.engine.routing.exchanges import consistent_hash, deduplicating, delayed, recent_history
from leveret.engine.routing.exchanges.base import ALTERNATE_EXCHANGE
from leveret.engine.values.arguments import DEDUPLICATION_PLUGIN, LAVINMQ, ArgumentDoc, one_of
from leveret.engine.values.deduplication import (
    CACHE_SIZE,
    CACHE_TTL,
    HEADER,
    KEYS_DEFAULT,
    KEYS_MAX,
)

HASH_PLUGIN: Final = "plugin rabbitmq_consistent_hash_exchange"
DELAY_PLUGIN: Final = "plugin rabbitmq_delayed_message_exchange"
HISTORY_PLUGIN: Final = "plugin rabbitmq_recent_history_exchange"


class ExchangeArgument(NamedTuple):
    """An argument of the table."""

    type: str
    """The only type that has it; empty if all do."""
    doc: ArgumentDoc


EXCHANGE_ARGUMENTS: Final[Mapping[str, ExchangeArgument]] = {
    ALTERNATE_EXCHANGE: ExchangeArgument(
        "",
        ArgumentDoc("name of an exchange", "It gets what this exchange cannot route."),
    ),
    consistent_hash.HASH_HEADER: ExchangeArgument(
        "x-consistent-hash",
        ArgumentDoc(
            f"name of a header; not with `{consistent_hash.HASH_PROPERTY}`",
            "The header that is hashed.",
            default="none: the routing key is",
            origin=HASH_PLUGIN,
        ),
    ),
    consistent_hash.HASH_PROPERTY: ExchangeArgument(
        "x-consistent-hash",
        ArgumentDoc(
            one_of(tuple(consistent_hash.PROPERTIES)),
            "The property that is hashed.",
            default="none: the routing key is",
            origin=HASH_PLUGIN,
        ),
    ),
    recent_history.LENGTH: ExchangeArgument(
        "x-recent-history",
        ArgumentDoc(
            "number from 1",
            "Length of the history, in messages.",
            default=str(recent_history.LENGTH_DEFAULT),
            origin=HISTORY_PLUGIN,
            differs="at most the last 16 MiB of them",
        ),
    ),
    delayed.ROUTED_AS: ExchangeArgument(
        delayed.TYPE,
        ArgumentDoc(
            f"name of an exchange type, but `{delayed.TYPE}`",
            "The type that routes messages when they are due.",
            default="none: it must be there",
            origin=DELAY_PLUGIN,
        ),
    ),
    CACHE_SIZE: ExchangeArgument(
        deduplicating.TYPE,
        ArgumentDoc(
            f"number from 1 to {KEYS_MAX:,}, also as text",
            "Keys that the exchange remembers.",
            default=str(KEYS_DEFAULT),
            origin=f"{DEDUPLICATION_PLUGIN}; {LAVINMQ}",
            differs="the plugin has no default and no maximum",
        ),
    ),
    CACHE_TTL: ExchangeArgument(
        deduplicating.TYPE,
        ArgumentDoc(
            "milliseconds from 1, also as text",
            "Time for which the exchange remembers a key, unless newer keys push it out.",
            default="none: keys do not expire",
            origin=f"{DEDUPLICATION_PLUGIN}; {LAVINMQ}",
        ),
    ),
    HEADER: ExchangeArgument(
        deduplicating.TYPE,
        ArgumentDoc(
            "name of a header",
            "The header of a message that has its key.",
            default=f"`{HEADER}`",
            origin=LAVINMQ,
        ),
    ),
    deduplicating.PERSISTENCE: ExchangeArgument(
        deduplicating.TYPE,
        ArgumentDoc(
            "`disk`, `memory`",
            "None: a durable exchange always persists the keys of persistent messages.",
            origin=DEDUPLICATION_PLUGIN,
            differs="it has no effect",
        ),
    ),
}
