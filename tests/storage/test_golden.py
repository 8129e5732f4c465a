"""Data of every version of the format that was ever released is still read, to the last byte."""

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pika
import pytest

from leveret.datadir.dump import plain_definitions
from leveret.datadir.read import Contents, open_directory, queue_messages, read_contents
from leveret.engine.routing.exchanges.deduplicating import DeduplicatingExchange
from leveret_storage.format.file_header import FORMAT_VERSION, READABLE_VERSIONS
from leveret_storage.recovery.inspection import inspect
from leveret_storage.recovery.recover import refuse
from tests.support.brokers import Leveret

GOLDEN = Path(__file__).parent / "golden"
DIRECTORIES = sorted(path for path in GOLDEN.glob("version-*") if path.is_dir())


@pytest.fixture(params=DIRECTORIES, ids=lambda path: path.name)
def directory(request: pytest.FixtureRequest) -> Path:
    """Each golden directory, not to be written to."""
    path: Path = request.param
    return path


def expected_of(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(directory.with_suffix(".json").read_text("utf-8"))
    return found


def read(directory: Path) -> Contents:
    return read_contents(open_directory(directory, read_only=True), refuse)


def unread(error: object) -> None:
    raise AssertionError(f"a run that cannot be read: {error}")


def test_there_is_one_of_every_version_that_can_be_read() -> None:
    names = [f"version-{version}" for version in READABLE_VERSIONS]
    assert [path.name for path in DIRECTORIES] == names


def test_its_files_are_of_its_version(directory: Path) -> None:
    version = int(directory.name.removeprefix("version-"))
    for path in [directory / "head", *(directory / "blobs").iterdir()]:
        assert int.from_bytes(path.read_bytes()[8:10], "big") == version, path


def test_it_is_sound_and_has_segments_of_both_kinds(directory: Path) -> None:
    found = inspect(open_directory(directory, read_only=True))

    assert found.damages == []
    kinds = [blob.queue is None for blob in found.blobs]
    assert kinds.count(True) > 1
    assert kinds.count(False) > 1


def test_definitions_are_those_that_were_made(directory: Path) -> None:
    found = [
        [value for name, value in item.items() if name != "vhost"]
        for item in plain_definitions(read(directory).definitions)
    ]

    expected = expected_of(directory)["definitions"]
    assert sorted(found, key=repr) == sorted(expected, key=repr)


def test_messages_are_those_that_were_confirmed_in_their_order(directory: Path) -> None:
    contents = read(directory)

    expected = expected_of(directory)["messages"]
    delayed = expected_of(directory).get("delayed", {})
    with_messages = {
        name for _, name, levels in contents.named() if any(one.count for one in levels)
    }
    assert with_messages == {*expected, *delayed}
    for vhost, queue, levels in contents.named():
        messages = []
        for found in levels:
            here = list(queue_messages(contents, vhost, queue, found, unread))
            assert found.count == len(here)
            messages += here
        shown = [without_places(message) for message in messages]
        if queue in delayed:
            # Where a delayed message waits depends on when it was flushed.
            for message in shown:
                del message["position"]
            assert sorted(shown, key=repr) == sorted(delayed[queue], key=repr)
            assert len([found for found in levels if found.count]) == 2
        else:
            assert shown == expected.get(queue, [])


def test_delivery_counts_are_those_that_were_made(directory: Path) -> None:
    found = {
        queue.name: {
            str(position): [each.acquired, each.failed]
            for position, each in queue.redeliveries.counts.entries()
        }
        for queue in read(directory).definitions.vhosts["/"].queues.values()
        if queue.redeliveries is not None
    }

    assert found == expected_of(directory).get("delivery_counts", {})


def test_its_times_are_behind_the_wall_clock_by_what_that_was_set(directory: Path) -> None:
    clock = read(directory).definitions.vhosts["/"].clock

    assert abs(int(clock.behind) - expected_of(directory).get("clock_behind", 0)) < 60_000


def test_keys_seen_are_those_that_were_published(directory: Path) -> None:
    vhost = read(directory).definitions.vhosts["/"]
    windows = {f"queue {queue.name}": queue.deduplication_window for queue in vhost.queues.values()}
    for exchange in vhost.exchanges.values():
        if isinstance(exchange, DeduplicatingExchange):
            windows[f"exchange {exchange.name}"] = exchange.window
    found = {
        name: [key.hex() for key, _ in window.entries()]
        for name, window in windows.items()
        if window is not None
    }

    assert found == expected_of(directory).get("keys_seen", {})


def without_places(message: dict[str, Any]) -> dict[str, Any]:
    """A dumped message as the JSON beside the directory has it."""
    fields = ("position", "exchange", "routing_key", "properties", "size")
    body = (
        message["body"].encode()
        if "body" in message
        else base64.b64decode(message["body_base64"], validate=True)
    )
    return {name: message[name] for name in fields} | {"body_hex": body.hex()}


def test_a_broker_delivers_them(directory: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(directory, data)
    expected = expected_of(directory)["messages"]

    with (
        Leveret(data_dir=data, env={"LEVERET_SERVER_NODE_NAME": "golden"}) as broker,
        pika.BlockingConnection(pika.URLParameters(broker.url)) as connection,
    ):
        channel = connection.channel()
        for queue, messages in expected.items():
            bodies = []
            while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
                bodies.append(got[2].hex())
            if queue in expected_of(directory).get("retry_delayed", []):
                assert bodies == []
            else:
                assert bodies == [message["body_hex"] for message in messages]
    versions = {path.name: path.read_bytes()[8:10] for path in (data / "blobs").glob("log-*")}
    assert versions[max(versions)] == FORMAT_VERSION.to_bytes(2, "big")
    assert (data / "head").read_bytes()[8:10] == FORMAT_VERSION.to_bytes(2, "big")
