"""The state of a broker in words, for the report of a test that has failed. It is short: what is
long, such as the bodies of all messages, is what the handle gives."""

import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from leveret.testing.broker import Broker
from leveret.testing.errors import BrokerError
from leveret.testing.values import Connection, Consumer, QueueStatus
from leveret.testing.words import counted

SHOWN_MAX: Final = 10
"""Queues, and connections, and unroutable messages, of which there is a line."""


def state_in_words(broker: Broker) -> str:
    """Queues with their messages and consumers, connections, and messages that no queue matched if
    publishes are recorded: a line each.

    :raises BrokerError: if the broker does not run.
    """
    queues = broker.queues()
    connections = broker.connections()
    consumers = broker.consumers()
    lines = _some([_queue(each, consumers) for each in queues], "queues") or ["no queues"]
    lines += _some([_connection(each) for each in connections], "connections") or ["no connections"]
    with suppress(BrokerError), warnings.catch_warnings():
        # Publishes may not be recorded, or not all of them.
        warnings.simplefilter("ignore")
        found = broker.unroutable()
        lines += _some([f"unroutable: {message!r}" for message in found], "unroutable messages")
    return "\n".join(lines)


def _queue(queue: QueueStatus, consumers: Sequence[Consumer]) -> str:
    own = [each for each in consumers if (each.queue, each.vhost) == (queue.name, queue.vhost)]
    where = "" if queue.vhost == "/" else f" of virtual host {queue.vhost!r}"
    who = ", ".join(f"{each.tag!r}" for each in own[:SHOWN_MAX])
    consuming = f"{counted(len(own), 'consumer', 'consumers')} ({who})" if own else "no consumers"
    return (
        f"queue {queue.name!r}{where}: {counted(queue.ready, 'message', 'messages')} ready,"
        f" {queue.unacknowledged} unacknowledged, {consuming}"
    )


def _connection(connection: Connection) -> str:
    blocked = ", blocked" if connection.blocked else ""
    channels = counted(connection.channels, "channel", "channels")
    return f"connection {connection.name!r}: user {connection.user!r}, {channels}{blocked}"


def _some(lines: Sequence[str], what: str) -> list[str]:
    """The first lines, and how many more there are."""
    more = len(lines) - SHOWN_MAX
    return [*lines[:SHOWN_MAX], *([f"and {more} more {what}"] if more > 0 else [])]
