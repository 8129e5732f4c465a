"""What the listener for metrics answers, and in how long turns."""

import asyncio
import gzip
import json
from typing import NamedTuple

import pytest
from prometheus_client.metrics_core import Metric
from starlette.types import Message

from leveret.config import Config
from leveret.engine.broker import Broker
from leveret.engine.lifecycle.queues import declare_queue, remove_queue
from leveret.engine.metadata.entities import VirtualHostEntity
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.counters import TrafficCounters
from leveret.limits import SLICE_NS
from leveret.management.metrics.application import SCRAPES_MAX, metrics_application
from leveret.management.metrics.exposition import OPENMETRICS
from leveret.management.node_status import NodeStatus
from leveret.management.service import Management
from tests.support.metrics import read_metrics

GZIP = ("accept-encoding", "gzip, deflate")
OPEN = ("accept", OPENMETRICS.media_type)


class Answer(NamedTuple):
    """What a request is answered, and the parts that it came in."""

    status: int
    headers: dict[str, str]
    parts: list[bytes]

    @property
    def text(self) -> str:
        body = b"".join(self.parts)
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        return body.decode()

    def families(self) -> dict[str, Metric]:
        """The metrics by name."""
        return read_metrics(self.text, self.headers["content-type"])


class Application:
    """The application of a broker, whose work runs in the event loop as it comes."""

    def __init__(self, queues: int = 0, not_ready: str = "") -> None:
        self.broker = Broker(Config())
        self.broker.metadata.put(VirtualHostEntity("other"))
        for number in range(queues):
            self.declare("/", f"queue {number}")
        status = NodeStatus(not_ready=lambda: not_ready)
        self.app = metrics_application(
            Management(self.broker, list, list, lambda _limit: None, status)
        )
        self.broker.work.added = self._run_work_soon

    def declare(self, vhost: str, name: str) -> None:
        declare_queue(
            self.broker.vhosts[vhost],
            name,
            durable=False,
            auto_delete=False,
            owner=None,
            connection=None,
            arguments=Arguments({}, {}),
        )

    def _run_work_soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._run_work)

    def _run_work(self) -> None:
        while not self.broker.work.is_empty():
            self.broker.time_slice.begin(SLICE_NS)
            self.broker.work.run_next(self.broker.time_slice)

    async def get(self, path: str, *headers: tuple[str, str], query: str = "") -> Answer:
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers],
            "http_version": "1.1",
        }
        await self.app(scope, receive, send)
        found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], found, [each["body"] for each in sent[1:]])


def get(app: Application, path: str, *headers: tuple[str, str], query: str = "") -> Answer:
    return asyncio.run(app.get(path, *headers, query=query))


def values(family: Metric) -> dict[str, float]:
    """The values by the name of the queue, "" where there is none."""
    return {each.labels.get("queue", ""): each.value for each in family.samples}


ENDPOINTS = ("/metrics", "/metrics/per-object", "/metrics/detailed")
ALL_FAMILIES = (
    "family=queue_coarse_metrics&family=queue_consumer_count&family=queue_metrics"
    "&family=queue_delivery_metrics&family=channel_metrics&family=connection_metrics"
    "&family=exchange_metrics&family=exchange_names&family=exchange_bindings&family=vhost_status"
    "&family=node_metrics&family=node_coarse_metrics&family=node_persister_metrics"
    "&family=connection_churn_metrics&family=auth_attempt_metrics&family=alarms&family=leveret"
)


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("headers", [(), (OPEN,), (GZIP,), (OPEN, GZIP)])
def test_everything_can_be_read(path: str, headers: tuple[tuple[str, str], ...]) -> None:
    answer = get(Application(3), path, *headers, query=ALL_FAMILIES)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith(
        "application/openmetrics-text; version=1.0.0" if OPEN in headers else "text/plain"
    )
    assert len(answer.families()) > 30


def test_queues_are_added_up_or_shown_each() -> None:
    app = Application(3)
    found = get(app, "/metrics").families()
    assert values(found["rabbitmq_queue_messages_ready"]) == {"": 0}
    assert values(found["rabbitmq_queues"]) == {"": 3}
    assert "rabbitmq_queue_consumer_capacity" not in found
    names = ["queue 0", "queue 1", "queue 2"]
    found = get(app, "/metrics/per-object").families()
    assert values(found["rabbitmq_queue_messages_ready"]) == dict.fromkeys(names, 0)
    assert values(found["rabbitmq_queue_consumer_capacity"]) == dict.fromkeys(names, 0)
    assert "rabbitmq_cluster_exchange_name" not in found
    query = "family=queue_coarse_metrics"
    found = get(app, "/metrics/detailed", query=query).families()
    assert values(found["rabbitmq_detailed_queue_messages_ready"]) == dict.fromkeys(names, 0)


def test_details_are_those_of_the_groups_and_virtual_hosts_that_are_asked_for() -> None:
    app = Application(1)
    app.declare("other", "there")
    identity = {"rabbitmq_build_info", "rabbitmq_identity_info"}
    assert set(get(app, "/metrics/detailed").families()) == identity
    query = "family=queue_coarse_metrics&vhost=other"
    found = get(app, "/metrics/detailed", query=query).families()
    assert set(found) == identity | {
        "rabbitmq_detailed_queue_messages_ready",
        "rabbitmq_detailed_queue_messages_unacked",
        "rabbitmq_detailed_queue_messages",
    }
    assert list(values(found["rabbitmq_detailed_queue_messages"])) == ["there"]
    nowhere = "family=queue_coarse_metrics&vhost=none"
    found = get(app, "/metrics/detailed", query=nowhere).families()
    assert found["rabbitmq_detailed_queue_messages"].samples == []
    query = "family=exchange_bindings&vhost=other"
    found = get(app, "/metrics/detailed", query=query).families()
    samples = found["rabbitmq_cluster_exchange_bindings"].samples
    assert {each.labels["exchange"]: each.value for each in samples}[""] == 1


@pytest.mark.parametrize("path", ENDPOINTS)
def test_the_identity_says_which_endpoint_it_is(path: str) -> None:
    (sample,) = get(Application(), path).families()["rabbitmq_identity_info"].samples
    _, _, name = path.removeprefix("/metrics").rpartition("/")
    assert sample.labels["rabbitmq_endpoint"] == (name or "aggregated")
    assert sample.labels["rabbitmq_node"].startswith("leveret@")


def test_paused_queues_are_counted() -> None:
    app = Application(2)
    app.broker.vhosts["/"].queues["queue 1"].set_paused(True)
    for path in ("/metrics", "/metrics/per-object"):
        assert values(get(app, path).families()["leveret_paused_queues"]) == {"": 1}


def test_a_sum_does_not_go_back_when_what_has_counted_is_deleted() -> None:
    app = Application(1)
    queue = app.broker.vhosts["/"].queues["queue 0"]
    queue.counters.publish += 5
    name = "rabbitmq_queue_messages_published"
    assert values(get(app, "/metrics").families()[name]) == {"": 5}
    remove_queue(app.broker.vhosts["/"], queue)
    assert values(get(app, "/metrics").families()[name]) == {"": 5}


def test_the_traffic_of_a_deleted_virtual_host_stays_in_the_sum() -> None:
    app = Application(1)
    app.broker.metadata.put(VirtualHostEntity("shop"))
    vhost = app.broker.vhosts["shop"]
    before, after = TrafficCounters(), TrafficCounters()
    before.received(5)
    after.received(7)
    vhost.closed_traffic.add(before)

    async def delete() -> Answer:
        app.broker.metadata.delete(VirtualHostEntity, "shop")
        # A connection that ends because its virtual host is deleted does so after it.
        vhost.closed_traffic.add(after)
        return await app.get("/metrics")

    families = asyncio.run(delete()).families()
    assert values(families["rabbitmq_connection_incoming_bytes"]) == {"": 12}


def test_a_long_text_is_sent_in_parts() -> None:
    answer = get(Application(3000), "/metrics/per-object")
    assert len(answer.text) > 1_000_000
    assert max(map(len, answer.parts)) < 200_000


def test_more_scrapes_than_may_be_are_refused_until_one_has_ended() -> None:
    app = Application(2000)

    async def run() -> list[int]:
        first = [app.get("/metrics/per-object") for _ in range(SCRAPES_MAX + 1)]
        statuses = [answer.status for answer in await asyncio.gather(*first)]
        return [*statuses, (await app.get("/metrics")).status]

    assert asyncio.run(run()) == [200] * SCRAPES_MAX + [503, 200]


def test_it_is_alive_and_ready() -> None:
    app = Application()
    assert json.loads(get(app, "/healthz").text) == {"status": "ok"}
    answer = get(app, "/readyz")
    assert (answer.status, json.loads(answer.text)) == (200, {"status": "ok", "alarm": ""})
    app.broker.set_alarm("low on memory")
    answer = get(app, "/readyz")
    assert (answer.status, json.loads(answer.text)["alarm"]) == (200, "low on memory")


def test_it_is_alive_and_not_ready() -> None:
    app = Application(not_ready="storage failed")
    assert get(app, "/healthz").status == 200
    answer = get(app, "/readyz")
    said = {"status": "failed", "reason": "storage failed"}
    assert (answer.status, json.loads(answer.text)) == (503, said)


def test_another_path_is_not_found() -> None:
    answer = get(Application(), "/")
    assert (answer.status, json.loads(answer.text)["error"]) == (404, "Object Not Found")
