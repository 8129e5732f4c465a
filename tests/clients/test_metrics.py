"""Metrics of a broker that has clients: what Prometheus reads, and what dashboards and alerts ask
Prometheus for."""

import json
import re
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pika
import pytest
import trustme
from prometheus_client.metrics_core import Metric

from leveret.config import DEFAULT_METRICS_LISTEN
from leveret.management.metrics.cluster_metrics import CLUSTER
from tests.support.brokers import HOST, BrokerError, Leveret, free_port
from tests.support.control_http import request
from tests.support.metrics import read_metrics
from tests.support.promql import nothing_found, selectors
from tests.unit.source_tree import ROOT

TIMEOUT_S = 60.0
QUEUE, EXCHANGE = "orders", "shop"
PERSISTENT = pika.BasicProperties(delivery_mode=2)

JOIN = (
    " * on(instance, job) group_left(rabbitmq_cluster, rabbitmq_node) rabbitmq_identity_info"
    '{rabbitmq_cluster="$rabbitmq_cluster", rabbitmq_endpoint="aggregated",'
    ' namespace="$namespace"}'
)
"""How the panels of Grafana's dashboard 10991 find the node of a sample."""

GAUGES = (
    "rabbitmq_queue_messages_ready",
    "rabbitmq_queue_messages_unacked",
    "rabbitmq_queues",
    "rabbitmq_connections",
    "rabbitmq_channels",
    "rabbitmq_global_publishers",
    "rabbitmq_global_consumers",
    "rabbitmq_channel_consumers",
    "rabbitmq_build_info",
    "rabbitmq_erlang_uptime_seconds",
    "rabbitmq_disk_space_available_bytes",
    "rabbitmq_disk_space_available_limit_bytes",
    "rabbitmq_process_open_fds",
    "rabbitmq_process_max_fds",
    "rabbitmq_process_open_tcp_sockets",
    "rabbitmq_process_max_tcp_sockets",
    "rabbitmq_process_resident_memory_bytes",
    "rabbitmq_resident_memory_limit_bytes",
)
"""What its panels show as it is."""

COUNTERS = (
    "rabbitmq_connections_opened_total",
    "rabbitmq_connections_closed_total",
    "rabbitmq_channels_opened_total",
    "rabbitmq_channels_closed_total",
    "rabbitmq_queues_declared_total",
    "rabbitmq_queues_created_total",
    "rabbitmq_queues_deleted_total",
    "rabbitmq_queue_messages_published_total",
    *(
        f"rabbitmq_global_messages_{name}_total"
        for name in (
            "received",
            "received_confirm",
            "routed",
            "confirmed",
            "unroutable_dropped",
            "unroutable_returned",
            "delivered",
            "delivered_consume_auto_ack",
            "delivered_consume_manual_ack",
            "delivered_get_auto_ack",
            "delivered_get_manual_ack",
            "redelivered",
            "acknowledged",
            "get_empty",
        )
    ),
    *(
        f"rabbitmq_channel_{name}_total"
        for name in (
            "messages_published",
            "messages_confirmed",
            "messages_unroutable_returned",
            "messages_unroutable_dropped",
            "messages_delivered",
            "messages_delivered_ack",
            "messages_redelivered",
            "messages_acked",
            "get",
            "get_ack",
            "get_empty",
        )
    ),
)
"""What its panels show as a rate: in newer versions of it `global`, in older ones `channel`."""

PANELS = [
    *(f"sum({name}{JOIN}) by(rabbitmq_node)" for name in GAUGES),
    f"sum(rate(rabbitmq_message_size_bytes_bucket[60s]){JOIN}) by(le)",
    *(f"sum(rate({name}[60s]){JOIN}) by(rabbitmq_node)" for name in COUNTERS),
    f"(rabbitmq_process_max_fds{JOIN}) - (rabbitmq_process_open_fds{JOIN})",
]


class Served:
    """A broker, its address for metrics, and what was done with it."""

    def __init__(self, broker: Leveret) -> None:
        self.broker = broker
        found = re.search(r"\bmetrics=(\S+)", broker.log_text())
        assert found
        self.address = found[1]

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        asked = urllib.request.Request(f"http://{self.address}{path}", headers=headers)
        try:
            with urllib.request.urlopen(asked, timeout=TIMEOUT_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metrics(self, path: str = "/metrics") -> dict[str, Metric]:
        status, text = self.get(path)
        assert status == 200, text
        return read_metrics(text)


def confirmed_and_returned(parameters: pika.URLParameters) -> None:
    """Publish 10 messages that are confirmed, and one that is returned."""
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare(QUEUE, durable=True)
        channel.exchange_declare(EXCHANGE, "fanout")
        channel.queue_bind(QUEUE, EXCHANGE)
        for _ in range(10):
            channel.basic_publish(EXCHANGE, "", b"confirmed", PERSISTENT)
        with pytest.raises(pika.exceptions.UnroutableError):
            channel.basic_publish("", "nowhere", b"returned", mandatory=True)


def dropped_and_fetched(channel: pika.adapters.blocking_connection.BlockingChannel) -> None:
    """Publish a message that is dropped, and fetch three of the others, one of them twice."""
    channel.basic_publish("", "nowhere", b"dropped")
    channel.basic_get(QUEUE, auto_ack=True)
    for _ in range(2):
        method, _, _ = channel.basic_get(QUEUE)
        channel.basic_nack(method.delivery_tag)
    method, _, _ = channel.basic_get(QUEUE)
    channel.basic_ack(method.delivery_tag)
    channel.queue_declare("empty")
    channel.basic_get("empty")
    channel.queue_declare("deleted")
    channel.queue_delete("deleted")


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with Leveret(env={"LEVERET_METRICS_LISTEN": f"{HOST}:0"}) as broker:
        # Nobody reads its connection while the tests run.
        parameters = pika.URLParameters(f"{broker.url}?heartbeat=0")
        confirmed_and_returned(parameters)
        with pika.BlockingConnection(parameters) as connection:
            channel = connection.channel()
            dropped_and_fetched(channel)
            channel.basic_qos(prefetch_count=3)
            for method, _, _ in channel.consume(QUEUE):
                channel.basic_ack(method.delivery_tag)
                break
            other = connection.channel()
            other.queue_declare("quick")
            other.basic_consume("quick", lambda *_: None, auto_ack=True)
            other.basic_publish("", "quick", b"at once")
            # A reply to this is behind everything before it.
            other.queue_declare("quick", passive=True)
            channel.queue_declare(QUEUE, passive=True)
            yield Served(broker)


@pytest.fixture(scope="module")
def metrics(served: Served) -> dict[str, Metric]:
    return served.metrics()


def value(metrics: dict[str, Metric], name: str, **labels: str) -> float:
    """The value of the only sample of a metric that has some labels."""
    (found,) = (
        each.value
        for metric in metrics.values()
        for each in metric.samples
        if each.name == name and labels.items() <= each.labels.items()
    )
    return found


@pytest.mark.parametrize("query", PANELS)
def test_a_panel_of_rabbitmqs_dashboard_finds_what_it_shows(
    query: str, metrics: dict[str, Metric]
) -> None:
    assert nothing_found(query, metrics) == []


OF_CLUSTERS = re.compile("|".join(rf"\b{each.metric.name}\b" for each in CLUSTER))
"""What only brokers of a cluster have."""


def test_the_queries_of_our_dashboard_find_what_they_show(metrics: dict[str, Metric]) -> None:
    dashboard = json.loads((ROOT / "conf/grafana/leveret.json").read_text("utf-8"))
    queries = [
        target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())
    ]
    queries += [
        each["query"]
        for each in dashboard["templating"]["list"]
        if each["query"].startswith("label_values")
    ]
    assert all(selectors(query) for query in queries)
    missing = {
        query: found
        for query in queries
        if not OF_CLUSTERS.search(query) and (found := nothing_found(query, metrics))
    }
    assert missing == {}


def test_the_alerts_ask_for_what_there_is(metrics: dict[str, Metric]) -> None:
    rules = (ROOT / "conf/prometheus/alerts.yml").read_text("utf-8")
    queries = re.findall(r"^ +expr: (.+)$", rules, re.MULTILINE)
    assert len(queries) == rules.count("- alert: ") > 10
    # The broker of this test has no certificate.
    without = "leveret_certificate_expiry_timestamp_seconds"
    missing = {
        query: found
        for query in queries
        if not query.startswith(without) and not OF_CLUSTERS.search(query)
        if (found := nothing_found(query, metrics))
    }
    assert missing == {}
    assert set(re.findall(r"\$labels\.(\w+)", rules)) <= {
        "instance",
        "resource",
        "file",
        "node",
        "store",
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("received", 13),
        ("received_confirm", 11),
        ("confirmed", 11),
        ("routed", 11),
        ("unroutable_returned", 1),
        ("unroutable_dropped", 1),
        ("delivered_get_auto_ack", 1),
        ("delivered_get_manual_ack", 3),
        ("delivered_consume_auto_ack", 1),
        ("delivered_consume_manual_ack", 4),
        ("delivered", 9),
        ("redelivered", 2),
        ("acknowledged", 2),
        ("get_empty", 1),
    ],
)
def test_what_clients_did_is_counted(name: str, expected: int, metrics: dict[str, Metric]) -> None:
    assert value(metrics, f"rabbitmq_global_messages_{name}_total", protocol="amqp091") == expected


def test_messages_are_counted_by_size(metrics: dict[str, Metric]) -> None:
    bytes_of_all = 10 * len("confirmed") + len("returned") + len("dropped") + len("at once")
    assert value(metrics, "rabbitmq_message_size_bytes_sum", protocol="amqp091") == bytes_of_all
    assert value(metrics, "rabbitmq_message_size_bytes_bucket", le="100.0") == 13


def test_what_there_is_is_counted(metrics: dict[str, Metric]) -> None:
    assert value(metrics, "rabbitmq_queues") == 3
    assert value(metrics, "rabbitmq_connections") == 1
    assert value(metrics, "rabbitmq_channels") == 2
    assert value(metrics, "rabbitmq_consumers") == 2
    assert value(metrics, "rabbitmq_queue_messages_unacked") == 3
    assert value(metrics, "rabbitmq_queue_messages_ready") == 4
    assert value(metrics, "rabbitmq_connections_opened_total") == 2
    assert value(metrics, "rabbitmq_queues_deleted_total") == 1
    assert value(metrics, "leveret_unconsumed_queues") == 0
    assert value(metrics, "leveret_paused_queues") == 0
    assert value(metrics, "leveret_blocked_connections") == 0
    assert value(metrics, "leveret_message_memory_bytes") > 0


def test_the_disk_and_the_process_are_measured(metrics: dict[str, Metric]) -> None:
    assert value(metrics, "leveret_store_sync_seconds_count") > 10
    assert value(metrics, "leveret_store_batch_bytes_sum") > 1000
    assert value(metrics, "leveret_store_log_bytes") > 1000
    assert value(metrics, "rabbitmq_process_open_fds") > 5
    assert value(metrics, "rabbitmq_process_resident_memory_bytes") > 10_000_000
    assert value(metrics, "rabbitmq_disk_space_available_bytes") > 0
    assert value(metrics, "leveret_alarm", resource="memory") == 0


def test_each_queue_and_channel_is_shown(served: Served) -> None:
    metrics = served.metrics("/metrics/per-object")
    assert value(metrics, "rabbitmq_queue_messages_ready", queue=QUEUE, vhost="/") == 4
    assert value(metrics, "rabbitmq_queue_messages_published_total", queue=QUEUE) == 10
    assert len(metrics["rabbitmq_channel_prefetch"].samples) == 2
    family = "queue_coarse_metrics"
    metrics = served.metrics(f"/metrics/detailed?family={family}&vhost=%2F")
    name = "rabbitmq_detailed_queue_messages_unacked"
    assert value(metrics, name, queue=QUEUE, vhost="/") == 3


def test_it_says_that_it_is_ready_here_and_in_the_api(served: Served) -> None:
    assert served.get("/healthz") == (200, '{"status":"ok"}')
    assert served.get("/readyz") == (200, '{"status":"ok","alarm":""}')
    port = served.address.rpartition(":")[2]
    answer = request(served.broker, f"/api/health/checks/port-listener/{port}")
    assert (answer.status, answer.json["port"]) == (200, int(port))
    answer = request(served.broker, "/api/health/checks/protocol-listener/http%2Fprometheus")
    assert answer.status == 200


def test_an_address_that_is_in_use_ends_the_start() -> None:
    port = free_port()
    variables = {"LEVERET_METRICS_LISTEN": f"{HOST}:{port}"}
    with Leveret("--memory", env=variables):
        with pytest.raises(BrokerError) as refused:
            Leveret("--memory", env=variables)
        reason = f"leveret: metrics.listen: {HOST}:{port}: address already in use\n"
        assert str(refused.value).count(reason) == 1


@pytest.mark.alone
def test_a_default_port_that_is_taken_is_a_warning() -> None:
    (address,) = DEFAULT_METRICS_LISTEN
    host, _, port = address.partition(":")
    with socket.socket() as taken:
        with suppress(OSError):  # somebody else's will do
            taken.bind((host, int(port)))
            taken.listen()
        with Leveret("--memory", env={"LEVERET_METRICS_LISTEN": address}) as broker:
            log = broker.log_text()
    assert f"metrics.listen: {address}: address already in use" in log
    assert "metrics=" not in log


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(BrokerError, match=r"metrics\.listen|LEVERET_METRICS_LISTEN"):
        Leveret("--memory", env={"LEVERET_METRICS_LISTEN": "nowhere"})


def test_it_speaks_tls_with_the_certificates_of_the_amqp_listeners(tmp_path: Path) -> None:
    authority = trustme.CA()
    path = tmp_path / "server.pem"
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(path))
    variables = {
        "LEVERET_METRICS_LISTEN": f"{HOST}:0",
        "LEVERET_METRICS_TLS": "true",
        "LEVERET_TLS_CERTFILE": str(path),
    }
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with Leveret("--memory", env=variables) as broker:
        url = f"https://{Served(broker).address}/metrics"
        with urllib.request.urlopen(url, timeout=TIMEOUT_S, context=context) as answer:
            metrics = read_metrics(answer.read().decode())
    name = "leveret_certificate_expiry_timestamp_seconds"
    assert value(metrics, name, file=str(path)) > 0
