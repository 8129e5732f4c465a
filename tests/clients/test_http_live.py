"""What the HTTP API sends as it changes, over TCP: what is watched, and events of the log."""

import base64
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.parity.http.client import Api
from tests.support.brokers import Leveret

TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with Leveret("--memory", management=True) as leveret:
        api = Api(leveret.host, leveret.management_port)
        assert api.ask("PUT", "/api/queues/%2F/list-a", {}).status == 201
        yield api


class Stream:
    """The events of a response that does not end."""

    def __init__(self, api: Api, path: str) -> None:
        self._socket = socket.create_connection((api.host, api.port), TIMEOUT_S)
        login = base64.b64encode(f"{api.user}:{api.password}".encode()).decode()
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {login}\r\n\r\n"
        self._socket.sendall(head.encode())
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def await_line(self, text: str) -> None:
        """Read up to a line that begins with a text."""
        while not self._lines.readline().startswith(text.encode()):
            pass

    def next(self) -> Any:
        """The data of the next event."""
        for line in self._lines:
            if line.startswith(b"data: "):
                return json.loads(line.removeprefix(b"data: "))
        raise EOFError


def test_a_change_is_sent_and_nothing_else(api: Api) -> None:
    watch = "/api/queues/%252F/list-a?columns=messages_ready"
    with Stream(api, f"/api/live?every=1&watch={watch}") as stream:
        first = stream.next()
        assert (first["watch"], first["status"]) == (watch.replace("%25", "%"), 200)
        before = first["body"]["messages_ready"]
        publish = {"routing_key": "list-a", "payload": "x", "properties": {}}
        api.ask("POST", "/api/exchanges/%2F/amq.default/publish", publish)
        assert stream.next()["body"]["messages_ready"] == before + 1


def test_each_stream_sees_that_rights_were_taken_away(api: Api) -> None:
    watcher = Api(api.host, api.port, "watcher", "watcher")
    tags = {"password": "watcher", "tags": "management"}
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    api.ask("PUT", "/api/users/watcher", tags)
    api.ask("PUT", "/api/permissions/%2F/watcher", everything)
    watch = "/api/live?every=1&watch=/api/queues?columns=name"
    with Stream(watcher, watch) as first, Stream(watcher, watch) as second:
        for stream in (first, second):
            assert {"name": "list-a"} in stream.next()["body"]
        api.ask("DELETE", "/api/permissions/%2F/watcher")
        for stream in (first, second):
            assert stream.next()["body"] == []
        api.ask("DELETE", "/api/users/watcher")
        for stream in (first, second):
            assert stream.next()["status"] == 401


def test_what_is_gone_is_said(api: Api) -> None:
    with Stream(api, "/api/live?watch=/api/queues/%252F/no-such") as stream:
        event = stream.next()
        assert (event["status"], event["body"]["error"]) == (404, "Object Not Found")


@pytest.mark.parametrize(
    "query", ["", "watch=/api/live", "watch=/index.html", "watch=/api/x" + "&watch=/api/x" * 8]
)
def test_what_cannot_be_watched_is_refused(api: Api, query: str) -> None:
    assert api.ask("GET", f"/api/live?{query}").status == 400


@pytest.mark.parametrize("every", ["nan", "inf", "-inf", "1e999", "-1"])
def test_any_number_of_seconds_is_brought_into_bounds(api: Api, every: str) -> None:
    with Stream(api, f"/api/live?every={every}&watch=/api/whoami") as stream:
        assert stream.next()["body"]["name"] == "guest"
    assert api.ask("GET", "/api/whoami").status == 200


def test_events_of_the_log_are_sent(api: Api) -> None:
    with Stream(api, "/api/logs/live") as stream:
        stream.await_line(": follows")
        api.ask("PUT", "/api/queues/%2F/logged", {})
        event = stream.next()
        assert (event["event"], event["what"]) == ("audit", "queue declared")
    api.ask("DELETE", "/api/queues/%2F/logged")
    assert api.ask("GET", "/api/logs?lines=1").value[0]["what"] == "queue deleted"


def test_a_stream_does_not_delay_the_stop() -> None:
    with Leveret("--memory", management=True) as leveret:
        api = Api(leveret.host, leveret.management_port)
        stream = Stream(api, "/api/live?watch=/api/whoami")
        stream.next()
        assert leveret.stop() == 0
        with stream, pytest.raises((EOFError, ConnectionError)):
            stream.next()
