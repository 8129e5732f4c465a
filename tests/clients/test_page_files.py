"""The files of the management page, as a browser gets them."""

import gzip
import re
from collections.abc import Iterator
from email.message import Message
from http.client import HTTPConnection
from typing import NamedTuple

import pytest

from tests.support.brokers import Leveret

TIMEOUT_S = 60
NAMED = re.compile(r'(?:href|src)="(/[^"#]+)"')


class Got(NamedTuple):
    status: int
    headers: Message
    body: bytes


@pytest.fixture(scope="module")
def broker() -> Iterator[Leveret]:
    with Leveret(management=True) as started:
        yield started


def get(broker: Leveret, path: str, **headers: str) -> Got:
    connection = HTTPConnection(broker.host, broker.management_port, timeout=TIMEOUT_S)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET", path, headers=named)
        answer = connection.getresponse()
        return Got(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def files(broker: Leveret) -> list[str]:
    """What the page names, but for addresses of the API."""
    named = NAMED.findall(get(broker, "/").body.decode())
    return [path for path in named if not path.startswith("/api/")]


@pytest.mark.parametrize("path", ["/", "/queues", "/queues/%2F/a%2Fb?range=1h", "/no/such/view"])
def test_every_view_is_the_page(broker: Leveret, path: str) -> None:
    got = get(broker, path)
    assert (got.status, got.headers.get_content_type()) == (200, "text/html")
    assert b'<main id="main"' in got.body
    assert "default-src 'self'" in got.headers["Content-Security-Policy"]


def test_a_browser_keeps_the_files_of_the_page(broker: Leveret) -> None:
    found = files(broker)
    assert any(path.endswith("/app.js") for path in found)
    for path in found:
        got = get(broker, path)
        assert got.status == 200, path
        assert got.headers.get_content_type() != "text/html", path
        assert "immutable" in got.headers["Cache-Control"], path


def test_the_page_itself_is_asked_for_again(broker: Leveret) -> None:
    got = get(broker, "/")
    assert got.headers["Cache-Control"] == "no-cache"
    assert get(broker, "/", If_None_Match=got.headers["ETag"]).status == 304


def test_files_of_another_version_are_not_there(broker: Leveret) -> None:
    path = next(path for path in files(broker) if path.endswith("/app.js"))
    assert get(broker, re.sub("/page/[^/]+/", "/page/another/", path)).status == 404


def test_files_are_compressed_for_whoever_reads_that(broker: Leveret) -> None:
    path = next(path for path in files(broker) if path.endswith("/style.css"))
    got = get(broker, path, Accept_Encoding="gzip")
    assert got.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(got.body) == get(broker, path).body


@pytest.mark.parametrize("path", ["/cli", "/cli/rabbitmqadmin"])
def test_who_downloads_the_script_of_rabbitmq_is_told_where_it_is(
    broker: Leveret, path: str
) -> None:
    got = get(broker, path)
    assert (got.status, got.headers.get_content_type()) == (404, "text/plain")
    assert b"rabbitmqadmin is not part of Leveret" in got.body
