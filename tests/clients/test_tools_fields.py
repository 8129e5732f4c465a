"""The fields that other tools read from the HTTP API, with the types that they expect.

Each struct has what one tool fails without: rabbitmqadmin-ng, whose decoder is strict, the
Terraform provider, the scaler KEDA and Datadog's agent. The values are decoded strictly: a number
is no string, and a missing field is an error.
"""

from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
import pika
import pytest

from tests.parity.http.client import Api
from tests.support.brokers import HOST, Leveret, wait_until

T = TypeVar("T")


class Named(msgspec.Struct):
    name: str
    vhost: str


class Rate(msgspec.Struct):
    rate: float


class NgListener(msgspec.Struct):
    node: str
    protocol: str
    port: int
    ip_address: str


class NgOverview(msgspec.Struct):
    cluster_name: str
    node: str
    rabbitmq_version: str
    product_name: str
    product_version: str
    queue_totals: dict[str, Any]
    object_totals: dict[str, int]
    message_stats: dict[str, Any]
    churn_rates: dict[str, Any]
    listeners: list[NgListener]


class NgNode(msgspec.Struct):
    name: str
    uptime: int
    run_queue: int
    processors: int
    os_pid: str
    fd_total: int
    proc_total: int
    mem_limit: int
    mem_alarm: bool
    disk_free_limit: int
    disk_free_alarm: bool
    rates_mode: str
    enabled_plugins: list[str]
    being_drained: bool


class NgQueue(Named):
    type: str
    durable: bool
    auto_delete: bool
    exclusive: bool
    arguments: dict[str, Any]


class NgExchange(Named):
    type: str
    durable: bool
    auto_delete: bool
    arguments: dict[str, Any]


class NgConnection(msgspec.Struct):
    name: str
    node: str
    protocol: str
    user: str
    connected_at: int
    client_properties: dict[str, Any]


class NgConnectionDetails(msgspec.Struct):
    name: str
    peer_host: str
    peer_port: int


class NgChannel(msgspec.Struct):
    number: int
    name: str
    connection_details: NgConnectionDetails
    vhost: str
    state: str
    consumer_count: int
    confirm: bool
    prefetch_count: int
    messages_unacknowledged: int
    messages_unconfirmed: int


class NgChannelDetails(msgspec.Struct):
    number: int
    name: str
    connection_name: str
    node: str
    peer_host: str
    peer_port: int
    user: str


class NgConsumer(msgspec.Struct):
    consumer_tag: str
    active: bool
    ack_required: bool
    prefetch_count: int
    exclusive: bool
    arguments: dict[str, Any]
    consumer_timeout: int
    queue: Named
    channel_details: NgChannelDetails


class NgBinding(msgspec.Struct):
    vhost: str
    source: str
    destination: str
    destination_type: str
    routing_key: str
    arguments: dict[str, Any]
    properties_key: str


class NgPolicy(Named, rename={"apply_to": "apply-to"}):
    pattern: str
    apply_to: str
    priority: int
    definition: dict[str, Any]


class NgPermission(msgspec.Struct):
    user: str
    vhost: str
    configure: str
    write: str
    read: str


class NgDefinitions(msgspec.Struct):
    users: list[dict[str, Any]]
    vhosts: list[dict[str, Any]]
    permissions: list[NgPermission]
    parameters: list[dict[str, Any]]
    policies: list[NgPolicy]
    queues: list[dict[str, Any]]
    exchanges: list[dict[str, Any]]
    bindings: list[dict[str, Any]]


class TerraformUser(msgspec.Struct):
    name: str
    password_hash: str
    hashing_algorithm: str
    tags: list[str]


class KedaStats(msgspec.Struct):
    publish_details: Rate
    deliver_get_details: Rate


class KedaQueue(Named):
    messages: int
    messages_ready: int
    messages_unacknowledged: int
    message_stats: KedaStats


class KedaPage(msgspec.Struct):
    items: list[KedaQueue]
    page_count: int


class DatadogTotals(msgspec.Struct):
    connections: int
    channels: int
    queues: int
    consumers: int


class DatadogLengths(msgspec.Struct):
    messages: int
    messages_details: Rate
    messages_ready: int
    messages_ready_details: Rate
    messages_unacknowledged: int
    messages_unacknowledged_details: Rate


class DatadogStats(msgspec.Struct):
    ack: int
    ack_details: Rate
    confirm: int
    confirm_details: Rate
    deliver_get: int
    deliver_get_details: Rate
    publish: int
    publish_details: Rate
    return_unroutable: int
    return_unroutable_details: Rate
    redeliver: int
    redeliver_details: Rate


class DatadogOverview(msgspec.Struct):
    rabbitmq_version: str
    cluster_name: str
    object_totals: DatadogTotals
    queue_totals: DatadogLengths
    message_stats: DatadogStats


class DatadogQueue(DatadogLengths):
    name: str
    vhost: str
    node: str
    policy: str | None
    consumers: int
    consumer_utilisation: float
    head_message_timestamp: int | None
    memory: int
    message_stats: dict[str, Any]


class DatadogNode(msgspec.Struct):
    name: str
    fd_used: int
    disk_free: int
    mem_used: int
    mem_limit: int
    run_queue: int
    sockets_used: int
    partitions: list[str]
    running: bool
    mem_alarm: bool
    disk_free_alarm: bool


class DatadogConnection(msgspec.Struct):
    vhost: str
    state: str


class Alive(msgspec.Struct):
    status: str


class VhostName(msgspec.Struct):
    name: str


READ: list[tuple[str, str, Any]] = [
    ("rabbitmqadmin-ng", "/overview", NgOverview),
    ("rabbitmqadmin-ng", "/nodes", list[NgNode]),
    ("rabbitmqadmin-ng", "/queues", list[NgQueue]),
    ("rabbitmqadmin-ng", "/exchanges", list[NgExchange]),
    ("rabbitmqadmin-ng", "/connections", list[NgConnection]),
    ("rabbitmqadmin-ng", "/channels", list[NgChannel]),
    ("rabbitmqadmin-ng", "/consumers", list[NgConsumer]),
    ("rabbitmqadmin-ng", "/bindings", list[NgBinding]),
    ("rabbitmqadmin-ng", "/policies", list[NgPolicy]),
    ("rabbitmqadmin-ng", "/permissions", list[NgPermission]),
    ("rabbitmqadmin-ng", "/definitions", NgDefinitions),
    ("Terraform", "/queues/%2F/work", NgQueue),
    ("Terraform", "/exchanges/%2F/amq.topic", NgExchange),
    ("Terraform", "/users/guest", TerraformUser),
    ("Terraform", "/permissions/%2F/guest", NgPermission),
    ("Terraform", "/policies/%2F/p", NgPolicy),
    ("Terraform", "/vhosts/%2F", VhostName),
    ("Terraform", "/bindings/%2F", list[NgBinding]),
    ("KEDA", "/queues/%2F/work", KedaQueue),
    (
        "KEDA",
        "/queues/%2F?page=1&use_regex=true&pagination=false&name=%5Ework%24&page_size=100",
        KedaPage,
    ),
    ("Datadog", "/overview", DatadogOverview),
    ("Datadog", "/queues", list[DatadogQueue]),
    ("Datadog", "/nodes", list[DatadogNode]),
    ("Datadog", "/vhosts/%2F/connections", list[DatadogConnection]),
    ("Datadog", "/queues/%2F/work/bindings", list[NgBinding]),
    ("Datadog", "/aliveness-test/%2F", Alive),
]


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    """The API of a broker in which each message has been published, got and delivered."""
    with (
        Leveret(management=True) as broker,
        pika.BlockingConnection(pika.URLParameters(broker.url)) as opened,
    ):
        asked = Api(HOST, broker.management_port)
        policy = {"pattern": "^work$", "definition": {"max-length": 100}, "apply-to": "queues"}
        asked.ask("PUT", "/api/policies/%2F/p", policy)
        channel = opened.channel()
        channel.confirm_delivery()
        channel.queue_declare("work", durable=True)
        for _ in range(3):
            channel.basic_publish("", "work", b"1")
        channel.basic_get("work", auto_ack=True)
        channel.basic_consume("work", lambda *_: None, consumer_tag="c")

        def has_delivered() -> bool:
            opened.process_data_events(0)
            stats = asked.ask("GET", "/api/overview").value["message_stats"]
            return bool(stats.get("deliver_get", 0) >= 3)

        wait_until(has_delivered, what="statistics of the deliveries")
        yield asked


@pytest.mark.parametrize(("tool", "path", "kind"), READ)
def test_fields_have_the_types_that_a_tool_expects(
    tool: str, path: str, kind: type[Any], api: Api
) -> None:
    answer = api.ask("GET", f"/api{path}")
    assert answer.status == 200
    found = msgspec.json.decode(answer.body, type=kind, strict=True)
    assert found, tool


def test_terraform_finds_its_binding_where_the_post_says(api: Api) -> None:
    path = "/api/bindings/%2F/e/amq.topic/q/work"
    for sent in ({"routing_key": "a.#"}, {"routing_key": "", "arguments": {"x": 1}}):
        posted = api.ask("POST", path, sent)
        assert posted.status == 201
        key = posted.headers["location"].partition("/")[2]
        found = api.ask("GET", f"{path}/{key}")
        binding = msgspec.json.decode(found.body, type=NgBinding)
        assert binding.routing_key == sent["routing_key"]
        assert api.ask("DELETE", f"{path}/{key}").status == 204
        assert api.ask("GET", f"{path}/{key}").status == 404
