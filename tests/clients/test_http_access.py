"""Every resource of the HTTP API, Leveret's own too, asked by those whom it does not let in.

What RabbitMQ's resources answer to everybody else is compared in tests/parity/http.
"""

import re
from collections.abc import Iterator

import pytest

from leveret.management.application import ROUTES
from leveret.management.authorisation import Access
from leveret.management.http import Resource
from tests.parity.http.client import Api
from tests.support.brokers import HOST, Leveret

Asked = tuple[str, str, Access]

TAGS = {"untagged": "", "manager": "management", "maker": "policymaker", "monitor": "monitoring"}
"""Users without permissions, by name, and their tags."""

REFUSED = {
    Access.USER: ("untagged",),
    Access.VISIBLE: ("untagged",),
    Access.VHOST: ("untagged", "manager", "maker", "monitor"),
    Access.POLICYMAKER: ("untagged", "manager", "monitor"),
    Access.MONITORED: ("untagged",),
    Access.MONITORING: ("untagged", "manager", "maker"),
    Access.ADMINISTRATOR: ("untagged", "manager", "maker", "monitor"),
}
"""Who is refused, whatever is in the path, by what a resource needs."""


def asked() -> list[Asked]:
    """Every resource: method, path and what it needs."""
    return [
        (method, re.sub(r"\{vhost\}", "%2F", re.sub(r"\{(?!vhost)[^}]+\}", "1", each.path)), access)
        for each in ROUTES
        if isinstance(each, Resource)
        for method, access in each.access.items()
    ]


@pytest.fixture(scope="module")
def broker() -> Iterator[Leveret]:
    with Leveret(management=True) as running:
        api = Api(HOST, running.management_port)
        for name, tags in TAGS.items():
            api.ask("PUT", f"/api/users/{name}", {"password": name, "tags": tags})
        yield running


def test_there_is_a_way_in_for_each_kind_of_access() -> None:
    needed = {access for _, _, access in asked()}
    assert needed == {*REFUSED, Access.ANYBODY}


def test_whoever_is_not_let_in_is_refused(broker: Leveret) -> None:
    let_in = [
        f"{method} {path} by {user}: {status}"
        for method, path, access in asked()
        if access is not Access.ANYBODY
        for user in ("", *REFUSED[access])
        if (status := _status(broker, method, path, user)) != 401
    ]
    assert not let_in, "\n".join(let_in)


def _status(broker: Leveret, method: str, path: str, user: str) -> int:
    api = Api(HOST, broker.management_port, user or None, user)
    return api.ask(method, path, None if method in ("GET", "DELETE") else dict[str, str]()).status
