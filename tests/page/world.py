"""What the broker of the page's tests has: ten thousand queues, and some objects of each kind."""

from typing import Any, Final

QUEUES: Final = 10_000

VHOST: Final = "shop"
"""Where the objects are that tests look at; the many queues are in `/`."""

EXCHANGES: Final = ("orders", "payments", "mail", "audit", "failed")


def definitions() -> dict[str, Any]:
    """The definitions in RabbitMQ's form."""
    queues = [queue("/", f"queue.{number:05}") for number in range(QUEUES)]
    queues += [
        queue(VHOST, f"{exchange}.{number}") for exchange in EXCHANGES for number in range(6)
    ]
    queues[-1]["arguments"] = {"x-max-length": 1000, "x-dead-letter-exchange": "failed"}
    return {
        "vhosts": [{"name": VHOST}],
        "users": [
            {"name": "clerk", "password": "clerk", "tags": "monitoring"},
            {"name": "guest", "password": "guest", "tags": "administrator"},
        ],
        "permissions": [
            {"user": user, "vhost": VHOST, "configure": ".*", "write": ".*", "read": ".*"}
            for user in ("guest", "clerk")
        ],
        "policies": [
            {
                "vhost": VHOST,
                "name": "short",
                "pattern": "^mail\\.",
                "apply-to": "queues",
                "definition": {"max-length": 5000},
                "priority": 1,
            }
        ],
        "exchanges": [
            *(exchange(name, "topic") for name in EXCHANGES),
            exchange("later", "x-delayed-message", {"x-delayed-type": "direct"}),
        ],
        "queues": queues,
        "bindings": bindings(),
    }


def queue(vhost: str, name: str) -> dict[str, Any]:
    """A durable queue."""
    return {"vhost": vhost, "name": name, "durable": True, "auto_delete": False, "arguments": {}}


def exchange(name: str, kind: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
    """A durable exchange."""
    return {
        "vhost": VHOST,
        "name": name,
        "type": kind,
        "durable": True,
        "auto_delete": False,
        "internal": False,
        "arguments": arguments or {},
    }


def bindings() -> list[dict[str, Any]]:
    """Each exchange to its queues, orders to all exchanges."""
    found = [
        _binding(name, "queue", f"{name}.{number}", f"{name}.#")
        for name in EXCHANGES
        for number in range(6)
    ]
    found += [_binding("orders", "exchange", name, f"{name}.*") for name in EXCHANGES[1:]]
    return [*found, _binding("later", "queue", "mail.0", "soon")]


def _binding(source: str, kind: str, destination: str, key: str) -> dict[str, Any]:
    return {
        "vhost": VHOST,
        "source": source,
        "destination": destination,
        "destination_type": kind,
        "routing_key": key,
        "arguments": {},
    }
