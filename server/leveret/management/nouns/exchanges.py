"""An exchange as RabbitMQ shows it."""

from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from leveret.engine.lifecycle.policies import alternate_and_source
from leveret.engine.routing.exchanges.base import ALTERNATE_EXCHANGE, Exchange
from leveret.engine.values.counters import ExchangeCounters
from leveret.engine.values.json_values import to_json
from leveret.engine.vhost import VirtualHost
from leveret.management.columns import Column, Columns
from leveret.management.statistics.details import Moment
from leveret.management.statistics.message_stats import ExchangeMessageStats, exchange_stats


class ExchangeRow(NamedTuple):
    """An exchange, and where it is; None is the default exchange, which every virtual host has."""

    vhost: VirtualHost
    exchange: Exchange | None
    at: Moment
    """When its statistics are looked at."""

    @property
    def counters(self) -> ExchangeCounters:
        """What clients have published to it."""
        exchange = self.exchange
        return self.vhost.router.default_counters if exchange is None else exchange.counters


class UnroutableMessage(msgspec.Struct):
    """A message that reached no queue."""

    routing_key: str
    timestamp: int
    """When it was published, in milliseconds since the epoch."""
    returned: bool
    """Whether it was returned to its publisher (`mandatory`), rather than dropped."""


def _policy(row: ExchangeRow) -> str | None:
    if row.exchange is None:
        return None
    policy, _ = row.vhost.policies.of_exchange(row.exchange.name)
    return None if policy is None else policy.name


def _operator_policy(row: ExchangeRow) -> str | None:
    if row.exchange is None:
        return None
    _, policy = row.vhost.policies.of_exchange(row.exchange.name)
    return None if policy is None else policy.name


def _settings_from(row: ExchangeRow) -> dict[str, str]:
    if row.exchange is None:
        return {}
    _, source = alternate_and_source(row.vhost, row.exchange)
    return {ALTERNATE_EXCHANGE: source} if source else {}


def _arguments(row: ExchangeRow) -> object:
    return {} if row.exchange is None else to_json(row.exchange.arguments)


def _delayed(row: ExchangeRow) -> int | UnsetType:
    store = None
    if row.exchange is not None:
        store = row.vhost.delayed_stores.get(row.exchange.name)
    return UNSET if store is None else int(store.message_count())


def _unroutable(row: ExchangeRow) -> list[UnroutableMessage]:
    return [
        UnroutableMessage(
            to_json(each.routing_key), row.at.wall_time(int(each.time)), each.returned
        )
        for each in reversed(row.counters.samples)
    ]


EXCHANGE: Final[Columns[ExchangeRow]] = Columns(
    "Exchange",
    Column("name", str, lambda row: "" if row.exchange is None else to_json(row.exchange.name)),
    Column("vhost", str, lambda row: row.vhost.name),
    Column(
        "node",
        str | UnsetType,
        lambda row: row.vhost.node or UNSET,
        "The node of a cluster that serves it",
    ),
    Column("type", str, lambda row: "direct" if row.exchange is None else row.exchange.type),
    Column("durable", bool, lambda row: row.exchange is None or row.exchange.durable),
    Column("auto_delete", bool, lambda row: row.exchange is not None and row.exchange.auto_delete),
    Column("internal", bool, lambda row: row.exchange is not None and row.exchange.internal),
    Column("arguments", dict[str, Any], _arguments),
    Column(
        "message_stats",
        ExchangeMessageStats | UnsetType,
        lambda row: exchange_stats(row.counters, row.at),
        "What clients have published to it since the start; nothing if nothing was",
    ),
    Column(
        "unroutable",
        list[UnroutableMessage],
        _unroutable,
        "Some of the last messages that reached no queue, one a second at most, the newest first",
    ),
    Column(
        "messages_delayed",
        int | UnsetType,
        _delayed,
        "Messages of a delayed exchange that are not due",
    ),
    Column("user_who_performed_action", str, lambda row: "", "Not remembered"),
    Column("policy", str | None, _policy),
    Column("operator_policy", str | None, _operator_policy),
    Column(
        "settings_from", dict[str, str], _settings_from, "Where the alternate exchange comes from"
    ),
)
