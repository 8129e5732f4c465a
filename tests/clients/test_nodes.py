"""/api/nodes: what tools that monitor a broker read of the node."""

import socket
from collections.abc import Iterator
from typing import Any

import msgspec
import pika
import pytest

from leveret.management.nouns.nodes import NODE as COLUMNS
from tests.support.brokers import Leveret
from tests.support.control_http import request

NODE = f"leveret@{socket.gethostname()}"

FOR_RABBITMQADMIN = {
    "name": str,
    "uptime": int,
    "run_queue": int,
    "processors": int,
    "os_pid": str,
    "fd_total": int,
    "proc_total": int,
    "mem_limit": int,
    "mem_alarm": bool,
    "disk_free_limit": int,
    "disk_free_alarm": bool,
    "rates_mode": str,
    "enabled_plugins": list,
    "being_drained": bool,
}
"""What rabbitmqadmin-ng refuses to be without."""

FOR_DATADOG = {
    "name": str,
    "fd_used": int,
    "disk_free": int,
    "mem_used": int,
    "mem_limit": int,
    "run_queue": int,
    "sockets_used": int,
    "partitions": list,
    "running": bool,
    "mem_alarm": bool,
    "disk_free_alarm": bool,
}


@pytest.fixture(scope="module")
def broker() -> Iterator[Leveret]:
    with Leveret() as started:
        yield started


def ask(broker: Leveret, path: str) -> Any:
    answer = request(broker, f"/api/{path}")
    assert answer.status == 200, answer
    return answer.json


@pytest.mark.parametrize("fields", [FOR_RABBITMQADMIN, FOR_DATADOG])
def test_tools_find_what_they_read(broker: Leveret, fields: dict[str, type]) -> None:
    (node,) = ask(broker, "nodes")
    assert {name: type(node[name]) for name in fields} == fields
    assert node["name"] == NODE


def test_it_is_of_the_schema(broker: Leveret) -> None:
    node = ask(broker, f"nodes/{NODE}")
    msgspec.convert(node, COLUMNS.schema)
    assert set(node) == set(COLUMNS.by_name)


def test_it_says_what_is_used_and_done(broker: Leveret) -> None:
    with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("q", durable=True)
        channel.basic_publish("", "q", b"1", pika.BasicProperties(delivery_mode=2))
        node = ask(broker, f"nodes/{NODE}")
    assert node["os_pid"] == str(broker.pid)
    assert 0 < node["mem_used"] < node["mem_limit"]
    assert 5 < node["fd_used"] < node["fd_total"]
    assert node["sockets_used"] == 1
    assert node["io_sync_count"] > 0
    assert node["io_sync_avg_time"] > 0
    assert node["db_dir"] == str(broker.data_dir)
    assert (node["connection_created"], node["queue_declared"]) == (1, 1)


def test_columns_can_be_chosen(broker: Leveret) -> None:
    assert ask(broker, "nodes?columns=name,running") == [{"name": NODE, "running": True}]


def test_history_is_given_where_it_is_asked_for(broker: Leveret) -> None:
    node = ask(broker, f"nodes/{NODE}?node_stats_age=60&node_stats_incr=10")
    assert len(node["mem_used_details"]["samples"]) == 7


def test_the_memory_adds_up(broker: Leveret) -> None:
    memory = ask(broker, f"nodes/{NODE}/memory")["memory"]
    parts = [value for name, value in memory.items() if name not in ("strategy", "total")]
    assert sum(parts) == memory["total"]["rss"] > 10_000_000
    relative = ask(broker, f"nodes/{NODE}/memory/relative")["memory"]
    assert set(relative) == set(memory) - {"strategy"}
    assert relative["total"] == 100


@pytest.mark.parametrize("path", ["nodes/none", "nodes/none/memory", "nodes/none/memory/relative"])
def test_another_node_is_not_found(broker: Leveret, path: str) -> None:
    assert request(broker, f"/api/{path}").status == 404
