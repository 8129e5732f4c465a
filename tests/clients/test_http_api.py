"""The HTTP API over TCP: who may come in, sessions, lists, and what is sent as it changes."""

import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import msgspec
import pika
import pytest
import trustme

from leveret.descriptors import MANAGEMENT_MAX
from leveret.engine.access.login_failures import FIRST_DELAY_S, FREE_FAILURES
from leveret.management.api.openapi import operations
from leveret.management.application import ROUTES
from leveret.management.description import ListOf, description_of
from tests.parity.http.client import Answer, Api
from tests.support.brokers import Leveret

PAGE = {"X-Requested-With": "leveret"}
TIMEOUT_S = 60.0


POLICY = {"pattern": "^none$", "definition": {"max-length": 1}}

ONE_OF_EACH: dict[str, object] = {
    "users/nobody": {"password": "x", "tags": ""},
    "policies/%2F/short": POLICY,
    "operator-policies/%2F/short": POLICY,
    "vhost-limits/%2F/max-queues": {"value": 100_000},
    "user-limits/guest/max-connections": {"value": 1000},
    "topic-permissions/%2F/guest": {"exchange": "amq.topic", "write": ".*", "read": ".*"},
    "parameters/shovel/%2F/none": {"value": {"src-uri": "amqp://", "dest-uri": "amqp://"}},
    "global-parameters/none": {"value": 1},
}


@pytest.fixture(scope="module")
def broker() -> Iterator[Leveret]:
    with Leveret("--memory", management=True) as leveret:
        yield leveret


@pytest.fixture(scope="module")
def api(broker: Leveret) -> Api:
    api = Api(broker.host, broker.management_port)
    for path, value in ONE_OF_EACH.items():
        assert api.ask("PUT", f"/api/{path}", value).status in (201, 204), path
    for name in ("b", "a", "c"):
        assert api.ask("PUT", f"/api/queues/%2F/list-{name}", {}).status == 201
    for _ in range(3):
        publish = {"routing_key": "list-b", "payload": "x", "properties": {}}
        assert api.ask("POST", "/api/exchanges/%2F/amq.default/publish", publish).status == 200
    return api


def names(answer: Answer) -> list[str]:
    found = answer.value
    return [each["name"] for each in (found["items"] if isinstance(found, dict) else found)]


class TestLogin:
    def test_without_one_nothing_is_shown(self, api: Api) -> None:
        answer = Api(api.host, api.port, user=None).ask("GET", "/api/queues")
        assert answer.status == 401
        assert answer.value["error"] == "not_authorized"
        assert answer.headers["www-authenticate"].startswith("Basic realm=")

    def test_a_wrong_password_is_logged_and_refused(self, api: Api, broker: Leveret) -> None:
        answer = Api(api.host, api.port, password="wrong").ask("GET", "/api/queues")
        assert (answer.status, answer.value["reason"]) == (401, "Login failed")
        assert "login to the HTTP API failed" in broker.log_text()
        assert "wrong" not in broker.log_text()

    @pytest.mark.parametrize("credentials", ["Basic", "Basic !", "Basic /w==", "Bearer x"])
    def test_what_is_no_login_is_refused(self, api: Api, credentials: str) -> None:
        anybody = Api(api.host, api.port, user=None)
        answer = anybody.ask("GET", "/api/whoami", headers={"Authorization": credentials})
        assert answer.status == 401

    @pytest.mark.parametrize("headers", [PAGE, {"Accept": "text/event-stream"}])
    def test_the_page_is_not_asked_by_the_browser(self, api: Api, headers: dict[str, str]) -> None:
        answer = Api(api.host, api.port, user=None).ask("GET", "/api/whoami", headers=headers)
        assert answer.status == 401
        assert "www-authenticate" not in answer.headers

    def test_who_guesses_is_answered_late(self, api: Api) -> None:
        """From an address of its own, so that the other tests are not answered late."""
        guess = {"Authorization": "Basic Z3Vlc3Q6eA=="}
        connection = http.client.HTTPConnection(
            api.host, api.port, timeout=TIMEOUT_S, source_address=("127.0.0.2", 0)
        )
        with closing(connection):
            for failures in range(FREE_FAILURES + 1):
                begun = time.monotonic()
                connection.request("GET", "/api/whoami", headers=guess)
                response = connection.getresponse()
                response.read()
                assert response.status == 401
                assert failures < FREE_FAILURES or time.monotonic() - begun >= FIRST_DELAY_S

    def test_a_page_of_another_site_changes_nothing(self, api: Api) -> None:
        path = "/api/queues/%2F/from-elsewhere"
        elsewhere = {"Origin": "http://elsewhere.example"}
        assert api.ask("PUT", path, {}, headers=elsewhere).status == 403
        assert api.ask("GET", path).status == 404
        own = {"Origin": f"http://{api.host}:{api.port}"}
        assert api.ask("PUT", path, {}, headers=own).status == 201
        assert api.ask("DELETE", path, headers=elsewhere | PAGE).status == 204


class TestSession:
    def log_in(self, api: Api, password: str = "guest") -> Answer:
        who = {"username": "guest", "password": password}
        return Api(api.host, api.port, user=None).ask("POST", "/api/session", who, headers=PAGE)

    def cookie(self, api: Api) -> dict[str, str]:
        begun = self.log_in(api)
        assert begun.status == 200
        cookie = begun.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        return {"Cookie": cookie.partition(";")[0]}

    def test_a_cookie_stands_for_the_password(self, api: Api) -> None:
        anybody, cookie = Api(api.host, api.port, user=None), self.cookie(api)
        assert anybody.ask("GET", "/api/whoami", headers=cookie).value["name"] == "guest"

    def test_a_change_needs_the_header_that_no_other_site_sends(self, api: Api) -> None:
        anybody, cookie = Api(api.host, api.port, user=None), self.cookie(api)
        path = "/api/queues/%2F/by-session"
        assert anybody.ask("PUT", path, {}, headers=cookie).status == 403
        assert anybody.ask("PUT", path, {}, headers=cookie | PAGE).status == 201
        assert anybody.ask("DELETE", path, headers=cookie | PAGE).status == 204

    def test_another_site_cannot_begin_one(self, api: Api) -> None:
        who = {"username": "guest", "password": "guest"}
        assert Api(api.host, api.port, user=None).ask("POST", "/api/session", who).status == 403

    def test_it_ends(self, api: Api) -> None:
        anybody, cookie = Api(api.host, api.port, user=None), self.cookie(api)
        assert anybody.ask("DELETE", "/api/session", headers=cookie | PAGE).status == 204
        assert anybody.ask("GET", "/api/whoami", headers=cookie).status == 401

    def test_it_ends_with_the_password(self, api: Api) -> None:
        def set_password(password: str) -> None:
            user = {"password": password, "tags": "management"}
            assert api.ask("PUT", "/api/users/visitor", user).status in (201, 204)

        set_password("first")
        anybody = Api(api.host, api.port, user=None)
        who = {"username": "visitor", "password": "first"}
        begun = anybody.ask("POST", "/api/session", who, headers=PAGE)
        cookie = {"Cookie": begun.headers["set-cookie"].partition(";")[0]}
        assert anybody.ask("GET", "/api/whoami", headers=cookie).status == 200
        set_password("second")
        assert anybody.ask("GET", "/api/whoami", headers=cookie).status == 401

    def test_a_wrong_password_begins_none(self, api: Api) -> None:
        refused = self.log_in(api, "wrong")
        assert refused.status == 401
        assert "set-cookie" not in refused.headers


class TestList:
    def test_a_page_says_how_many_there_are(self, api: Api) -> None:
        path = "/api/queues?page=2&page_size=2&name=list-&columns=name"
        assert api.ask("GET", path).value == {
            "total_count": 3,
            "item_count": 1,
            "filtered_count": 3,
            "page": 2,
            "page_size": 2,
            "page_count": 2,
            "items": [{"name": "list-c"}],
        }

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("sort=name", ["list-a", "list-b", "list-c"]),
            ("sort=name&sort_reverse=true", ["list-c", "list-b", "list-a"]),
            ("sort=messages_ready&sort_reverse=true", ["list-b", "list-a", "list-c"]),
            ("name=LIST-A", ["list-a"]),
            ("name=[ab]$&use_regex=true&sort=name", ["list-a", "list-b"]),
            ("filter=ready%3E1", ["list-b"]),
            ("filter=ready=0+name~c", ["list-c"]),
            ("filter=durable=true+name!=list-a&sort=name", ["list-b", "list-c"]),
        ],
    )
    def test_it_is_filtered_and_sorted(self, api: Api, query: str, found: list[str]) -> None:
        assert names(api.ask("GET", f"/api/queues/%2F?{query}")) == found

    @pytest.mark.parametrize(
        ("query", "error"),
        [
            ("page=9", "page_out_of_range"),
            ("page=x", "bad_request"),
            ("page=1&page_size=501", "invalid_pagination_parameters"),
            ("name=(&use_regex=true", "bad_request"),
            ("filter=nothing=1", "bad_request"),
            ("filter=ready%3Emany", "bad_request"),
            ("filter=%22", "bad_request"),
        ],
    )
    def test_what_cannot_be_understood_is_said(self, api: Api, query: str, error: str) -> None:
        answer = api.ask("GET", f"/api/queues?{query}")
        assert (answer.status, answer.value["error"]) == (400, error)

    def test_a_pattern_that_takes_too_long_is_refused(self, api: Api) -> None:
        assert api.ask("PUT", f"/api/queues/%2F/{'a' * 60}!", {}).status == 201
        answer = api.ask("GET", "/api/queues?use_regex=true&name=(a|aa)%2B%24")
        assert answer.status == 400
        assert "takes too long" in answer.value["reason"]
        assert api.ask("DELETE", f"/api/queues/%2F/{'a' * 60}!").status == 204

    def test_what_has_not_changed_is_not_sent_again(self, api: Api) -> None:
        first = api.ask("GET", "/api/exchanges?page=1")
        again = {"If-None-Match": first.headers["etag"]}
        answer = api.ask("GET", "/api/exchanges?page=1", headers=again)
        assert (answer.status, answer.body) == (304, b"")
        assert api.ask("GET", "/api/exchanges?page=1&sort=type", headers=again).status == 200

    def test_a_slash_at_the_end_means_nothing(self, api: Api) -> None:
        assert names(api.ask("GET", "/api/queues/%2F/?filter=ready%3E1")) == ["list-b"]

    def test_a_long_list_is_sent_in_pieces(self, api: Api) -> None:
        count = 1500
        queue = {"durable": True, "auto_delete": False, "arguments": {"x": "y" * 600}}
        queues = [{"name": f"many-{number:04}", **queue} for number in range(count)]
        assert api.ask("PUT", "/api/vhosts/many").status == 201
        assert api.ask("POST", "/api/definitions/many", {"queues": queues}).status < 300
        answer = api.ask("GET", "/api/queues?filter=name~many-")
        assert len(names(answer)) == count
        assert "etag" not in answer.headers
        assert api.ask("DELETE", "/api/vhosts/many").status == 204


LISTS = {
    operation.path: known.gives.columns.schema
    for operation in operations(ROUTES)
    if operation.method == "GET" and "{" not in operation.path
    if (known := description_of(operation.endpoint)) is not None
    if isinstance(known.gives, ListOf)
}
"""The type of the elements, by path."""


@pytest.mark.parametrize(("path", "element"), LISTS.items())
def test_a_list_has_its_schema(broker: Leveret, api: Api, path: str, element: type) -> None:
    with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
        channel = connection.channel()
        channel.basic_consume("list-c", print)
        found = api.ask("GET", path).body
    rows: list[object] = msgspec.json.decode(found, type=list[element])  # type: ignore[valid-type]
    # Without a cluster there are no members and no stores.
    assert rows or path.startswith("/api/cluster/")


def test_an_object_has_only_the_columns_that_are_asked_for(api: Api) -> None:
    queue = api.ask("GET", "/api/queues/%2F/list-a?columns=name,durable,no_such").value
    assert queue == {"name": "list-a", "durable": True}
    overview = api.ask("GET", "/api/overview?columns=object_totals.queues").value
    assert list(overview) == ["object_totals"]
    assert list(overview["object_totals"]) == ["queues"]


class TestListener:
    def test_other_sites_cannot_use_what_it_answers(self, api: Api) -> None:
        for path in ("/", "/api/whoami", "/api/none"):
            headers = api.ask("GET", path).headers
            assert headers["x-frame-options"] == "DENY"
            assert headers["x-content-type-options"] == "nosniff"
            assert "default-src" in headers["content-security-policy"]
            assert "access-control-allow-origin" not in headers

    def test_too_many_connections_are_closed(self, api: Api, broker: Leveret) -> None:
        with ExitStack() as opened:
            for _ in range(MANAGEMENT_MAX + 1):
                last = socket.create_connection((api.host, api.port), TIMEOUT_S)
                opened.enter_context(last)
            assert last.recv(1) == b""
        assert "HTTP connection refused: too many" in broker.log_text()

    @pytest.mark.parametrize("sent", [b"\0" * 100, b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 10_000])
    def test_what_is_no_request_is_refused(self, api: Api, sent: bytes) -> None:
        with socket.create_connection((api.host, api.port), TIMEOUT_S) as connection:
            connection.sendall(sent)
            assert connection.recv(100).startswith(b"HTTP/1.1 400")

    def test_it_speaks_tls_with_the_same_certificates(self, tmp_path: Path) -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
        certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
        variables = {
            "LEVERET_TLS_CERTFILE": str(tmp_path / "cert.pem"),
            "LEVERET_TLS_KEYFILE": str(tmp_path / "key.pem"),
            "LEVERET_MANAGEMENT_TLS": "true",
        }
        context = ssl.create_default_context()
        authority.configure_trust(context)
        with Leveret("--memory", env=variables, management=True) as leveret:
            address = leveret.host, leveret.management_port
            with (
                socket.create_connection(address, TIMEOUT_S) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
            ):
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                assert connection.recv(100).startswith(b"HTTP/1.1 200")

    def test_a_configured_address_that_is_taken_ends_the_start(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(Exception, match=r"management\.listen: 127\.0\.0\.1:\d+: "):
                Leveret("--memory", "--management", f"127.0.0.1:{port}")

    def test_none_can_be_wanted(self) -> None:
        with Leveret("--memory", env={"LEVERET_MANAGEMENT_LISTEN": ""}) as leveret:
            assert "management=" not in leveret.log_text()


DEEP: Any = {}
for _ in range(40):
    DEEP = {"a": DEEP}

LONG = "x" * 256


@pytest.mark.parametrize(
    ("method", "path", "value"),
    [
        ("PUT", "queues/%2F/wrong", {"arguments": DEEP}),
        ("PUT", "queues/%2F/wrong", {"arguments": {"x": 2**63}}),
        ("PUT", "queues/%2F/wrong", {"arguments": {LONG: 1}}),
        ("PUT", f"queues/%2F/{LONG}", {}),
        ("PATCH", "queues/%2F/list-a", {"arguments": {"x": DEEP}}),
        ("PUT", "exchanges/%2F/wrong", {"type": "direct", "arguments": DEEP}),
        ("PUT", f"exchanges/%2F/{LONG}", {"type": "direct"}),
        ("POST", "bindings/%2F/e/amq.topic/q/list-a", {"routing_key": LONG}),
        ("POST", "bindings/%2F/e/amq.topic/q/list-a", {"arguments": DEEP}),
        ("PUT", "policies/%2F/wrong", {"pattern": ".*", "definition": DEEP}),
        ("PUT", "parameters/shovel/%2F/wrong", {"value": DEEP}),
        ("PUT", "global-parameters/wrong", {"value": DEEP}),
        ("POST", "exchanges/%2F/amq.topic/route", {"routing_key": LONG}),
        ("POST", "queues/%2F/list-a/move", {"exchange": "amq.topic", "routing_key": LONG}),
    ],
)
def test_what_amqp_cannot_have_is_refused(api: Api, method: str, path: str, value: object) -> None:
    answer = api.ask(method, f"/api/{path}", value)
    assert (answer.status, answer.value["error"]) == (400, "bad_request")


@pytest.mark.parametrize(
    "properties",
    [
        {"priority": 256},
        {"priority": "high"},
        {"headers": "none"},
        {"headers": DEEP},
        {"timestamp": -1},
        {"timestamp": 2**64},
        {"timestamp": "1700000000"},
        {"app_id": LONG},
        {"expiration": "soon"},
        {"nothing": 1},
    ],
)
def test_wrong_properties_are_refused(api: Api, properties: object) -> None:
    message = {"routing_key": "list-a", "payload": "x", "properties": properties}
    answer = api.ask("POST", "/api/exchanges/%2F/amq.default/publish", message)
    assert (answer.status, answer.value["error"]) == (400, "bad_request")


def test_a_refused_timestamp_says_which_numbers_there_are(api: Api) -> None:
    message = {"routing_key": "list-a", "payload": "x", "properties": {"timestamp": -1}}
    answer = api.ask("POST", "/api/exchanges/%2F/amq.default/publish", message)
    assert answer.value["reason"] == "properties: Expected `int` >= 0 - at `$.timestamp`"


@pytest.mark.parametrize("seconds", [0, 1_700_000_000, 2**32 - 1])
def test_a_message_is_published_with_its_timestamp(api: Api, seconds: int) -> None:
    assert api.ask("PUT", "/api/queues/%2F/stamped", {}).status == 201
    message = {"routing_key": "stamped", "payload": "x", "properties": {"timestamp": seconds}}
    answer = api.ask("POST", "/api/exchanges/%2F/amq.default/publish", message)
    assert (answer.status, answer.value) == (200, {"routed": True})
    asked = {"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"}
    (found,) = api.ask("POST", "/api/queues/%2F/stamped/get", asked).value
    assert found["properties"]["timestamp"] == seconds
    assert api.ask("DELETE", "/api/queues/%2F/stamped").status == 204


def test_a_timestamp_in_milliseconds_is_published_as_it_is(broker: Leveret, api: Api) -> None:
    assert api.ask("PUT", "/api/queues/%2F/stamped", {}).status == 201
    properties = {"timestamp": 1_700_000_000_000}
    message = {"routing_key": "stamped", "payload": "x", "properties": properties}
    assert api.ask("POST", "/api/exchanges/%2F/amq.default/publish", message).status == 200
    parameters = pika.ConnectionParameters(broker.host, broker.port)
    with closing(pika.BlockingConnection(parameters)) as connection:
        _, header, _ = connection.channel().basic_get("stamped", auto_ack=True)
    assert header.timestamp == 1_700_000_000_000
    assert api.ask("DELETE", "/api/queues/%2F/stamped").status == 204


def test_a_body_that_is_no_text_is_refused(api: Api) -> None:
    answer = api.ask("PUT", "/api/queues/%2F/wrong", raw=b'{"arguments": {"x": "\xff"}}')
    assert answer.status == 400


def test_nothing_of_this_was_a_fault_of_the_broker(broker: Leveret, api: Api) -> None:
    assert api.ask("GET", "/api/queues/%2F/wrong").status == 404
    assert "internal error" not in broker.log_text()


@pytest.mark.parametrize("name", ['name="file"', 'name="other"; filename="definitions.json"'])
def test_definitions_are_imported_from_a_form(api: Api, name: str) -> None:
    queue = f"of-a-form-{len(name)}"
    file = json.dumps({"queues": [{"vhost": "/", "name": queue}]}, indent=1)
    form = (
        '--b=1\r\nContent-Disposition: form-data; name="note"\r\n\r\n{}\r\n'
        f"--b=1\r\nContent-Disposition: form-data; {name}\r\n"
        f"Content-Type: application/json\r\n\r\n{file}\r\n--b=1--\r\n"
    ).encode()
    kind = {"Content-Type": 'multipart/form-data; boundary="b=1"'}
    assert api.ask("POST", "/api/definitions", raw=form, headers=kind).status == 204
    assert api.ask("GET", f"/api/queues/%2F/{queue}").status == 200
    without = form.replace(name.encode(), b'name="note"')
    answer = api.ask("POST", "/api/definitions", raw=without, headers=kind)
    assert (answer.status, answer.value["reason"]) == (400, "a form without a file")
