"""Definitions go from RabbitMQ to Leveret and back, and the other way, without a change."""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from leveret.commands.client import Client
from tests.support.brokers import (
    HOST,
    Leveret,
    RabbitMQ,
    free_port,
    rabbitmq_available,
    wait_until,
)

pytestmark = pytest.mark.skipif(
    not rabbitmq_available(), reason="rabbitmq-server, erl or epmd is not installed"
)

TIMEOUT_S = 120.0

SECTIONS = (
    "users",
    "vhosts",
    "permissions",
    "topic_permissions",
    "parameters",
    "global_parameters",
    "policies",
    "queues",
    "exchanges",
    "bindings",
)

Definitions = dict[str, Any]


class Api:
    """RabbitMQ's HTTP API, for the user guest."""

    def __init__(self, port: int) -> None:
        self._url = f"http://{HOST}:{port}/api/"
        authorization = "Basic " + base64.b64encode(b"guest:guest").decode()
        self._headers = {"Authorization": authorization, "Content-Type": "application/json"}

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, self._headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
                return json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.read().decode()}") from None

    def answers(self) -> bool:
        try:
            return self("GET", "overview") is not None
        except OSError:
            return False


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[Api]:
    port = free_port()
    lines = (f"management.tcp.port = {port}", f"management.tcp.ip = {HOST}")
    plugins = ("rabbitmq_management", "rabbitmq_consistent_hash_exchange", "rabbitmq_shovel")
    with RabbitMQ(*lines, plugins=plugins):
        api = Api(port)
        wait_until(api.answers, TIMEOUT_S, "the HTTP API of RabbitMQ")
        yield api


@pytest.fixture
def leveret() -> Iterator[Client]:
    with Leveret() as broker:
        yield Client(broker.data_dir)


def fill_rabbitmq(api: Api) -> None:
    """Everything that a RabbitMQ has in its definitions."""
    at = "shop%2Fa"
    api("PUT", f"vhosts/{at}", {"description": "a shop", "tags": "one,two"})
    api("PUT", "users/ann", {"password": "pw", "tags": "monitoring,policymaker"})
    api("PUT", "users/robot", {"password_hash": "", "tags": ""})
    api("PUT", f"permissions/{at}/ann", {"configure": "^(?!amq).*", "write": ".*", "read": ""})
    topic = {"exchange": "amq.topic", "write": "^{username}\\..*", "read": ".*"}
    api("PUT", f"topic-permissions/{at}/ann", topic)
    api("PUT", f"vhost-limits/{at}/max-queues", {"value": 100})
    api("PUT", f"vhost-limits/{at}/max-connections", {"value": 50})
    api("PUT", "user-limits/ann/max-channels", {"value": 10})
    api("PUT", "global-parameters/note", {"value": {"made": "here", "count": [1, 2.5, None]}})
    policies = {
        "lengths": {"max-length": 10, "max-length-bytes": 10_000, "overflow": "reject-publish"},
        "mirrors": {"ha-mode": "exactly", "ha-params": 2, "ha-sync-mode": "automatic"},
        "letters": {"dead-letter-exchange": "x", "dead-letter-routing-key": "k", "expires": 10**6},
        "quorums": {"delivery-limit": 5, "max-in-memory-length": 3},
        "lazy": {"queue-mode": "lazy", "message-ttl": 1000},
    }
    for priority, (name, definition) in enumerate(policies.items()):
        policy = {"pattern": f"^{name}", "definition": definition, "priority": priority}
        api("PUT", f"policies/{at}/{name}", {**policy, "apply-to": "queues"})
    # The lowest priority: of several policies with the same one RabbitMQ picks any.
    other = {"pattern": "", "definition": {"alternate-exchange": "amq.fanout"}, "priority": -1}
    api("PUT", f"policies/{at}/other", {**other, "apply-to": "all"})
    bounds = {
        "bound": ("^[ql]", {"expires": 100_000, "max-length": 7}),
        "memory": ("^none", {"max-in-memory-bytes": 5000, "delivery-limit": 7}),
    }
    for name, (pattern, definition) in bounds.items():
        policy = {"pattern": pattern, "definition": definition, "priority": 1}
        api("PUT", f"operator-policies/{at}/{name}", {**policy, "apply-to": "queues"})
    queues: dict[str, dict[str, Any]] = {
        "quorum": {"x-queue-type": "quorum", "x-delivery-limit": 3},
        "quorums": {"x-queue-type": "quorum"},
        "lengths.1": {},
        "classic": {
            "x-queue-type": "classic",
            "x-max-priority": 5,
            "x-message-ttl": 1000,
            "x-dead-letter-exchange": "x",
            "x-queue-mode": "lazy",
        },
        "single": {"x-single-active-consumer": True, "x-note": ["any", {"thing": 1.5}]},
    }
    for name, arguments in queues.items():
        api("PUT", f"queues/{at}/{name}", {"durable": True, "arguments": arguments})
    exchanges: dict[str, dict[str, Any]] = {
        "x": {"type": "headers", "arguments": {"alternate-exchange": "amq.fanout"}},
        "hashed": {"type": "x-consistent-hash", "arguments": {}},
        "inner": {"type": "topic", "internal": True, "auto_delete": True},
    }
    for name, declared in exchanges.items():
        api("PUT", f"exchanges/{at}/{name}", {"durable": True, **declared})
    matched = {"routing_key": "k", "arguments": {"x-match": "all", "number": 1, "text": "t"}}
    api("POST", f"bindings/{at}/e/x/q/quorum", matched)
    api("POST", f"bindings/{at}/e/hashed/q/classic", {"routing_key": "3"})
    api("POST", f"bindings/{at}/e/amq.topic/e/inner", {"routing_key": "a.#"})
    api("POST", f"bindings/{at}/e/inner/q/single", {"routing_key": "*.b"})


def empty_rabbitmq(api: Api) -> None:
    """Delete what the tests made."""
    for vhost in api("GET", "vhosts"):
        if vhost["name"] != "/":
            api("DELETE", f"vhosts/{vhost['name'].replace('/', '%2F')}")
    for user in api("GET", "users"):
        if user["name"] != "guest":
            api("DELETE", f"users/{user['name']}")


def comparable(definitions: Definitions) -> dict[str, list[str]]:
    """The entries of each section in one order, with what an absent key means."""
    found: dict[str, list[str]] = {}
    for section in SECTIONS:
        entries = [dict(entry) for entry in definitions[section]]
        if section == "users":
            for user in entries:
                # RabbitMQ writes no limits as an array.
                user["limits"] = user.get("limits") or {}
        elif section == "vhosts":
            # RabbitMQ 3.10 does not export more of them.
            entries = [{"name": entry["name"]} for entry in entries]
        found[section] = sorted(json.dumps(entry, sort_keys=True) for entry in entries)
    return found


def test_what_rabbitmq_has_comes_back_to_it_as_it_was(rabbitmq: Api, leveret: Client) -> None:
    fill_rabbitmq(rabbitmq)
    before = rabbitmq("GET", "definitions")
    leveret.post("definitions", body=before)

    carried = leveret.get("definitions")
    assert comparable(carried) == comparable(before)
    of_vhost = rabbitmq("GET", "definitions/shop%2Fa")
    carried_vhost = leveret.get("definitions", "shop/a")
    for section in ("policies", "queues", "exchanges", "bindings"):
        assert len(carried_vhost[section]) == len(of_vhost[section])

    def policies_are_shown() -> bool:
        return all("policy" in queue for queue in rabbitmq("GET", "queues/shop%2Fa"))

    # RabbitMQ shows them with the first statistics of a queue.
    wait_until(policies_are_shown, TIMEOUT_S, "the policies of RabbitMQ's queues")
    for queue in rabbitmq("GET", "queues/shop%2Fa"):
        ours = leveret.get("queues", "shop/a", queue["name"])
        for what in ("policy", "operator_policy", "effective_policy_definition"):
            found, expected = ours[what] or None, queue[what] or None
            assert (queue["name"], what, found) == (queue["name"], what, expected)

    empty_rabbitmq(rabbitmq)
    rabbitmq("POST", "definitions", carried)
    assert comparable(rabbitmq("GET", "definitions")) == comparable(before)
    empty_rabbitmq(rabbitmq)


def test_what_leveret_has_comes_back_to_it_as_it_was(rabbitmq: Api, leveret: Client) -> None:
    leveret.put("vhosts", "lev", body={"default_queue_type": "quorum", "description": "a shop"})
    leveret.put("users", "bob", body={"password": "secret", "tags": "administrator"})
    rights = {"configure": "", "write": ".*", "read": "^q"}
    leveret.put("permissions", "lev", "bob", body=rights)
    definition = {"message-ttl": 10, "alternate-exchange": "amq.direct"}
    leveret.put("policies", "lev", "p", body={"pattern": ".*", "definition": definition})
    bound = {"pattern": ".*", "definition": {"max-length": 10}, "apply-to": "queues"}
    leveret.put("operator-policies", "lev", "o", body=bound)
    leveret.put("vhost-limits", "lev", "max-connections", body={"value": 5})
    leveret.put("user-limits", "bob", "max-connections", body={"value": 5})
    arguments = {"x-queue-type": "quorum"}
    leveret.put("queues", "lev", "q", body={"durable": True, "arguments": arguments})
    leveret.put("exchanges", "lev", "x", body={"type": "topic", "durable": True})
    leveret.post("bindings", "lev", "e", "x", "q", "q", body={"routing_key": "#"})
    before = leveret.get("definitions")

    rabbitmq("POST", "definitions", before)
    assert rabbitmq("GET", "vhosts/lev")["metadata"]["description"] == "a shop"
    carried = rabbitmq("GET", "definitions")
    ours, theirs = comparable(before), comparable(carried)
    for section in SECTIONS:
        assert set(ours[section]) <= set(theirs[section])
        # RabbitMQ has global parameters of its own, and gives who imports access to new vhosts.
        if section not in ("global_parameters", "permissions"):
            assert ours[section] == theirs[section]

    with Leveret() as other:
        client = Client(other.data_dir)
        client.post("definitions", body=carried)
        again = comparable(client.get("definitions"))
    assert again == theirs
    empty_rabbitmq(rabbitmq)


def test_a_shovel_of_rabbitmq_drains_its_queue_to_leveret(rabbitmq: Api) -> None:
    """As docs/moving.md says."""
    rabbitmq("PUT", "queues/%2F/orders", {"durable": True})
    message = {"properties": {"delivery_mode": 2}, "routing_key": "orders"}
    for number in range(10):
        body = {**message, "payload": str(number), "payload_encoding": "string"}
        rabbitmq("POST", "exchanges/%2F/amq.default/publish", body)
    with Leveret() as broker:
        client = Client(broker.data_dir)
        client.put("queues", "/", "orders", body={"durable": True})
        value = {
            "src-uri": "amqp://",
            "src-queue": "orders",
            "dest-uri": f"amqp://guest:guest@{broker.host}:{broker.port}",
            "dest-queue": "orders",
            "src-delete-after": "queue-length",
        }
        rabbitmq("PUT", "parameters/shovel/%2F/drain-orders", {"value": value})

        def arrived() -> bool:
            return bool(client.get("queues", "/", "orders")["messages_ready"] == 10)

        wait_until(arrived, TIMEOUT_S, "ten messages on Leveret")
    rabbitmq("DELETE", "queues/%2F/orders")
