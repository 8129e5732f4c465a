"""The audit log: who has changed what, from where; and no secret, there or anywhere else."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pika
import pytest
from pika.exceptions import ProbableAuthenticationError

from leveret.commands.client import Client
from tests.support.brokers import HOST, Leveret

TIMEOUT_S = 120.0

SECRETS = (
    "secret-of-the-start",
    "secret-of-a-variable",
    "secret-of-a-file",
    "secret-of-the-definitions",
    "secret-of-a-uri",
    "secret-of-a-key",
    "secret-of-a-user",
    "secret-that-is-new",
    "secret-that-is-wrong",
    "secret-of-a-refused-file",
)


class Place:
    """A broker that logs everything as JSON, and what its commands print."""

    def __init__(self, broker: Leveret, file: Path, variables: dict[str, str]) -> None:
        self.broker = broker
        self.file = file
        self.variables = variables
        self.printed = ""

    def run(self, *arguments: str, stdin: str = "") -> int:
        ended = subprocess.run(
            [sys.executable, "-m", "leveret", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        self.printed += ended.stdout + ended.stderr
        return ended.returncode

    def command(self, *arguments: str, stdin: str = "") -> int:
        return self.run(*arguments, "--data-dir", str(self.broker.data_dir), stdin=stdin)

    def events(self) -> list[dict[str, Any]]:
        """The audit log."""
        lines = [line for line in self.broker.log_text().splitlines() if line.startswith("{")]
        found = [json.loads(line) for line in lines]
        return [each for each in found if each.get("event") == "audit"]

    def connect(self, password: str) -> pika.BlockingConnection:
        credentials = pika.PlainCredentials("guest", password)
        return pika.BlockingConnection(
            pika.ConnectionParameters(HOST, self.broker.port, "/", credentials)
        )


def definitions(secret_file: Path) -> dict[str, Any]:
    uris = {"uri": ["amqp://ann:secret-of-a-uri@host", "amqps://h"], "prefetch": 5}
    return {
        "users": [
            {"name": "ann", "password": SECRETS[3]},
            {"name": "bob", "password_env": "BOB"},
            {"name": "eve", "password_file": str(secret_file)},
        ],
        "vhosts": [{"name": "/"}],
        "parameters": [
            {"vhost": "/", "component": "federation-upstream", "name": "up", "value": uris}
        ],
        "global_parameters": [{"name": "api_token", "value": "secret-of-a-key"}],
        "queues": [{"vhost": "/", "name": "q"}],
    }


@pytest.fixture
def place(tmp_path: Path) -> Any:
    secret, file = tmp_path / "secret", tmp_path / "definitions.json"
    secret.write_text("secret-of-a-file\n")
    file.write_text(json.dumps(definitions(secret)))
    variables = {
        "LEVERET_DEFINITIONS_FILE": str(file),
        "LEVERET_AUTH_DEFAULT_PASS": "secret-of-the-start",
        "LEVERET_LOG_LEVEL": "debug",
        "LEVERET_LOG_FORMAT": "json",
        "BOB": "secret-of-a-variable",
    }
    with Leveret(env=variables) as broker:
        yield Place(broker, file, variables)


def test_every_change_says_who_made_it_and_from_where(place: Place) -> None:
    with place.connect("secret-of-the-start") as connection:
        channel = connection.channel()
        channel.exchange_declare("x")
        channel.queue_declare("mine")
        channel.queue_declare("mine")
        channel.queue_bind("mine", "x", "key")
        channel.exchange_bind("x", "amq.topic", "#")
        channel.queue_unbind("mine", "x", "key")
        channel.exchange_unbind("x", "amq.topic", "#")
        channel.queue_delete("mine")
        channel.exchange_delete("x")
    client = Client(place.broker.data_dir)
    client.put("queues", "/", "theirs", body={"durable": True})
    client.post("bindings", "/", "e", "amq.direct", "q", "theirs", body={"routing_key": "k"})
    client.put("users", "new", body={"password": "secret-that-is-new", "tags": ""})
    client.delete("users", "new")
    client.delete("queues", "/", "theirs")

    events = place.events()
    at_start = [each for each in events if each["who"] == "definitions.file"]
    assert {each["origin"] for each in at_start} == {str(place.file)}
    assert {each["level"] for each in at_start} == {"info"}
    assert at_start[-1]["what"] == "definitions imported"
    assert (at_start[-1]["users"], at_start[-1]["queues"]) == (3, 1)
    assert sum(each["what"] == "user set" for each in at_start) == 3

    by_client = [each for each in events if each["who"] == "guest"]
    assert [each["what"] for each in by_client] == [
        "exchange declared",
        "queue declared",
        "queue bound",
        "exchange bound",
        "queue unbound",
        "exchange unbound",
        "queue deleted",
        "exchange deleted",
    ]
    assert {each["level"] for each in by_client} == {"debug"}
    assert all(each["peer"].startswith(HOST) and each["vhost"] == "/" for each in by_client)
    assert by_client[2]["source"] == "x"
    assert by_client[2]["destination"] == "mine"
    assert by_client[2]["routing_key"] == "key"

    by_operator = [each for each in events if each.get("origin") == "control socket"]
    assert [each["what"] for each in by_operator] == [
        "queue declared",
        "binding added",
        "user set",
        "user deleted",
        "queue deleted",
    ]
    assert {each["level"] for each in by_operator} == {"info"}
    assert all(each["who"] for each in by_operator)


def test_no_secret_is_in_a_log_an_error_or_the_configuration(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in place.variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ProbableAuthenticationError):
        place.connect("secret-that-is-wrong")
    assert place.command("user", "add", "new", stdin="secret-of-a-user\n") == 0
    assert place.command("user", "add", "new", stdin="secret-of-a-user\n") == 1
    assert place.command("user", "password", "new", stdin="secret-that-is-new\n") == 0
    value = json.dumps({"dest-uri": "amqp://u:secret-of-a-uri@h/v", "password": "secret-of-a-key"})
    assert place.command("parameter", "set", "shovel", "drain", value) == 0
    refused = definitions(tmp_path / "nowhere")
    refused["users"][0]["password"] = "secret-of-a-refused-file"
    refused["parameters"][0]["component"] = "operator_policy"
    (tmp_path / "refused.json").write_text(json.dumps(refused))
    assert place.command("definitions", "import", str(tmp_path / "refused.json")) == 1
    refused["users"][0] |= {"name": 5}
    (tmp_path / "refused.json").write_text(json.dumps(refused))
    assert place.command("definitions", "import", str(tmp_path / "refused.json")) == 1
    assert place.run("config", "show") == 0
    assert place.run("config", "check") == 0
    users = Client(place.broker.data_dir).get("definitions")["users"]
    hashes = [each["password_hash"] for each in users]
    assert len(hashes) == 5

    log = place.broker.log_text()
    for secret in (*SECRETS, *hashes):
        assert secret not in log
        assert secret not in place.printed
    assert "amqp://ann:***@host" in log
