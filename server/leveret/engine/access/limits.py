"""Limits that operators set for virtual hosts and users (RabbitMQ: Virtual Hosts, User Limits)."""

from typing import Final

from leveret.engine.metadata.entities import User, VirtualHostEntity

MAX_CONNECTIONS: Final = "max-connections"
MAX_QUEUES: Final = "max-queues"
MAX_CHANNELS: Final = "max-channels"

VHOST_LIMITS: Final = (MAX_CONNECTIONS, MAX_QUEUES)
USER_LIMITS: Final = (MAX_CONNECTIONS, MAX_CHANNELS)

NO_LIMIT: Final = 2**62


def limit(entity: VirtualHostEntity | User | None, name: str) -> int:
    """A limit of a virtual host or a user; `NO_LIMIT` where there is none."""
    value = -1 if entity is None else entity.limits.get(name, -1)
    return NO_LIMIT if value < 0 else value
