"""The definitions file of the configuration: imported at the start, before a client can log in."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pika
import pytest
from pika.exceptions import ProbableAuthenticationError

from leveret.commands.client import Client
from tests.support.brokers import HOST, Leveret, leveret_command

TIMEOUT_S = 120.0
VARIABLE = "LEVERET_DEFINITIONS_FILE"


def definitions(*queues: str, **user: str) -> dict[str, Any]:
    """A file with the user ann and queues of the virtual host shop."""
    return {
        "users": [{"name": "ann", "tags": "administrator", **user}],
        "vhosts": [{"name": "shop"}],
        "permissions": [
            {"user": "ann", "vhost": "shop", "configure": ".*", "write": ".*", "read": ".*"}
        ],
        "queues": [{"name": name, "vhost": "shop"} for name in queues],
    }


def log_in(broker: Leveret, user: str, password: str, vhost: str = "shop") -> None:
    """Open a connection and close it again."""
    credentials = pika.PlainCredentials(user, password)
    pika.BlockingConnection(
        pika.ConnectionParameters(HOST, broker.port, vhost, credentials)
    ).close()


def queues(broker: Leveret) -> list[str]:
    return sorted(each["name"] for each in Client(broker.data_dir).get("queues"))


def test_a_file_is_imported_once(tmp_path: Path) -> None:
    file, data = tmp_path / "definitions.json", tmp_path / "data"
    file.write_text(json.dumps(definitions("one", "two", password_env="ANN")))
    variables = {"RABBITMQ_LOAD_DEFINITIONS": str(file), "ANN": "first secret"}
    with Leveret(data_dir=data, env=variables) as broker:
        log_in(broker, "ann", "first secret")
        with pytest.raises(ProbableAuthenticationError):
            log_in(broker, "guest", "guest", "/")
        assert queues(broker) == ["one", "two"]
        line = next(
            each for each in broker.log_text().splitlines() if "definitions imported" in each
        )
        for told in (str(file), "queues=2", "nothing is deleted"):
            assert told in line
        assert broker.log_text().index(line) < broker.log_text().index("leveret ready")
        assert "first secret" not in broker.log_text()
        Client(broker.data_dir).delete("queues", "shop", "two")
    variables["ANN"] = "second secret"
    with Leveret(data_dir=data, env=variables) as broker:
        assert queues(broker) == ["one"]
        log_in(broker, "ann", "second secret")
        assert "definitions not imported: the file is unchanged" in broker.log_text()
    file.write_text(json.dumps(definitions("two", password_env="ANN")))
    with Leveret(data_dir=data, env=variables) as broker:
        assert queues(broker) == ["one", "two"]


def test_the_user_of_the_configuration_stays(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("ann's secret\n")
    file = tmp_path / "definitions.json"
    file.write_text(json.dumps(definitions(password_file=str(secret))))
    variables = {VARIABLE: str(file), "RABBITMQ_DEFAULT_PASS": "mine"}
    with Leveret(env=variables) as broker:
        log_in(broker, "guest", "mine", "/")
        log_in(broker, "ann", "ann's secret")
    with Leveret("--memory", env=variables) as broker:
        log_in(broker, "ann", "ann's secret")


def test_a_wrong_file_ends_the_start_with_one_line_and_changes_nothing(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "definitions.json"
    wrong = definitions("one", password="pw")
    wrong["queues"].append({"name": "odd", "vhost": "shop", "arguments": {"x-expires": 0}})
    for text, named in (
        (json.dumps(wrong), "queues[1] ('odd'): "),
        (json.dumps({"users": [{"tags": ""}]}), "`$.users[0]`"),
        ("{", "truncated"),
        (None, "no such file or directory"),
    ):
        file.unlink(missing_ok=True)
        if text is not None:
            file.write_text(text)
        command, environment = leveret_command()
        ended = subprocess.run(
            [*command, "serve", "--listen", f"{HOST}:0", "--data-dir", str(data)],
            env={**environment, VARIABLE: str(file)},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert ended.returncode == 2
        lines = [line for line in ended.stderr.splitlines() if "definitions" in line]
        assert len(lines) == 1
        assert f"definitions.file: {file}: " in lines[0]
        assert named in lines[0]
    with Leveret(data_dir=data) as broker:
        client = Client(broker.data_dir)
        assert [each["name"] for each in client.get("users")] == ["guest"]
        assert [each["name"] for each in client.get("vhosts")] == ["/"]
