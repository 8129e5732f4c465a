"""The arguments of an exchange: which type each belongs to, and what is to be said of it.

What an argument may be is checked by its exchange type, when such an exchange is made; RabbitMQ
does not look at it where the exchange is there already, but for `alternate-exchange`, which counts
for all types. Arguments that are not in the table are accepted and kept.
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


class KnownOfExchange(NamedTuple):
    """An argument of the table."""

    type: str
    """The only type that looks at it; empty if all do."""
    doc: ArgumentDoc


EXCHANGE_ARGUMENTS: Final[Mapping[str, KnownOfExchange]] = {
    ALTERNATE_EXCHANGE: KnownOfExchange(
        "",
        ArgumentDoc("name of an exchange", "It gets what this exchange cannot route."),
    ),
    consistent_hash.HASH_HEADER: KnownOfExchange(
        "x-consistent-hash",
        ArgumentDoc(
            f"name of a header; not with `{consistent_hash.HASH_PROPERTY}`",
            "The header that is hashed.",
            default="none: the routing key is",
            origin=HASH_PLUGIN,
        ),
    ),
    consistent_hash.HASH_PROPERTY: KnownOfExchange(
        "x-consistent-hash",
        ArgumentDoc(
            one_of(tuple(consistent_hash.PROPERTIES)),
            "The property that is hashed.",
            default="none: the routing key is",
            origin=HASH_PLUGIN,
        ),
    ),
    recent_history.LENGTH: KnownOfExchange(
        "x-recent-history",
        ArgumentDoc(
            "number from 1",
            "Messages that the exchange keeps.",
            default=str(recent_history.LENGTH_DEFAULT),
            origin=HISTORY_PLUGIN,
            differs="at most the last 16 MiB of them",
        ),
    ),
    delayed.ROUTED_AS: KnownOfExchange(
        delayed.TYPE,
        ArgumentDoc(
            f"name of an exchange type, but `{delayed.TYPE}`",
            "The type that routes what is due.",
            default="none: it must be there",
            origin=DELAY_PLUGIN,
        ),
    ),
    CACHE_SIZE: KnownOfExchange(
        deduplicating.TYPE,
        ArgumentDoc(
            f"number from 1 to {KEYS_MAX:,}, also as text",
            "Keys that the exchange remembers.",
            default=str(KEYS_DEFAULT),
            origin=f"{DEDUPLICATION_PLUGIN}; {LAVINMQ}",
            differs="the plugin has no default and no maximum",
        ),
    ),
    CACHE_TTL: KnownOfExchange(
        deduplicating.TYPE,
        ArgumentDoc(
            "milliseconds from 1, also as text",
            "For how long the exchange remembers a key, if it has room.",
            default="none: for ever",
            origin=f"{DEDUPLICATION_PLUGIN}; {LAVINMQ}",
        ),
    ),
    HEADER: KnownOfExchange(
        deduplicating.TYPE,
        ArgumentDoc(
            "name of a header",
            "The header of a message that has its key.",
            default=f"`{HEADER}`",
            origin=LAVINMQ,
        ),
    ),
    deduplicating.PERSISTENCE: KnownOfExchange(
        deduplicating.TYPE,
        ArgumentDoc(
            "`disk`, `memory`",
            "None: what a durable exchange has seen of persistent messages is on disk.",
            origin=DEDUPLICATION_PLUGIN,
            differs="it has no effect",
        ),
    ),
}
