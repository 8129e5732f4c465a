"""`leveret log`: what it finds in a data directory, and what it does to one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from zlib import crc32

import pika
import pytest
from click.testing import CliRunner, Result

from leveret.cli import main
from leveret.datadir.read import open_directory, read_contents
from leveret_storage.format.record_reader import Record, RecordReader
from leveret_storage.medium import Medium
from leveret_storage.recovery.recover import refuse
from tests.support.brokers import Leveret
from tests.support.channels import confirming_channel

GOLDEN = Path(__file__).parents[2] / "storage" / "golden" / "version-1"
EXPECTED: dict[str, Any] = json.loads(GOLDEN.with_suffix(".json").read_text("utf-8"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A copy of the directory of a broker that died."""
    directory = tmp_path / "data"
    shutil.copytree(GOLDEN, directory)
    return directory


def run(*arguments: str | Path) -> Result:
    """Run `leveret log` with arguments."""
    return CliRunner().invoke(main, ["log", *map(str, arguments)])


def lines(result: Result) -> list[dict[str, Any]]:
    """What a dump has written."""
    assert result.stderr == ""
    assert result.exit_code == 0
    return [json.loads(line) for line in result.stdout.splitlines()]


def oldest_log(data: Path) -> Path:
    return min((data / "blobs").glob("log-*"))


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def record_offsets(medium: Medium, blob: str) -> list[int]:
    return [each.offset for each in RecordReader(medium, blob) if isinstance(each, Record)]


def state_of(directory: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file with its times and bytes, and every directory with its time."""
    return {
        str(path): (
            path.stat().st_mtime_ns,
            path.stat().st_ino,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in [directory, *directory.rglob("*")]
    }


class TestCheck:
    def test_says_that_a_sound_directory_is(self, data: Path) -> None:
        result = run("check", data)

        assert result.exit_code == 0
        files = len(list((data / "blobs").iterdir()))
        size = sum(path.stat().st_size for path in (data / "blobs").iterdir())
        assert result.stdout == f"sound: {files} files, {size} bytes, 0 problems\n"

    def test_names_file_offset_and_reason_of_damage(self, data: Path) -> None:
        log = oldest_log(data)
        offset = record_offsets(open_directory(GOLDEN, read_only=True), log.name)[1]
        flip(log, offset + 12)

        result = run("check", data)

        assert result.exit_code == 1
        problem, verdict = result.stdout.splitlines()
        assert problem.startswith(f"damaged: {log}: offset {offset} to ")
        assert problem.endswith(": a wrong CRC")
        assert verdict.startswith("damaged: ")

    def test_calls_a_torn_end_sound_and_says_where(self, data: Path) -> None:
        log = max((data / "blobs").glob("log-*"))
        size = log.stat().st_size
        with log.open("ab") as file:
            file.write(b"half a record")

        result = run("check", data)

        assert result.exit_code == 0
        assert result.stdout.splitlines()[0].startswith(f"torn: {log}: torn at offset {size}: ")

    def test_finds_a_head_that_cannot_be_read(self, data: Path) -> None:
        flip(data / "head", (data / "head").stat().st_size - 1)

        result = run("check", data)

        assert result.exit_code == 1
        assert f"damaged: {data}/head: the CRC of the header is wrong" in result.stdout

    def test_finds_a_header_of_another_kind(self, data: Path) -> None:
        """A file under another's name has a good CRC, and is wrong all the same."""
        log = oldest_log(data)
        run_segment = next((data / "blobs").glob("queue-*"))
        shutil.copy(run_segment, log)

        result = run("check", data)

        assert result.exit_code == 1
        assert "a blob of kind 3, where its name says 2" in result.stdout

    def test_finds_a_beginning_that_cannot_be_read(self, data: Path) -> None:
        log = oldest_log(data)
        flip(log, 20)

        result = run("check", data)

        assert result.exit_code == 1
        assert f"damaged: {log}: offset 0 to {log.stat().st_size}: " in result.stdout

    @pytest.mark.parametrize("option", [[], ["--read-only"]])
    def test_refuses_what_is_no_data_directory(self, tmp_path: Path, option: list[str]) -> None:
        result = run("check", tmp_path, *option)

        assert result.exit_code == 2
        assert "is no data directory" in result.stderr

    def test_says_if_there_is_no_such_directory(self, tmp_path: Path) -> None:
        result = run("check", tmp_path / "nothing")

        assert result.exit_code == 2
        assert result.stderr == f"leveret: {tmp_path / 'nothing'}: no such directory\n"

    @pytest.mark.parametrize("option", [[], ["--read-only"]])
    def test_refuses_what_cannot_be_reached(self, tmp_path: Path, option: list[str]) -> None:
        directory = tmp_path / ("x" * 300)
        result = run("check", directory, *option)

        assert result.exit_code == 2
        assert result.stderr == f"leveret: {directory} cannot be read: file name too long\n"
        assert list(tmp_path.iterdir()) == []

    def test_refuses_another_version_by_name(self, data: Path) -> None:
        log = oldest_log(data)
        content = bytearray(log.read_bytes())
        content[8:10] = (4).to_bytes(2)
        header = int.from_bytes(content[10:12])
        crc = crc32(bytes(content[16:header]), crc32(bytes(content[:12])))
        content[12:16] = crc.to_bytes(4)
        log.write_bytes(content)

        result = run("check", data)

        assert result.exit_code == 2
        assert "format version 4" in result.stderr


class TestDump:
    def test_writes_definitions_then_the_messages_of_all_queues(self, data: Path) -> None:
        found = lines(run("dump", data))

        kinds = [item["kind"] for item in found]
        definitions = len(EXPECTED["definitions"])
        messages = sum(map(len, EXPECTED["messages"].values()))
        assert "message" not in kinds[:definitions]
        assert kinds[definitions:] == ["message"] * messages

    def test_writes_definitions_only(self, data: Path) -> None:
        found = lines(run("dump", data, "--definitions"))

        values = [[value for name, value in item.items() if name != "vhost"] for item in found]
        assert sorted(values, key=repr) == sorted(EXPECTED["definitions"], key=repr)

    def test_writes_the_messages_of_a_queue_in_order(self, data: Path) -> None:
        found = lines(run("dump", data, "--queue", "deep"))

        assert [item["position"] for item in found] == [
            item["position"] for item in EXPECTED["messages"]["deep"]
        ]
        assert {item["queue"] for item in found} == {"deep"}

    def test_writes_bodies_as_text_or_base64(self, data: Path) -> None:
        found = lines(run("dump", data, "--queue", "copy-b"))

        assert [item.get("body", item.get("body_base64")) for item in found] == [
            "one for all",
            "",
            "AP8gYmluYXJ5IP4=",
            "the last",
        ]
        assert "body" not in found[2]

    def test_decodes_every_property(self, data: Path) -> None:
        (found,) = lines(run("dump", data, "--queue", "späte"))

        assert found["properties"] == EXPECTED["messages"]["späte"][0]["properties"]

    def test_stops_at_the_limit(self, data: Path) -> None:
        found = lines(run("dump", data, "--queue", "deep", "--limit", "3"))

        assert found == lines(run("dump", data, "--queue", "deep"))[:3]

    def test_filters_by_text_in_routing_keys_and_bodies(self, data: Path) -> None:
        by_key = lines(run("dump", data, "--filter", "order.40.new"))
        by_body = lines(run("dump", data, "--filter", "the last", "--limit", "1"))

        assert [item["position"] for item in by_key] == [40]
        assert [item["queue"] for item in by_body] == ["copy-b"]

    def test_knows_no_queue_of_another_virtual_host(self, data: Path) -> None:
        result = run("dump", data, "--queue", "deep", "--vhost", "other")

        assert result.exit_code == 2
        assert "no virtual host 'other'" in result.stderr

    def test_knows_no_virtual_host_that_is_not_there(self, data: Path) -> None:
        result = run("dump", data, "--vhost", "nope")

        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr == f"leveret: no virtual host 'nope' in {data}\n"

    def test_is_utf_8_in_a_locale_of_fewer_letters(self, data: Path) -> None:
        arguments = ["log", "dump", str(data)]
        dumped = [
            subprocess.run(
                [sys.executable, "-m", "leveret", *arguments],
                env={**os.environ, "PYTHONIOENCODING": encoding},
                capture_output=True,
                timeout=60,
                check=True,
            ).stdout
            for encoding in ("ascii", "utf-8", "latin-1")
        ]

        assert dumped[0] == dumped[1] == dumped[2]
        assert any(ord(letter) > 127 for letter in dumped[0].decode("utf-8"))

    def test_goes_on_without_what_is_damaged_and_says_so(self, data: Path) -> None:
        log = oldest_log(data)
        offset = record_offsets(open_directory(GOLDEN, read_only=True), log.name)[1]
        flip(log, offset + 12)

        result = run("dump", data, "--queue", "deep", "--limit", "1")

        assert result.exit_code == 1
        assert f"{log.name}: damaged from offset {offset}" in result.stderr
        assert json.loads(result.stdout)["kind"] == "message"


class TestStats:
    def test_counts_files_bytes_and_messages(self, data: Path) -> None:
        (found,) = lines(run("stats", data, "--json"))

        sizes = {path.name: path.stat().st_size for path in (data / "blobs").iterdir()}
        logs = sorted(name for name in sizes if name.startswith("log-"))
        assert found["bytes"] == sum(sizes.values())
        assert found["log"]["segments"] == len(logs)
        assert found["log"]["oldest"] == logs[0]
        assert found["log"]["bytes"] == sum(sizes[name] for name in logs)
        assert found["queue_segments"]["segments"] == len(sizes) - len(logs)
        counts = {queue["name"]: queue["messages"] for queue in found["queues"]}
        expected = {name: len(messages) for name, messages in EXPECTED["messages"].items()}
        assert counts == {"empty": 0} | expected

    def test_shows_a_line_for_each_queue(self, data: Path) -> None:
        result = run("stats", data)

        assert result.exit_code == 0
        for name, messages in EXPECTED["messages"].items():
            assert f"  '{name}' in '/': {len(messages)} message" in result.stdout


class TestADirectoryInUse:
    def test_is_refused_with_the_name_of_the_holder(self) -> None:
        with Leveret() as broker:
            for command in ("check", "dump", "stats"):
                result = run(command, broker.data_dir)

                assert result.exit_code == 2
                assert f"is in use by process {broker.pid}" in result.stderr
                assert "--read-only" in result.stderr

    def test_is_seen_as_it_is_with_read_only(self) -> None:
        with Leveret() as broker, confirming_channel(broker) as channel:
            channel.queue_declare("tasks", durable=True)
            properties = pika.BasicProperties(delivery_mode=2)
            for number in range(20):
                channel.basic_publish("", "tasks", b"%d" % number, properties)
            found = lines(run("dump", broker.data_dir, "--queue", "tasks", "--read-only"))

        assert [item["body"] for item in found] == [str(number) for number in range(20)]

    def test_read_only_sees_a_prefix_of_what_is_published_meanwhile(self) -> None:
        with Leveret() as broker, confirming_channel(broker) as channel:
            channel.queue_declare("tasks", durable=True)
            properties = pika.BasicProperties(delivery_mode=2)
            seen = []
            for number in range(30):
                channel.basic_publish("", "tasks", b"%d" % number, properties)
                medium = open_directory(broker.data_dir, read_only=True)
                channel.basic_publish("", "tasks", b"late", properties)
                if number % 3 == 0:
                    channel.basic_get("tasks", auto_ack=True)
                contents = read_contents(medium, refuse)
                medium.close()
                seen.append(sum(found.next_position for _, _, (found,) in contents.named()))

        # Two are published a turn, and the medium was opened between them.
        assert seen == [2 * number + 1 for number in range(30)]


class TestReadOnly:
    @pytest.mark.parametrize("command", ["check", "dump", "stats"])
    def test_changes_and_makes_nothing(self, data: Path, command: str) -> None:
        for path in (data / "blobs", data):
            path.chmod(0o500)
        before = state_of(data)

        result = run(command, data, "--read-only")

        assert result.exit_code == 0
        assert state_of(data) == before
        assert not os.path.exists(data / "lock")
