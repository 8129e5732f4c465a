"""A reader that was written from FORMAT.md alone finds what `leveret log dump` finds."""

import ast
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pika
import pytest
from click.testing import CliRunner
from librt.strings import BytesWriter

from leveret.cli import main
from leveret.datadir.read import open_directory
from leveret.engine.persistence.definitions import decode
from leveret_storage.format import entries
from leveret_storage.format.entries import StoredMessage
from leveret_storage.format.file_header import HEAD_DATA_OFFSET
from leveret_storage.recovery.recover import recover
from tests.storage import independent_definitions, independent_reader, independent_values
from tests.storage.independent_definitions import ENTITIES
from tests.storage.test_golden import DIRECTORIES
from tests.storage.test_unknown_format import append, newest_log
from tests.support.brokers import Leveret
from tests.support.channels import confirming_channel

Item = dict[str, Any]


def sorted_out(items: list[Item]) -> tuple[list[str], dict[str, list[Item]]]:
    """Definitions in any order, and the messages of each queue in theirs."""
    definitions: list[str] = []
    messages: dict[str, list[Item]] = {}
    for item in items:
        if item["kind"] == "message":
            messages.setdefault(f"{item['vhost']} {item['queue']}", []).append(item)
        else:
            definitions.append(json.dumps(item, sort_keys=True))
    return sorted(definitions), messages


def assert_agrees(directory: Path) -> None:
    result = CliRunner().invoke(main, ["log", "dump", str(directory), "--read-only"])
    assert (result.exit_code, result.stderr) == (0, "")
    dumped = [json.loads(line) for line in result.stdout.splitlines()]
    read = [json.loads(json.dumps(item)) for item in independent_reader.dump(directory)]

    assert sorted_out(read) == sorted_out(dumped)
    assert any(item["kind"] == "message" for item in read)


@pytest.mark.parametrize("directory", DIRECTORIES, ids=lambda path: path.name)
def test_it_agrees_on_every_golden_directory(directory: Path) -> None:
    assert_agrees(directory)


@pytest.mark.parametrize("directory", DIRECTORIES, ids=lambda path: path.name)
def test_it_finds_the_same_after_a_start_and_a_stop(directory: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(directory, data)
    with Leveret(data_dir=data, env={"LEVERET_SERVER_NODE_NAME": "golden"}):
        pass

    assert_agrees(data)
    before = list(independent_reader.dump(directory))
    after = list(independent_reader.dump(data))
    # A start of a directory without users makes the default ones.
    made = [item for item in after if item["kind"] in ENTITIES]
    assert {item["kind"] for item in made} <= {"user", "virtual_host", "permission"}
    left = [item for item in after if item["kind"] not in ENTITIES]
    assert sorted_out(left) == sorted_out([i for i in before if i["kind"] not in ENTITIES])


@pytest.mark.parametrize("directory", DIRECTORIES, ids=lambda path: path.name)
def test_it_reads_the_fields_of_every_definition(directory: Path) -> None:
    found = recover(open_directory(directory, read_only=True)).definitions
    read = independent_reader.Store(directory).definitions

    assert len(read) == len(found) > 0
    for fields, stored in zip(read, found, strict=True):
        record = decode(stored)
        assert fields["kind"] == record.__struct_config__.tag
        for name in record.__struct_fields__:
            expected = getattr(record, name)
            if name == "keys":
                expected = [list(each) for each in expected]
            elif isinstance(expected, tuple):
                expected = list(expected)
            assert fields[name] == expected, fields


def test_it_agrees_on_what_a_broker_has_just_written() -> None:
    with Leveret() as broker, confirming_channel(broker) as channel:
        channel.exchange_declare("events", "topic", durable=True)
        channel.queue_declare("ranked", durable=True, arguments={"x-max-priority": 3})
        channel.queue_declare("deep", durable=True)
        channel.queue_bind("ranked", "events", "a.#", {"why": [1, "two", None]})
        channel.queue_bind("deep", "events", "#")
        for number in range(3000):
            properties = pika.BasicProperties(
                delivery_mode=2, priority=number % 5, headers={"number": number}
            )
            key = "a.b" if number % 3 else "b"
            channel.basic_publish("events", key, b"%d" % number * 20, properties)
        for _ in range(500):
            channel.basic_get("deep", auto_ack=True)
        channel.basic_publish("", "ranked", b"last", pika.BasicProperties(delivery_mode=2))
        assert_agrees(broker.data_dir)


def test_the_head_names_the_node() -> None:
    for directory in DIRECTORIES:
        assert independent_reader.Store(directory).node == "golden"
        assert (directory / "head").read_bytes()[HEAD_DATA_OFFSET:].find(b"golden") > 0


def test_it_imports_nothing_but_the_standard_library() -> None:
    trees = [
        ast.parse(Path(str(module.__file__)).read_text("utf-8"))
        for module in (independent_reader, independent_definitions, independent_values)
    ]
    names = {
        name
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [each.name for each in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
        )
    }
    names -= {independent_definitions.__name__, independent_values.__name__}
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def test_it_agrees_on_a_transaction_before_and_after_it_is_committed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(DIRECTORIES[-1], data)
    journal = max(int(path.name.split("-")[1]) for path in (data / "blobs").glob("queue-*"))
    before = sorted_out(list(independent_reader.dump(data)))
    out = BytesWriter()
    entries.write_transaction(out, entries.PART_BEGUN)
    message = StoredMessage(b"\0\1k", bytes(14), b"", True)
    entries.write_message(out, [journal], [10**6], message)
    entries.write_settled(out, journal, 0, 10**6)
    entries.write_transaction(out, entries.PART_ENDED)
    append(newest_log(data), entries.BATCH, out.getvalue())
    assert_agrees(data)
    assert sorted_out(list(independent_reader.dump(data))) == before
    append(newest_log(data), entries.BATCH, bytes([entries.TRANSACTION, entries.COMMITTED]))
    assert_agrees(data)
    after = sorted_out(list(independent_reader.dump(data)))
    assert after != before
