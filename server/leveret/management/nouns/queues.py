"""A queue as RabbitMQ shows it."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from msgspec import UNSET, UnsetType

from leveret.engine.lifecycle.queue_arguments import is_quorum
from leveret.engine.queues.queue import Queue
from leveret.engine.values.json_values import to_json
from leveret.engine.values.settings import LIMITS
from leveret.engine.vhost import VirtualHost
from leveret.management.columns import Column, Columns
from leveret.management.nouns.connections import ConnectionDetails, details_of_session
from leveret.management.nouns.erlang import process_columns
from leveret.management.statistics import queue_figures
from leveret.management.statistics.details import Details, Moment, idle_since
from leveret.management.statistics.message_stats import (
    QUEUE_RATES,
    MessageStats,
    queue_length_details,
    queue_rate,
    queue_stats,
)
from leveret.protocol.channels.session import Session

READY: Final = "messages_ready"
UNACKNOWLEDGED: Final = "messages_unacknowledged"

NUMERIC: Final = LIMITS | {"max-in-memory-length", "max-in-memory-bytes"}
"""Keys of which the smaller value of policy and operator policy holds."""


class QueueRow(NamedTuple):
    """A queue, and where it is."""

    node: str
    vhost: VirtualHost
    queue: Queue
    at: Moment
    """When its statistics are looked at."""


def _type(row: QueueRow) -> str:
    return "quorum" if is_quorum(row.queue.arguments) else "classic"


def _copies(row: QueueRow) -> int | UnsetType | None:
    """The copies of a queue that has more than one."""
    copies = int(row.vhost.copies)
    if copies == 1 or not row.queue.durable:
        return UNSET
    return copies or None


def _leader(row: QueueRow) -> str | UnsetType:
    """The node that serves a quorum queue, in a cluster."""
    is_alone = int(row.vhost.copies) == 1
    return UNSET if is_alone or not is_quorum(row.queue.arguments) else row.node


def _messages(row: QueueRow) -> int:
    return int(row.queue.message_count()) + int(row.queue.unacknowledged)


def _head_arrived(row: QueueRow) -> int | None:
    arrived = queue_figures.head_arrived(row.queue)
    return None if arrived is None else row.at.wall_time(arrived)


def _policy(row: QueueRow) -> str | None:
    policy, _ = row.queue.policies
    return None if policy is None else policy.name


def _operator_policy(row: QueueRow) -> str | None:
    _, policy = row.queue.policies
    return None if policy is None else policy.name


def _effective_policy(row: QueueRow) -> dict[str, Any]:
    """What policy and operator policy say together."""
    policy, operator_policy = row.queue.policies
    found = {} if policy is None else dict(policy.definition)
    for key, value in ({} if operator_policy is None else operator_policy.definition).items():
        found[key] = min(value, found.get(key, value)) if key in NUMERIC else value
    return found


def _owner(row: QueueRow) -> ConnectionDetails | UnsetType:
    """The connection that an exclusive queue belongs to."""
    owner = row.queue.owner
    return details_of_session(owner) if isinstance(owner, Session) else UNSET


def _backing_queue_status(row: QueueRow) -> dict[str, Any]:
    """The messages as RabbitMQ counts them: here all are in one part, `q3`."""
    ready = int(row.queue.message_count())
    return {
        "mode": "default",
        "version": 2,
        "len": ready,
        "q1": 0,
        "q2": 0,
        "q3": ready,
        "q4": 0,
        "delta": ["delta", 0, 0, 0, 0],
        "target_ram_count": "infinity",
        "next_seq_id": 0,
        "next_deliver_seq_id": 0,
        "avg_ingress_rate": 0.0,
        "avg_egress_rate": 0.0,
        "avg_ack_ingress_rate": 0.0,
        "avg_ack_egress_rate": 0.0,
    }


QUEUE: Final[Columns[QueueRow]] = Columns(
    "Queue",
    Column("name", str, lambda row: to_json(row.queue.name)),
    Column("vhost", str, lambda row: row.vhost.name),
    Column("type", str, _type, "`classic` or `quorum`"),
    Column("durable", bool, lambda row: row.queue.durable),
    Column("auto_delete", bool, lambda row: row.queue.auto_delete),
    Column("exclusive", bool, lambda row: row.queue.exclusive),
    Column("arguments", dict[str, Any], lambda row: to_json(row.queue.arguments)),
    Column("node", str, lambda row: row.node),
    Column(
        "copies",
        int | None | UnsetType,
        _copies,
        "Servers of the database of a cluster that have what is confirmed of a durable queue, at"
        " least; null if its provider knows",
    ),
    Column("leader", str | UnsetType, _leader, "The node that serves a quorum queue of a cluster"),
    Column("state", str, lambda row: "paused" if row.queue.paused else "running"),
    Column("messages", int, _messages, "Ready and unacknowledged messages"),
    Column("messages_ready", int, lambda row: int(row.queue.message_count())),
    Column("messages_unacknowledged", int, lambda row: int(row.queue.unacknowledged)),
    Column(
        "messages_details",
        Details,
        lambda row: queue_length_details(row.queue, (READY, UNACKNOWLEDGED), row.at),
    ),
    Column(
        "messages_ready_details",
        Details,
        lambda row: queue_length_details(row.queue, (READY,), row.at),
    ),
    Column(
        "messages_unacknowledged_details",
        Details,
        lambda row: queue_length_details(row.queue, (UNACKNOWLEDGED,), row.at),
    ),
    Column(
        "message_stats",
        MessageStats | UnsetType,
        lambda row: queue_stats(row.queue, row.at),
        "What has happened to its messages since the start; nothing if nothing has",
    ),
    Column("message_bytes", int, lambda row: queue_figures.message_bytes(row.queue), "Of bodies"),
    Column("message_bytes_ready", int, lambda row: queue_figures.ready_bytes(row.queue)),
    Column(
        "message_bytes_unacknowledged",
        int,
        lambda row: queue_figures.unacknowledged_bytes(row.queue),
        "About, if they are many",
    ),
    Column(
        "head_message_timestamp",
        int | None,
        lambda row: queue_figures.head_timestamp(row.queue),
        "The property `timestamp` of the next message, if that is in memory",
    ),
    Column(
        "head_message_arrived",
        int | None,
        _head_arrived,
        "When the next message arrived, in milliseconds since 1970, if that is in memory",
    ),
    Column(
        "idle_since",
        str | UnsetType,
        lambda row: idle_since(row.queue.counters, row.at),
        "When something happened to it last, if that is some seconds ago",
    ),
    Column("consumers", int, lambda row: row.queue.consumer_count),
    Column(
        "consumer_capacity",
        float,
        lambda row: queue_figures.capacity(row.queue),
        "The share of the time in which consumers could take another message, lately",
    ),
    Column("consumer_utilisation", float, lambda row: queue_figures.capacity(row.queue)),
    Column(
        "exclusive_consumer_tag",
        str | None,
        lambda row: queue_figures.exclusive_tag(row.queue),
    ),
    Column(
        "single_active_consumer_tag",
        str | None,
        lambda row: queue_figures.single_active_tag(row.queue),
    ),
    Column("policy", str | None, _policy),
    Column("operator_policy", str | None, _operator_policy),
    Column(
        "memory",
        int,
        lambda row: int(row.queue.contents.backlog.charged),
        "Bytes that its ready messages take in memory, about; 0 if they are few",
    ),
    Column("recoverable_slaves", None, lambda row: None, "There are no mirrors"),
    Column("owner_pid_details", ConnectionDetails | UnsetType, _owner, "Of an exclusive queue"),
    Column("backing_queue_status", dict[str, Any], _backing_queue_status, "RabbitMQ's, simplified"),
    *process_columns(),
    Column("effective_policy_definition", dict[str, Any], _effective_policy),
    Column(
        "settings_from",
        dict[str, str],
        lambda row: row.queue.settings.origins,
        "Where the value of each setting comes from",
    ),
)


def _rate(series: list[int]) -> Callable[[QueueRow], float | None]:
    return lambda row: queue_rate(row.queue, series, row.at)


QUEUE.shortcuts.update({path: _rate(series) for path, series in QUEUE_RATES.items()})
