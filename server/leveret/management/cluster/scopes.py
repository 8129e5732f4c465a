"""Where the answer of each resource is in a cluster.

A resource that names a virtual host is answered by the broker that serves it, unless it is about
the metadata, which every broker has. Everything else is answered by the broker that was asked, but
for the tables here.
"""

from enum import Enum, auto
from typing import Final


class Scope(Enum):
    """Who answers a resource."""

    HERE = auto()
    """The broker that was asked."""
    OWNER = auto()
    """The broker that serves the virtual host of the path."""
    NODE = auto()
    """The broker that the path names."""
    ANYWHERE = auto()
    """The first one that has the object."""
    EVERYWHERE = auto()
    """Each does what is asked for."""
    MERGED = auto()
    """A list of which each broker has a part."""
    COMBINED = auto()
    """Made of the answers of all, in a way of its own (`combined.py`)."""


METADATA: Final = frozenset(
    (
        "operator-policies",
        "parameters",
        "permissions",
        "policies",
        "topic-permissions",
        "vhost-limits",
    )
)
"""Nouns of the metadata whose paths name a virtual host."""

VHOST: Final = "/api/vhosts/{vhost}"

METADATA_OF_VHOST: Final = frozenset(("deletion", "permissions", "topic-permissions"))
"""What of a virtual host's own resources is metadata."""

_MERGED: Final = frozenset(
    (
        "/api/bindings",
        "/api/channels",
        "/api/connections",
        "/api/connections/username/{user}",
        "/api/consumers",
        "/api/exchanges",
        "/api/nodes",
        "/api/queues",
        "/api/queues/detailed",
        "/api/vhosts",
    )
)

_ANYWHERE: Final = frozenset(
    (
        "/api/channels/{name}",
        "/api/connections/{name}",
        "/api/connections/{name}/channels",
    )
)

_COMBINED: Final = frozenset(
    (
        "/api/definitions",
        "/api/diagnosis",
        "/api/health/checks/alarms",
        "/api/health/checks/virtual-hosts",
        "/api/logs",
        "/api/overview",
    )
)

_NODE: Final = ("/api/nodes/{name}", "/api/healthchecks/node/{node}")


def scope_of(path: str, method: str) -> Scope:
    """Who answers a resource.

    :param path: its template.
    """
    if path in _MERGED:
        # What is done to many is done by each to its own.
        return Scope.MERGED if method == "GET" else Scope.EVERYWHERE
    if path in _ANYWHERE:
        return Scope.ANYWHERE
    if path in _COMBINED:
        return Scope.COMBINED
    if path.startswith(_NODE):
        return Scope.NODE
    if "{vhost}" not in path or path.split("/")[2] in METADATA:
        return Scope.HERE
    if path == VHOST:
        return Scope.OWNER if method == "GET" else Scope.HERE
    if path.startswith(f"{VHOST}/") and path.split("/")[4] in METADATA_OF_VHOST:
        return Scope.HERE
    return Scope.OWNER
