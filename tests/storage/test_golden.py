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


def test_there_is_one() -> None:
    assert "version-1" in [path.name for path in DIRECTORIES]


def test_it_is_sound_and_has_segments_of_both_kinds(directory: Path) -> None:
    found = inspect(open_directory(directory, read_only=True))

    assert found.damages == []
    kinds = [blob.queue is None for blob in found.blobs]
    assert kinds.count(True) > 1
    assert kinds.count(False) > 1


def test_definitions_are_those_that_were_made(directory: Path) -> None:
    found = [
        [value for name, value in item.items() if name != "vhost"]
        for item in plain_definitions(read(directory).vhosts)
    ]

    expected = expected_of(directory)["definitions"]
    assert sorted(found, key=repr) == sorted(expected, key=repr)


def test_messages_are_those_that_were_confirmed_in_their_order(directory: Path) -> None:
    contents = read(directory)

    expected = expected_of(directory)["messages"]
    assert {queue for _, queue, (found,) in contents.named() if found.count} == set(expected)
    for vhost, queue, (found,) in contents.named():
        messages = list(queue_messages(contents, vhost, queue, found, unread))
        assert found.count == len(messages)
        shown = [without_places(message) for message in messages]
        assert shown == expected.get(queue, [])


def without_places(message: dict[str, Any]) -> dict[str, Any]:
    """A dumped message as the JSON beside the directory has it."""
    kept = ("position", "exchange", "routing_key", "properties", "size")
    body = (
        message["body"].encode()
        if "body" in message
        else base64.b64decode(message["body_base64"], validate=True)
    )
    return {name: message[name] for name in kept} | {"body_hex": body.hex()}


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
            assert bodies == [message["body_hex"] for message in messages]
