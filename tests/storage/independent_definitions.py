"""What the independent reader knows of definitions, written from FORMAT.md alone.

With the standard library only, like independent_reader.py.
"""

from typing import Any

from tests.storage.independent_values import Broken, Cursor, Unknown, msgpack

REQUIRED: dict[str, tuple[str, ...]] = {
    "virtual_host_created": (),
    "exchange_declared": ("name", "type"),
    "exchange_deleted": ("name",),
    "queue_declared": ("name", "number"),
    "queue_arguments_changed": ("name",),
    "queue_pause_changed": ("name",),
    "queue_deleted": ("name",),
    "bound": ("source", "destination"),
    "unbound": ("source", "destination"),
    "delayed_store_created": ("exchange", "number", "sorted_runs_number"),
    "sorted_run_begun": ("exchange", "first"),
    "keys_seen": ("name",),
    "message_returned": ("queue", "position"),
}

BINDING_DEFAULTS: dict[str, Any] = {
    "destination_is_exchange": False,
    "routing_key": "",
    "arguments": {},
}
DEFAULTS: dict[str, dict[str, Any]] = {
    "virtual_host_created": {"clock_behind": 0, "uid": ""},
    "exchange_declared": {"auto_delete": False, "internal": False, "arguments": {}},
    "queue_declared": {
        "auto_delete": False,
        "arguments": {},
        "argument_types": {},
        "declared_by": "",
        "declared_at": 0,
    },
    "queue_arguments_changed": {"arguments": {}, "argument_types": {}},
    "queue_pause_changed": {"paused": False},
    "bound": BINDING_DEFAULTS,
    "unbound": BINDING_DEFAULTS,
    "delayed_store_created": {"sorted_runs": []},
    "keys_seen": {"by_exchange": False, "keys": []},
    "message_returned": {"acquired": 0, "failed": 0, "retry_at": 0},
}

ENTITIES: dict[str, tuple[tuple[str, ...], tuple[str, ...], dict[str, Any]]] = {
    "virtual_host": (
        ("name",),
        (),
        {
            "description": "",
            "tags": [],
            "default_queue_type": "",
            "protected_from_deletion": False,
            "limits": {},
            "store": -1,
            "uid": "",
        },
    ),
    "user": (
        ("name",),
        (),
        {
            "password_hash": "",
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": [],
            "limits": {},
        },
    ),
    "permission": (("user", "vhost"), ("configure", "write", "read"), {}),
    "topic_permission": (("user", "vhost", "exchange"), ("write", "read"), {}),
    "policy": (("vhost", "name"), ("pattern", "definition"), {"apply_to": "all", "priority": 0}),
    "operator_policy": (
        ("vhost", "name"),
        ("pattern", "definition"),
        {"apply_to": "all", "priority": 0},
    ),
    "parameter": (("vhost", "component", "name"), ("value",), {}),
    "global_parameter": (("name",), ("value",), {}),
    "imported_file": ((), ("path", "digest"), {}),
    "imported_objects": (("vhost", "digest"), ("objects",), {}),
    "session_key": ((), ("session_key",), {}),
    "ended_session": (("session",), ("until",), {}),
    "entity_deleted": ((), ("entity", "key"), {}),
}
"""Kinds that belong to the whole broker: fields of the key, other required fields, defaults."""

BINDING_1 = "source destination_is_exchange destination routing_key arguments"
VERSION_1: dict[str, tuple[str, str]] = {
    "exchange": ("exchange_declared", "name type auto_delete internal arguments"),
    "exchange gone": ("exchange_deleted", "name"),
    "queue": (
        "queue_declared",
        "name number auto_delete arguments argument_types declared_by declared_at",
    ),
    "queue changed": ("queue_arguments_changed", "name arguments argument_types"),
    "queue gone": ("queue_deleted", "name"),
    "bind": ("bound", BINDING_1),
    "unbind": ("unbound", BINDING_1),
    "delays": ("delayed_store_created", "exchange number sorted_runs_number sorted_runs"),
    "strand": ("sorted_run_begun", "exchange first"),
    "seen": ("keys_seen", "by_exchange name keys"),
    "returned": ("message_returned", "queue position acquired failed retry_at"),
}


def definition(data: bytes, version: int) -> dict[str, Any]:
    """A definition of any version as the map of versions 2 and 3, with all its fields."""
    found = msgpack(Cursor(data))
    if version == 1:
        if found[0] not in VERSION_1:
            raise Unknown(f"definition of kind {found[0]}")
        kind, names = VERSION_1[found[0]]
        fields = zip(names.split(), found[2:], strict=True)
        return {"kind": kind, "vhost": found[1], **dict(fields)}
    kind = found["kind"]
    if kind in ENTITIES:
        return entity(kind, found)
    if kind not in REQUIRED:
        raise Unknown(f"definition of kind {kind}")
    defaults = DEFAULTS.get(kind, {})
    known = {"kind", "vhost", *REQUIRED[kind], *defaults}
    for name in found:
        if name not in known and not name.startswith("_"):
            raise Unknown(f"field {name} of a definition of kind {kind}")
    for name in ("vhost", *REQUIRED[kind]):
        if name not in found:
            raise Broken(f"a definition of kind {kind} without {name}")
    return {**defaults, **{name: value for name, value in found.items() if name in known}}


def entity(kind: str, found: dict[str, Any]) -> dict[str, Any]:
    """A definition of what belongs to the whole broker, with all its fields."""
    key, required, defaults = ENTITIES[kind]
    known = {"kind", *key, *required, *defaults}
    for name in found:
        if name not in known and not name.startswith("_"):
            raise Unknown(f"field {name} of a definition of kind {kind}")
    for name in (*key, *required):
        if name not in found:
            raise Broken(f"a definition of kind {kind} without {name}")
    return {**defaults, **{name: value for name, value in found.items() if name in known}}


class Broker:
    """What the definitions make."""

    def __init__(self) -> None:
        self.vhosts: dict[str, VirtualHost] = {}
        self.entities: dict[tuple[str, tuple[str, ...]], dict[str, Any]] = {}

    def apply(self, given: dict[str, Any]) -> None:
        kind = given["kind"]
        if kind == "entity_deleted":
            self.entities.pop((given["entity"], tuple(given["key"])), None)
            if given["entity"] == "virtual_host":
                self.vhosts.pop(given["key"][0], None)
        elif kind in ENTITIES:
            self.entities[kind, tuple(given[name] for name in ENTITIES[kind][0])] = given
        else:
            self.vhosts.setdefault(given["vhost"], VirtualHost()).apply(given)


class VirtualHost:
    """What the definitions of a virtual host make."""

    def __init__(self) -> None:
        self.exchanges: dict[str, dict[str, Any]] = {}
        self.queues: dict[str, dict[str, Any]] = {}
        self.bindings: list[dict[str, Any]] = []
        self.delayed: dict[str, dict[str, Any]] = {}

    def apply(self, given: dict[str, Any]) -> None:
        kind = given["kind"]
        if kind == "exchange_declared":
            self.exchanges.setdefault(given["name"], given)
        elif kind == "exchange_deleted":
            self.exchanges.pop(given["name"], None)
            self.delayed.pop(given["name"], None)
            self.unbind_all(given["name"], is_exchange=True)
        elif kind == "queue_declared":
            self.queues.setdefault(given["name"], given)
        elif kind == "queue_arguments_changed" and given["name"] in self.queues:
            changed = {"arguments": given["arguments"]}
            self.queues[given["name"]] = self.queues[given["name"]] | changed
        elif kind == "queue_pause_changed" and given["name"] in self.queues:
            changed = {"paused": given["paused"]}
            self.queues[given["name"]] = self.queues[given["name"]] | changed
        elif kind == "queue_deleted":
            self.queues.pop(given["name"], None)
            self.unbind_all(given["name"], is_exchange=False)
        elif kind == "bound":
            if given not in self.bindings:
                self.bindings.append(given)
        elif kind == "unbound":
            gone = given | {"kind": "bound"}
            self.bindings = [each for each in self.bindings if each != gone]
        elif kind == "delayed_store_created":
            self.delayed[given["exchange"]] = given

    def unbind_all(self, name: str, *, is_exchange: bool) -> None:
        self.bindings = [
            each
            for each in self.bindings
            if not (is_exchange and each["source"] == name)
            and (each["destination"], each["destination_is_exchange"]) != (name, is_exchange)
        ]
