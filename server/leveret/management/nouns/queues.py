"""A queue as RabbitMQ shows it."""

from typing import Any, Final, NamedTuple

from leveret.engine.lifecycle.queue_arguments import is_quorum
from leveret.engine.queues.queue import Queue
from leveret.engine.values.json_values import to_json
from leveret.engine.values.settings import LIMITS
from leveret.engine.vhost import VirtualHost
from leveret.management.columns import Column, Columns

NUMERIC: Final = LIMITS | {"max-in-memory-length", "max-in-memory-bytes"}
"""Keys of which the smaller value of policy and operator policy holds."""


class QueueRow(NamedTuple):
    """A queue, and where it is."""

    node: str
    vhost: VirtualHost
    queue: Queue


def _type(row: QueueRow) -> str:
    return "quorum" if is_quorum(row.queue.arguments) else "classic"


def _messages(row: QueueRow) -> int:
    return int(row.queue.message_count()) + int(row.queue.unacknowledged)


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
    Column("state", str, lambda row: "paused" if row.queue.paused else "running"),
    Column("messages", int, _messages, "Ready and unacknowledged messages"),
    Column("messages_ready", int, lambda row: int(row.queue.message_count())),
    Column("messages_unacknowledged", int, lambda row: int(row.queue.unacknowledged)),
    Column("consumers", int, lambda row: row.queue.consumer_count),
    Column("policy", str | None, _policy),
    Column("operator_policy", str | None, _operator_policy),
    Column("effective_policy_definition", dict[str, Any], _effective_policy),
    Column(
        "settings_from",
        dict[str, str],
        lambda row: row.queue.settings.origins,
        "Where the value of each setting comes from",
    ),
)
