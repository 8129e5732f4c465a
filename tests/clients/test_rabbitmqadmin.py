"""RabbitMQ's own command line for its HTTP API, unmodified, against Leveret: every command once.

The script is the one that Debian's rabbitmq-server has in its management plugin.
"""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pika
import pika.exceptions
import pytest

from tests.support.brokers import RABBITMQ_SCRIPT, Leveret

TIMEOUT_S = 120.0
SCRIPT = "plugins/rabbitmq_management-*/priv/www/cli/rabbitmqadmin"
FORMATS = ("raw_json", "pretty_json", "tsv", "long", "table", "kvp", "bash")
LISTED = (
    "connections",
    "channels",
    "consumers",
    "exchanges",
    "queues",
    "bindings",
    "users",
    "vhosts",
    "permissions",
    "nodes",
    "parameters",
    "policies",
    "operator_policies",
    "vhost_limits",
)
DECLARED = (
    ("exchange", "name=x", "type=topic", "auto_delete=false", "internal=false"),
    ("exchange", "name=x2", "type=fanout", "durable=false"),
    ("queue", "name=q", "durable=true", 'arguments={"x-max-length":10}'),
    ("queue", "name=big", "queue_type=quorum"),
    ("binding", "source=x", "destination=q", "routing_key=a.#"),
    ("binding", "source=x", "destination=x2", "destination_type=exchange"),
    ("vhost", "name=other"),
    ("user", "name=u", "password=p", "tags=monitoring"),
    ("permission", "vhost=other", "user=u", "configure=.*", "write=.*", "read=.*"),
    ("parameter", "component=federation-upstream", "name=up", 'value={"uri":"amqp://h"}'),
    ("policy", "name=p", "pattern=^q$", 'definition={"max-length":5}', "apply-to=queues"),
    ("operator_policy", "name=op", "pattern=^q$", 'definition={"max-length":4}', "priority=2"),
    ("vhost_limit", "vhost=other", "name=max-queues", "value=7"),
)
DELETED = (
    ("vhost_limit", "vhost=other", "name=max-queues"),
    ("operator_policy", "name=op"),
    ("policy", "name=p"),
    ("parameter", "component=federation-upstream", "name=up"),
    ("permission", "vhost=other", "user=u"),
    ("user", "name=u"),
    ("vhost", "name=other"),
    ("binding", "source=x", "destination_type=queue", "destination=q", "properties_key=a.%23"),
    ("binding", "source=x", "destination_type=exchange", "destination=x2", "properties_key=~"),
    ("queue", "name=big"),
    ("queue", "name=q"),
    ("exchange", "name=x2"),
    ("exchange", "name=x"),
)

Run = Callable[..., str]


@pytest.fixture(scope="module")
def broker() -> Iterator[Leveret]:
    with Leveret(management=True) as running:
        yield running


@pytest.fixture(scope="module")
def script() -> Path:
    """The script, in the plugin's directory of the RabbitMQ that is installed."""
    found = sorted(RABBITMQ_SCRIPT.resolve().parents[1].glob(f"lib/*/{SCRIPT}"))
    found += sorted(RABBITMQ_SCRIPT.resolve().parents[1].glob(SCRIPT))
    assert found, f"no rabbitmqadmin beside {RABBITMQ_SCRIPT}"
    return found[-1]


@pytest.fixture(scope="module")
def admin(broker: Leveret, script: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a command to its end; what it prints."""
    directory = tmp_path_factory.mktemp("rabbitmqadmin")

    def run(*arguments: str, stdin: str = "", fails: bool = False) -> str:
        where = ["-H", broker.host, "-P", str(broker.management_port)]
        ended = subprocess.run(
            [sys.executable, str(script), *where, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=directory,
            env={"HOME": str(directory), "PATH": "/usr/bin:/bin"},
            timeout=TIMEOUT_S,
            check=False,
        )
        assert (ended.returncode != 0) == fails, ended
        return ended.stdout + (ended.stderr if fails else "")

    return run


@pytest.fixture(scope="module")
def declared(broker: Leveret, admin: Run) -> Iterator[None]:
    """Everything that can be declared, and a consumer; in the end it is deleted."""
    for what in DECLARED:
        assert admin("declare", *what).endswith("declared\n")
    with pika.BlockingConnection(pika.URLParameters(broker.url)) as opened:
        channel = opened.channel()
        channel.basic_consume("q", lambda *_: None, consumer_tag="c")
        yield
    for what in DELETED:
        admin("delete", *what)


def rows(admin: Run, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(admin("-f", "raw_json", *arguments))
    return found


@pytest.mark.usefixtures("declared")
class TestCommands:
    @pytest.mark.parametrize("noun", LISTED)
    def test_list(self, noun: str, admin: Run) -> None:
        assert rows(admin, "list", noun)
        assert "|" in admin("list", noun)

    @pytest.mark.parametrize("output", FORMATS)
    def test_formats(self, output: str, admin: Run) -> None:
        assert "q" in admin("-f", output, "list", "queues", "name", "messages")
        # For bash it prints names, which consumers have none of.
        assert ("c" in admin("-f", output, "-d", "3", "list", "consumers")) == (output != "bash")

    def test_show_overview(self, admin: Run) -> None:
        shown = admin("-f", "tsv", "show", "overview", "rabbitmq_version", "object_totals.queues")
        assert list(csv.reader(io.StringIO(shown), delimiter="\t"))[1][1] == "2"

    def test_columns_sort_and_virtual_host(self, admin: Run) -> None:
        names = ("-f", "tsv", "-S", "name", "-R", "list", "queues", "name")
        assert admin(*names).split() == ["name", "q", "big"]
        assert admin("-V", "other", *names) == "No items\n"
        found = rows(admin, "-V", "/", "-S", "name", "list", "queues", "name")
        assert found == [{"name": "big"}, {"name": "q"}]

    def test_what_was_declared_is_there(self, admin: Run) -> None:
        queues = {each["name"]: each for each in rows(admin, "list", "queues")}
        assert queues["q"]["arguments"] == {"x-max-length": 10}
        assert (queues["q"]["policy"], queues["q"]["operator_policy"]) == ("p", "op")
        assert queues["big"]["type"] == "quorum"
        [exchange] = [each for each in rows(admin, "list", "exchanges") if each["name"] == "x2"]
        assert (exchange["type"], exchange["durable"]) == ("fanout", False)
        [user] = [each for each in rows(admin, "list", "users") if each["name"] == "u"]
        assert user["tags"] == ["monitoring"]
        assert {"user": "u", "vhost": "other"}.items() <= next(
            each for each in rows(admin, "list", "permissions") if each["user"] == "u"
        ).items()
        assert rows(admin, "list", "vhost_limits") == [
            {"vhost": "other", "value": {"max-queues": 7}}
        ]

    def test_publish_get_and_purge(self, admin: Run) -> None:
        sent = ("publish", "routing_key=big", "payload=hello", 'properties={"message_id":"m"}')
        assert admin(*sent) == "Message published\n"
        assert admin("publish", "routing_key=big", stdin="piped") == "Message published\n"
        assert "NOT routed" in admin("publish", "routing_key=none", "payload=x")
        got = rows(admin, "get", "queue=big", "count=2", "ackmode=ack_requeue_true")
        assert [each["payload"] for each in got] == ["hello", "piped"]
        assert got[0]["properties"]["message_id"] == "m"
        assert admin("purge", "queue", "name=big") == "queue purged\n"
        assert admin("get", "queue=big") == "No items\n"

    def test_export_and_import(self, admin: Run, tmp_path: Path) -> None:
        file = tmp_path / "definitions.json"
        assert "Exported" in admin("export", str(file))
        definitions = json.loads(file.read_text())
        assert {each["name"] for each in definitions["queues"]} == {"q", "big"}
        definitions["queues"].append({**definitions["queues"][0], "name": "imported"})
        file.write_text(json.dumps(definitions))
        assert "Uploaded" in admin("import", str(file))
        assert "imported" in admin("list", "queues", "name")
        admin("delete", "queue", "name=imported")
        assert "Exported" in admin("-V", "other", "export", str(file))
        assert json.loads(file.read_text())["queues"] == []
        assert "Uploaded" in admin("-V", "other", "import", str(file))

    def test_close_connection(self, broker: Leveret, admin: Run) -> None:
        parameters = pika.URLParameters(broker.url)
        parameters.client_properties = {"connection_name": "to be closed"}
        connection = pika.BlockingConnection(parameters)
        columns = ("name", "user_provided_name")
        [name] = [
            each["name"]
            for each in rows(admin, "list", "connections", *columns)
            if each["user_provided_name"] == "to be closed"
        ]
        assert admin("close", "connection", f"name={name}") == "connection closed\n"
        with pytest.raises(pika.exceptions.ConnectionClosed, match="management plugin"):
            connection.process_data_events(TIMEOUT_S)
        assert name not in admin("-f", "tsv", "list", "connections", "name")

    def test_errors_are_told(self, admin: Run) -> None:
        told = admin("declare", "queue", "name=q", "durable=false", fails=True)
        assert "inequivalent arg 'durable' for queue 'q' in vhost '/'" in told
        assert "Access refused" in admin("-u", "u", "-p", "wrong", "list", "queues", fails=True)
        assert "not_found" in admin("delete", "queue", "name=none", fails=True).lower().replace(
            " ", "_"
        )
