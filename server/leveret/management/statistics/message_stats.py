"""`message_stats` and the like, of each kind of object (RabbitMQ: HTTP API Reference).

RabbitMQ leaves `message_stats` out where nothing has happened. So does Leveret.
"""

from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from leveret.engine.queues.queue import Queue
from leveret.engine.values.counters import ChannelCounters, ExchangeCounters, TrafficCounters
from leveret.engine.values.history import Layout
from leveret.engine.vhost import VirtualHost
from leveret.management.statistics.details import (
    DELIVER_GET,
    Details,
    Moment,
    Source,
    details,
    lengths,
    total,
    with_details,
)
from leveret.management.statistics.sampler import Sampler
from leveret.management.statistics.sampling import (
    BROKER,
    CHANNEL,
    CHURN,
    CONNECTION,
    DELIVERED,
    EXCHANGE,
    NODE,
    PUBLISHED,
    QUEUE,
    TRAFFIC,
    VHOST,
    channel_values,
    exchange_values,
    queue_values,
    traffic_values,
    vhost_values,
)


def _struct(name: str, names: tuple[str, ...]) -> type[msgspec.Struct]:
    """A structure of numbers with details, any of which may be missing."""
    fields: list[tuple[str, Any, Any]] = []
    for each in names:
        fields.append((each, int | UnsetType, UNSET))
        fields.append((f"{each}_details", Details | UnsetType, UNSET))
    return msgspec.defstruct(name, fields, kw_only=True)


MESSAGES: Final = ("publish", *PUBLISHED[1:], "deliver_get", *DELIVERED)

MessageStats: Final = _struct("MessageStats", MESSAGES)
"""Of a queue, a channel, a virtual host or the broker."""

ExchangeMessageStats: Final = _struct("ExchangeMessageStats", EXCHANGE.names)

ChurnRates: Final = _struct("ChurnRates", CHURN)


def _stats(
    layout: Layout, sources: list[Source], at: Moment, names: tuple[str, ...]
) -> dict[str, Any]:
    """Counters of a layout, and their details; `deliver_get` too, where it has deliveries."""
    asked = at.ranges.msg_rates
    found = with_details(names, layout, sources, at, asked)
    if "deliver" in names:
        series = [layout.names.index(name) for name in DELIVER_GET]
        found["deliver_get"] = total(sources, series)
        found["deliver_get_details"] = details(sources, series, at, asked)
    return found


def queue_stats(queue: Queue, at: Moment) -> dict[str, Any] | UnsetType:
    """`message_stats` of a queue."""
    live = queue_values(queue)
    if not any(live[: int(QUEUE.counters)]):
        return UNSET
    names = ("publish", *DELIVERED)
    return _stats(QUEUE, [Source(QUEUE, queue.counters.history, live)], at, names)


QUEUE_RATES: Final = {
    f"message_stats.{name}_details.rate": [QUEUE.names.index(each) for each in series]
    for name, series in (
        *((name, (name,)) for name in ("publish", *DELIVERED)),
        ("deliver_get", DELIVER_GET),
    )
}
"""The series of the rates in `message_stats` of a queue, by the path of each."""


def queue_rate(queue: Queue, series: list[int], at: Moment) -> float | None:
    """One rate of `message_stats`, for lists that are sorted by it: the rest is not computed."""
    live = queue_values(queue)
    if not any(live[: int(QUEUE.counters)]):
        return None
    source = Source(QUEUE, queue.counters.history, live)
    return round(sum(source.rate(each, at.now) for each in series), 6)


def queue_length_details(queue: Queue, names: tuple[str, ...], at: Moment) -> Details:
    """The details of a length of a queue, the sum of some series."""
    series = [QUEUE.names.index(name) for name in names]
    source = Source(QUEUE, queue.counters.history, queue_values(queue))
    return details([source], series, at, at.ranges.lengths)


def exchange_stats(counters: ExchangeCounters, at: Moment) -> dict[str, Any] | UnsetType:
    """`message_stats` of an exchange."""
    if counters.publish_in == 0:
        return UNSET
    source = Source(EXCHANGE, counters.history, exchange_values(counters))
    return _stats(EXCHANGE, [source], at, EXCHANGE.names)


def channel_stats(counters: ChannelCounters, at: Moment) -> dict[str, Any] | UnsetType:
    """`message_stats` of a channel."""
    live = channel_values(counters)
    if not any(live):
        return UNSET
    return _stats(CHANNEL, [Source(CHANNEL, counters.history, live)], at, CHANNEL.names)


def traffic_details(traffic: TrafficCounters, name: str, at: Moment) -> Details:
    """The details of `recv_oct` or `send_oct` of a connection."""
    source = Source(CONNECTION, traffic.history, traffic_values(traffic))
    return details([source], [CONNECTION.names.index(name)], at, at.ranges.data_rates)


def _source(vhost: VirtualHost, sampler: Sampler) -> Source:
    return Source(VHOST, vhost.counters.history, vhost_values(vhost, sampler.found(vhost.name)))


def _has_messages(sources: list[Source]) -> bool:
    """Whether anything has happened to messages, in a layout that begins like `CHANNEL`."""
    return any(any(live[: int(CHANNEL.counters)]) for _, _, live in sources)


def vhost_statistics(vhost: VirtualHost, sampler: Sampler, at: Moment) -> dict[str, Any]:
    """What a virtual host has of statistics: `message_stats`, lengths and traffic."""
    sources = [_source(vhost, sampler)]
    found = lengths(VHOST, sources, at)
    found |= with_details(TRAFFIC, VHOST, sources, at, at.ranges.data_rates)
    if _has_messages(sources):
        found["message_stats"] = _stats(VHOST, sources, at, CHANNEL.names)
    return found


def broker_statistics(sampler: Sampler, at: Moment) -> dict[str, Any]:
    """What the overview has of statistics: `message_stats`, `churn_rates`, `queue_totals`."""
    sources = [Source(BROKER, sampler.history, sampler.values())]
    churn = with_details(CHURN, BROKER, sources, at, at.ranges.msg_rates)
    return {**_overview(BROKER, sources, at), "churn_rates": churn}


def some_vhosts_statistics(
    vhosts: list[VirtualHost], sampler: Sampler, at: Moment
) -> dict[str, Any]:
    """As `broker_statistics`, of some virtual hosts, for users who may not see the others."""
    sources = [_source(vhost, sampler) for vhost in vhosts]
    return {**_overview(VHOST, sources, at), "churn_rates": {}}


def node_statistics(sampler: Sampler, at: Moment) -> dict[str, Any]:
    """What a node has of statistics, with details: `mem_used`, `fd_used`, `sockets_used`,
    `disk_free`."""
    sources = [Source(NODE, sampler.node_history, sampler.node())]
    return with_details(NODE.names, NODE, sources, at, at.ranges.node_stats)


def _overview(layout: Layout, sources: list[Source], at: Moment) -> dict[str, Any]:
    messages = _stats(layout, sources, at, CHANNEL.names) if _has_messages(sources) else {}
    return {"message_stats": messages, "queue_totals": lengths(layout, sources, at)}
