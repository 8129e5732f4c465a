"""The commands of docs/moving.md, run as they are written there."""

import json
import os
import shlex
import signal
import subprocess
from pathlib import Path
from typing import Any

import pika
import pytest

from leveret.commands.client import Client
from tests.support.brokers import (
    HOST,
    RabbitMQ,
    leveret_command,
    rabbitmq_available,
    wait_until,
)

PAGE = Path(__file__).parents[2] / "docs" / "moving.md"
RABBITMQCTL = Path("/usr/lib/rabbitmq/bin/rabbitmqctl")
TIMEOUT_S = 120.0
SHELL = "/bin/sh"

pytestmark = pytest.mark.skipif(
    not (rabbitmq_available() and RABBITMQCTL.exists() and PAGE.exists()),
    reason="rabbitmq-server or the documentation is not installed",
)

DEFINITIONS: dict[str, Any] = {
    "users": [
        {
            "name": "ann",
            "password_hash": "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR",
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": "administrator",
        }
    ],
    "vhosts": [{"name": "shop"}],
    "permissions": [
        {"user": "ann", "vhost": "shop", "configure": ".*", "write": ".*", "read": ".*"}
    ],
    "policies": [
        {
            "vhost": "shop",
            "name": "bounded",
            "pattern": "^orders",
            "apply-to": "queues",
            "definition": {"max-length": 2},
            "priority": 0,
        }
    ],
    "queues": [
        {
            "name": name,
            "vhost": "shop",
            "durable": True,
            "auto_delete": False,
            "arguments": {"x-queue-type": kind},
        }
        for name, kind in (("orders", "classic"), ("invoices", "quorum"))
    ],
    "exchanges": [],
    "bindings": [
        {
            "source": "amq.topic",
            "vhost": "shop",
            "destination": name,
            "destination_type": "queue",
            "routing_key": "#",
            "arguments": {},
        }
        for name in ("orders", "invoices")
    ],
}
"""What the old broker has. Ann's password is test12, whose hash RabbitMQ's documentation has."""


def commands() -> list[str]:
    """The first block of commands of the page."""
    lines = PAGE.read_text().splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith("    "))
    block = lines[first:]
    return [line.strip() for line in block[: block.index("")]]


def script(path: Path, command: list[str], environment: dict[str, str]) -> None:
    """A program of a name that a command line uses, for a broker of this test."""
    exports = "".join(
        f"export {name}={shlex.quote(value)}\n"
        for name, value in environment.items()
        if os.environ.get(name) != value
    )
    path.write_text(f'#!{SHELL}\n{exports}exec {shlex.join(command)} "$@"\n')
    path.chmod(0o755)


def test_three_commands_move_a_broker(tmp_path: Path) -> None:
    export, convert, serve = commands()
    programs, place = tmp_path / "bin", tmp_path / "place"
    programs.mkdir()
    place.mkdir()
    variables = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}

    def run(command: str) -> None:
        subprocess.run(
            [SHELL, "-c", command],
            cwd=place,
            env=variables,
            timeout=TIMEOUT_S,
            stdout=subprocess.DEVNULL,
            check=True,
        )

    script(programs / "leveret", *leveret_command())
    with RabbitMQ() as old:
        script(programs / "rabbitmqctl", [str(RABBITMQCTL)], old.environment)
        (place / "old.json").write_text(json.dumps(DEFINITIONS))
        run("rabbitmqctl import_definitions old.json")
        (place / "rabbitmq.conf").write_text((old.directory / "rabbitmq.conf").read_text())
        port = old.port
        run(export)
    run(convert)

    output = tmp_path / "leveret.log"
    with output.open("wb") as sink:
        process = subprocess.Popen(
            [SHELL, "-c", f"exec env {serve}"], cwd=place, env=variables, stderr=sink
        )
    try:
        wait_until(lambda: "leveret ready" in output.read_text(), TIMEOUT_S, "the ready line")
        credentials = pika.PlainCredentials("ann", "test12")
        parameters = pika.ConnectionParameters(HOST, port, "shop", credentials)
        with pika.BlockingConnection(parameters) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            for _ in range(3):
                channel.basic_publish("amq.topic", "any", b"message")
            for name, count in (("orders", 2), ("invoices", 3)):
                assert channel.queue_declare(name, passive=True).method.message_count == count
        client = Client(place / "data")
        assert {each["name"] for each in client.get("users")} == {"ann", "guest"}
        assert client.get("queues", "shop", "orders")["policy"] == "bounded"
        assert client.get("queues", "shop", "invoices")["type"] == "quorum"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT_S)
