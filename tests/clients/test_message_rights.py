"""What operators do to messages needs the rights of clients: to read the source, and to write to
the target."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.parity.http.client import Api
from tests.support.brokers import Leveret

READ_OWN = {"configure": "", "read": "^(own|dead)$", "write": "^(own|logs)$"}


@pytest.fixture(scope="module")
def admin() -> Iterator[Api]:
    with Leveret("--memory", management=True) as broker:
        api = Api(broker.host, broker.management_port)
        made: list[tuple[str, dict[str, Any]]] = [
            ("/api/users/ann", {"password": "ann", "tags": "management"}),
            ("/api/users/bob", {"password": "bob", "tags": "management"}),
            ("/api/permissions/%2F/ann", READ_OWN),
            ("/api/exchanges/%2F/logs", {"type": "fanout"}),
            ("/api/queues/%2F/own", {}),
            ("/api/queues/%2F/other", {}),
            ("/api/queues/%2F/dead", {}),
        ]
        for name in ("own", "other"):
            arguments = {
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": "dead",
                "x-max-length": 0,
            }
            made.append((f"/api/queues/%2F/dying-{name}", {"arguments": arguments}))
        for path, given in made:
            assert api.ask("PUT", path, given).status in (201, 204), path
        yield api


def ask(admin: Api, user: str, name: str, what: str, given: dict[str, Any]) -> int:
    """The status of a request of a user."""
    api = Api(admin.host, admin.port, user=user, password=user)
    return api.ask("POST", f"/api/queues/%2F/{name}/{what}", given).status


@pytest.mark.parametrize(
    ("queue", "what", "given", "allowed"),
    [
        ("own", "peek", {}, True),
        ("other", "peek", {}, False),
        ("other", "discard", {"positions": []}, False),
        ("own", "discard", {"positions": []}, True),
        ("own", "move", {"queue": "other"}, False),
        ("other", "move", {"queue": "own"}, False),
        ("dead", "move", {"queue": "own"}, True),
        ("dead", "copy", {"exchange": "logs"}, True),
        ("dead", "copy", {"exchange": "amq.topic"}, False),
        ("dead", "copy", {"exchange": "amq.default", "routing_key": "other"}, False),
        ("other", "replay", {}, False),
    ],
)
def test_a_user_needs_the_right(
    admin: Api, queue: str, what: str, given: dict[str, Any], allowed: bool
) -> None:
    status = ask(admin, "ann", queue, what, given)
    assert (status == 200) == allowed
    assert allowed or status in (400, 401, 403)


def test_without_rights_in_the_virtual_host_nothing_is_shown(admin: Api) -> None:
    assert ask(admin, "bob", "own", "peek", {}) == 401
    bob = Api(admin.host, admin.port, user="bob", password="bob")
    assert bob.ask("GET", "/api/queues/%2F/own/diagnosis").status == 401
    assert bob.ask("GET", "/api/diagnosis").value == []
    assert bob.ask("POST", "/api/exchanges/%2F/logs/route", {}).status == 401


def test_a_dead_letter_is_not_replayed_to_where_its_user_may_not_write(admin: Api) -> None:
    for name in ("other", "own"):
        publish: dict[str, Any] = {
            "routing_key": f"dying-{name}",
            "payload": name,
            "properties": {},
        }
        assert admin.ask("POST", "/api/exchanges/%2F/amq.default/publish", publish).status == 200
    ann = Api(admin.host, admin.port, user="ann", password="ann")
    answer = ann.ask("POST", "/api/queues/%2F/dead/replay", {})
    assert (answer.value["replayed"], answer.value["refused_queue"]) == (0, "dying-other")


def test_only_an_administrator_cancels_consumers(admin: Api) -> None:
    ann = Api(admin.host, admin.port, user="ann", password="ann")
    assert ann.ask("DELETE", "/api/consumers/%2F/a%20-%3E%20b/1/tag").status == 401
    assert admin.ask("DELETE", "/api/consumers/%2F/a%20-%3E%20b/1/tag").status == 404
