"""The users, virtual hosts and permissions that scenarios log in with, beside guest and `/`.

The password of a user is its name. A user that is named by rights, as `configure-write`, has just
these to everything in `/`; `nothing` has a permission with empty patterns.
"""

import hashlib
import json
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

RIGHTS = ("configure", "write", "read")

BY_RIGHTS = ["nothing"] + [
    "-".join(some) for count in (1, 2, 3) for some in combinations(RIGHTS, count)
]
"""Users by what they may do, the one with all rights last."""

STRANGER = "stranger"
"""A user without a permission."""

NARROW = "narrow"
"""A user with patterns that match the start of some names."""

TOPICAL = "topical"
"""A user with topic permissions on the exchange `t`."""

FEW_CONNECTIONS, FEW_CHANNELS = "few connections", "few channels"
"""Users that may have one connection, and two channels."""

FORGER = "forger"
"""A user with the tag impersonator."""

SHORT_LIVED = "short-lived"
"""A user, and a virtual host, that a scenario deletes."""

ONE_CONNECTION, ONE_QUEUE = "one connection", "one queue"
"""Virtual hosts with limits."""

NO_CONNECTION, NO_QUEUE = "no connection", "no queue"


def _user(name: str, *tags: str, **limits: int) -> dict[str, Any]:
    digest = hashlib.sha256(b"salt" + name.encode()).digest()
    return {
        "name": name,
        "password_hash": b64encode(b"salt" + digest).decode(),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": list(tags),
        "limits": limits,
    }


def _permission(
    user: str, vhost: str = "/", configure: str = ".*", write: str = ".*", read: str = ".*"
) -> dict[str, str]:
    return {"user": user, "vhost": vhost, "configure": configure, "write": write, "read": read}


VHOSTS = {
    "/": {},
    SHORT_LIVED: {},
    ONE_CONNECTION: {"max-connections": 1},
    NO_CONNECTION: {"max-connections": 0},
    ONE_QUEUE: {"max-queues": 1},
    NO_QUEUE: {"max-queues": 0},
}
"""Virtual hosts and their limits."""

ALL_POWERFUL = ("guest", TOPICAL, FEW_CONNECTIONS, FEW_CHANNELS, FORGER, SHORT_LIVED)

DEFINITIONS: dict[str, list[dict[str, Any]]] = {
    "users": [
        _user("guest", "administrator"),
        *(_user(name) for name in (*BY_RIGHTS, STRANGER, NARROW, TOPICAL, SHORT_LIVED)),
        _user(FEW_CONNECTIONS, **{"max-connections": 1}),
        _user(FEW_CHANNELS, **{"max-channels": 2}),
        _user(FORGER, "impersonator"),
    ],
    "vhosts": [{"name": name} for name in VHOSTS],
    "permissions": [
        *(_permission(user) for user in ALL_POWERFUL),
        *(_permission("guest", vhost) for vhost in VHOSTS if vhost != "/"),
        *(
            _permission(user, **{right: ".*" if right in user else "" for right in RIGHTS})
            for user in BY_RIGHTS
        ),
        _permission(NARROW, configure="^(own|amq\\.gen)", write="^own$", read="wn"),
    ],
    "topic_permissions": [
        {
            "user": TOPICAL,
            "vhost": "/",
            "exchange": "t",
            "write": "^{username}\\.",
            "read": "^(#|{vhost})$",
        },
        {"user": TOPICAL, "vhost": "/", "exchange": "none", "write": "", "read": ""},
    ],
    "parameters": [
        {"component": "vhost-limits", "vhost": name, "name": "limits", "value": limits}
        for name, limits in VHOSTS.items()
        if limits
    ],
}


@contextmanager
def definitions_file() -> Iterator[Path]:
    """A file with these definitions, for as long as the context lasts."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(DEFINITIONS, file)
        file.flush()
        yield Path(file.name)
