"""Health checks of the HTTP API: answers as RabbitMQ gives them, to somebody who monitors it."""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.support.brokers import Leveret
from tests.support.control_http import request

OK = (200, {"status": "ok"})
NODE = f"leveret@{socket.gethostname()}"
CERTIFICATE_DAYS = 20


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("certificate") / "server.pem"
    expires = datetime.now(UTC) + timedelta(days=CERTIFICATE_DAYS)
    issued = trustme.CA().issue_cert("localhost", not_after=expires)
    issued.private_key_and_cert_chain_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="module")
def broker(certificate: Path) -> Iterator[Leveret]:
    tls = {"LEVERET_TLS_LISTEN": "127.0.0.1:0", "LEVERET_TLS_CERTFILE": str(certificate)}
    with Leveret(env=tls) as started:
        yield started


def ask(broker: Leveret, path: str) -> tuple[int, Any]:
    answer = request(broker, f"/api/{path}")
    return answer.status, answer.json


@pytest.mark.parametrize(
    "path",
    [
        "health/checks/alarms",
        "health/checks/local-alarms",
        "health/checks/virtual-hosts",
        "health/checks/is-in-service",
        "health/checks/certificate-expiration/1/weeks",
        "healthchecks/node",
        f"healthchecks/node/{NODE}",
        "aliveness-test/%2F",
    ],
)
def test_a_broker_that_is_well_says_so(broker: Leveret, path: str) -> None:
    assert ask(broker, path) == OK


@pytest.mark.parametrize("check", ["node-is-mirror-sync-critical", "node-is-quorum-critical"])
def test_one_node_is_never_critical_for_others(broker: Leveret, check: str) -> None:
    said = {"status": "ok", "reason": "single node cluster"}
    assert ask(broker, f"health/checks/{check}") == (200, said)


@pytest.mark.parametrize("check", ["below-node-connection-limit", "ready-to-serve-clients"])
def test_the_connection_limit_is_shown(broker: Leveret, check: str) -> None:
    status, said = ask(broker, f"health/checks/{check}")
    assert (status, said["status"]) == (200, "ok")
    assert said["current"] < said["limit"]


def test_a_certificate_that_expires_is_named(broker: Leveret, certificate: Path) -> None:
    status, said = ask(broker, "health/checks/certificate-expiration/1/months")
    assert (status, said["status"], said["reason"]) == (503, "failed", "Certificates expiring")
    (expiring,) = said["expired"]
    assert (expiring["node"], expiring["certfile"]) == (NODE, str(certificate))
    expires = datetime.fromisoformat(f"{expiring['certfile_expires_on']}+00:00")
    assert abs(expires - datetime.now(UTC) - timedelta(days=CERTIFICATE_DAYS)) < timedelta(days=1)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("certificate-expiration/x/months", "Invalid expiration value."),
        (
            "certificate-expiration/1/fortnights",
            "Time unit not recognised. Supported units: days, weeks, months, years.",
        ),
        ("port-listener/x", "Invalid port"),
    ],
)
def test_a_wrong_question_is_refused(broker: Leveret, path: str, reason: str) -> None:
    said = {"error": "bad_request", "reason": reason}
    assert ask(broker, f"health/checks/{path}") == (400, said)


def test_a_listener_is_found_by_its_port(broker: Leveret) -> None:
    said = {"status": "ok", "port": broker.port}
    assert ask(broker, f"health/checks/port-listener/{broker.port}") == (200, said)
    status, said = ask(broker, "health/checks/port-listener/1")
    assert (status, said["reason"], said["missing"]) == (503, "No active listener", 1)
    assert broker.port in said["ports"]


@pytest.mark.parametrize(
    ("asked", "protocol"),
    [
        ("amqp", "amqp"),
        ("AMQP091", "amqp"),
        ("amqp0-9-1", "amqp"),
        ("amqps", "amqp/ssl"),
        ("amqp%2Fssl", "amqp/ssl"),
    ],
)
def test_a_listener_is_found_by_its_protocol(broker: Leveret, asked: str, protocol: str) -> None:
    said = {"status": "ok", "protocol": protocol}
    assert ask(broker, f"health/checks/protocol-listener/{asked}") == (200, said)


def test_a_protocol_without_a_listener_is_missing(broker: Leveret) -> None:
    status, said = ask(broker, "health/checks/protocol-listener/mqtt")
    assert (status, said["reason"], said["missing"]) == (503, "No active listener", "mqtt")
    assert {"amqp", "amqp/ssl"} <= set(said["protocols"])


@pytest.mark.parametrize("path", ["healthchecks/node/none", "aliveness-test/none"])
def test_what_does_not_exist_is_not_found(broker: Leveret, path: str) -> None:
    assert ask(broker, path)[0] == 404


def test_an_alarm_fails_the_checks_of_alarms_only() -> None:
    with Leveret(env={"LEVERET_MEMORY_LIMIT": "1MB"}) as broker:
        alarms = [{"node": NODE, "resource": "memory"}]
        for check, where in (("alarms", "in the cluster"), ("local-alarms", "on the node")):
            assert ask(broker, f"health/checks/{check}") == (
                503,
                {
                    "status": "failed",
                    "reason": f"There are alarms in effect {where}",
                    "alarms": alarms,
                },
            )
        status, said = ask(broker, "healthchecks/node")
        assert (status, said["status"]) == (503, "failed")
        assert f"{{resource_limit,memory,'{NODE}'}}" in said["reason"]
        assert ask(broker, "aliveness-test/%2F") == OK
        assert ask(broker, "health/checks/is-in-service") == OK
