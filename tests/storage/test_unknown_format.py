"""What a newer program wrote is no damage: it ends a start, a salvage and `leveret log` with one
line, and nothing is changed."""

import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import msgspec
import pytest
from click.testing import CliRunner
from msgspec.msgpack import Ext

from leveret.cli import main
from leveret.datadir.read import read_contents
from leveret.engine.persistence.definitions import KINDS, QueueDeclared, decode, encode
from leveret.engine.queues.delayed_store import DelayedStore
from leveret_storage.errors import Damaged, UnknownFormat
from leveret_storage.format import entries, runs
from leveret_storage.format.entries import StoredDefinition, StoredMessage
from leveret_storage.format.file_header import (
    FORMAT_VERSION,
    HEADER_BYTES_MAX,
    crc_seed,
    decode_blob_header,
    decode_head,
)
from leveret_storage.format.record_writer import encode_record
from leveret_storage.format.segment_start import SegmentStart, write_segment_start
from leveret_storage.recovery.directory_snapshot import DirectorySnapshot
from leveret_storage.recovery.recover import refuse
from tests.support.brokers import BrokerError, Leveret

GOLDEN = Path(__file__).parent / "golden" / f"version-{FORMAT_VERSION}"
NODE = {"LEVERET_SERVER_NODE_NAME": "golden", "LEVERET_AMQP_MAX_CONNECTIONS": "10"}
NEW_VERSION = FORMAT_VERSION + 1


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A copy of the golden directory of the current version."""
    directory = tmp_path / "data"
    shutil.copytree(GOLDEN, directory)
    return directory


def newest_log(data: Path) -> Path:
    return max((data / "blobs").glob("log-*"))


def newest_run_segment(data: Path) -> Path:
    return max((data / "blobs").glob("queue-*"))


def with_header(path: Path, offset: int, value: bytes) -> None:
    """Write over bytes of the prelude or the body behind it, and make the CRC right."""
    content = bytearray(path.read_bytes())
    content[offset : offset + len(value)] = value
    size = int.from_bytes(content[10:12], "big")
    content[12:16] = crc32(content[16:size], crc32(content[:12])).to_bytes(4, "big")
    path.write_bytes(content)


def append(path: Path, kind: int, payload: bytes) -> int:
    """Append a record with a right CRC to a blob, and return its offset."""
    content = path.read_bytes()
    seed = crc_seed(decode_blob_header(content[:HEADER_BYTES_MAX]).salt)
    path.write_bytes(content + encode_record(kind, payload, seed))
    return len(content)


def definition(**fields: object) -> bytes:
    data = msgspec.msgpack.encode(fields)
    return bytes([entries.DEFINITION]) + len(data).to_bytes(4, "big") + data


def message_entry(flags: int) -> bytes:
    place = (4).to_bytes(4, "big") + (10**6).to_bytes(8, "big")
    return b"\x01\x00\x01" + place + bytes([flags]) + bytes(8 + 2 + 4 + 4)


def head_version(data: Path) -> str:
    with_header(data / "head", 8, NEW_VERSION.to_bytes(2, "big"))
    return f"head: offset 8: written in format version {NEW_VERSION}; this program reads versions"


def head_kind(data: Path) -> str:
    with_header(data / "head", 16, b"\x07")
    return "head: offset 16: a head of kind 7"


def head_field(data: Path) -> str:
    head = (data / "head").read_bytes()
    _, owner = decode_head(head)
    fields = msgspec.msgpack.decode(owner) | {"shards": 3}
    changed = head[: len(head) - len(owner)] + msgspec.msgpack.encode(fields)
    (data / "head").write_bytes(changed)
    with_header(data / "head", 10, len(changed).to_bytes(2, "big"))
    return "head: offset 25: a field 'shards'"


def log_version(data: Path) -> str:
    with_header(newest_log(data), 8, NEW_VERSION.to_bytes(2, "big"))
    return f"{newest_log(data).name}: offset 8: written in format version {NEW_VERSION};"


def run_segment_version(data: Path) -> str:
    path = newest_run_segment(data)
    with_header(path, 8, NEW_VERSION.to_bytes(2, "big"))
    return f"{path.name}: offset 8: written in format version {NEW_VERSION};"


def blob_kind(data: Path) -> str:
    with_header(newest_log(data), 16, b"\x09")
    return f"{newest_log(data).name}: offset 16: a blob of kind 9"


def blob_kind_under_a_new_name(data: Path) -> str:
    path = data / "blobs" / "stream-000000000001"
    shutil.copy(newest_log(data), path)
    with_header(path, 16, b"\x09")
    return f"{path.name}: offset 16: a blob of kind 9"


def record_kind_in_the_log(data: Path) -> str:
    offset = append(newest_log(data), 99, b"whatever")
    return f"{newest_log(data).name}: offset {offset}: a record of kind 99"


def record_kind_in_a_queue_segment(data: Path) -> str:
    path = newest_run_segment(data)
    return f"{path.name}: offset {append(path, 99, b'whatever')}: a record of kind 99"


def entry_kind(data: Path) -> str:
    offset = append(newest_log(data), entries.BATCH, b"\x63whatever")
    return f"{newest_log(data).name}: offset {offset}: an entry of kind 99"


def entry_kind_in_the_start_of_a_segment(data: Path) -> str:
    start = write_segment_start(SegmentStart(1000, entries.NO_CHECKPOINT, 0, []))
    offset = append(newest_log(data), entries.SEGMENT_START, start + b"\x63")
    return f"{newest_log(data).name}: offset {offset}: an entry of kind 99"


def message_flag(data: Path) -> str:
    offset = append(newest_log(data), entries.BATCH, message_entry(0x11))
    return f"{newest_log(data).name}: offset {offset}: a message with flags 0x11"


def definition_kind(data: Path) -> str:
    offset = append(newest_log(data), entries.BATCH, definition(kind="user_added", name="a"))
    return f"{newest_log(data).name}: offset {offset}: a definition of kind 'user_added'"


def definition_field(data: Path) -> str:
    payload = definition(kind="queue_deleted", vhost="/", name="deep", reason="age")
    offset = append(newest_log(data), entries.BATCH, payload)
    return f"offset {offset}: a definition of kind 'queue_deleted' with a field 'reason'"


def definition_extension(data: Path) -> str:
    payload = definition(kind="queue_deleted", vhost="/", name=Ext(9, b"deep"))
    offset = append(newest_log(data), entries.BATCH, payload)
    return f"offset {offset}: a definition with an extension of type 9"


def exchange_type(data: Path) -> str:
    payload = definition(kind="exchange_declared", vhost="/", name="x", type="x-shovel")
    offset = append(newest_log(data), entries.BATCH, payload)
    return f"offset {offset}: a definition that cannot be made (unknown exchange type 'x-shovel')"


def argument_value(data: Path) -> str:
    payload = definition(
        kind="queue_declared",
        vhost="/",
        name="q",
        number=900,
        arguments={"x-queue-type": "log"},
        argument_types={"x-queue-type": "longstr"},
    )
    offset = append(newest_log(data), entries.BATCH, payload)
    return f"offset {offset}: a definition that cannot be made (invalid arg 'x-queue-type' for"


CASES: list[Callable[[Path], str]] = [
    head_version,
    head_kind,
    head_field,
    log_version,
    run_segment_version,
    blob_kind,
    blob_kind_under_a_new_name,
    record_kind_in_the_log,
    record_kind_in_a_queue_segment,
    entry_kind,
    entry_kind_in_the_start_of_a_segment,
    message_flag,
    definition_kind,
    definition_field,
    definition_extension,
    exchange_type,
    argument_value,
]


def state_of(data: Path) -> str:
    """A digest of every name and byte, but for the lock, which is the process's."""
    digest = hashlib.sha256()
    for path in sorted(data.rglob("*")):
        if path.name != "lock":
            digest.update(str(path).encode())
            digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


def refusal(data: Path, *options: str) -> str:
    """The one line of a start that refuses the data."""
    with pytest.raises(BrokerError) as refused, Leveret(*options, data_dir=data, env=NODE):
        raise AssertionError("it has started")
    head, *lines = str(refused.value).splitlines()
    assert "exit code 2" in head
    (line,) = lines
    return line


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_it_ends_every_command_and_changes_nothing(data: Path, case: Callable[[Path], str]) -> None:
    expected = case(data)
    before = state_of(data)

    found = [refusal(data), refusal(data, "--salvage")]
    for command in ("check", "dump", "stats"):
        result = CliRunner().invoke(main, ["log", command, str(data)])
        assert result.exit_code == 2, command
        (line,) = result.stderr.splitlines()
        found.append(line)

    for line in found:
        assert line.startswith("leveret: ")
        assert expected in line
    assert state_of(data) == before


def test_a_flag_in_a_run_is_found_by_everything_that_reads_the_run(data: Path) -> None:
    """A start does not read it, so FORMAT.md has a new version for a new flag."""
    path = newest_run_segment(data)
    payload = bytearray(b"".join(runs.run(10**6, [StoredMessage(b"\0\0", bytes(14), b"", True)])))
    payload[runs.RUN_HEADER_BYTES] = 0x41
    offset = append(path, entries.RUN, bytes(payload))
    before = state_of(data)

    found = [refusal(data, "--salvage")]
    for command in ("check", "dump"):
        result = CliRunner().invoke(main, ["log", command, str(data)])
        assert result.exit_code == 2
        found += result.stderr.splitlines()

    assert len(found) == 3
    for line in found:
        assert f"{path.name}: offset {offset}: a message with flags 0x41" in line
    assert state_of(data) == before


def test_a_flag_in_a_run_of_a_delayed_store_changes_nothing(data: Path) -> None:
    """A start reads these runs, once it has read all else."""
    sinks = read_contents(DirectorySnapshot(data), refuse).sinks
    number = min(each for each, sink in sinks.items() if isinstance(sink, DelayedStore))
    path = max((data / "blobs").glob(f"queue-{number:010}-*"))
    payload = bytearray(b"".join(runs.run(10**6, [StoredMessage(b"\0\0", bytes(14), b"", True)])))
    payload[runs.RUN_HEADER_BYTES] = 0x41
    offset = append(path, entries.RUN, bytes(payload))
    before = state_of(data)

    for line in (refusal(data), refusal(data, "--salvage")):
        assert f"{path.name}: offset {offset}: a message with flags 0x41" in line
    assert state_of(data) == before


NEEDED_VALUES: dict[str, object] = {
    **dict.fromkeys(("number", "sorted_runs_number", "first", "position", "until"), 7),
    **{name: {"ü": 1} for name in ("definition", "objects")},
    "key": ["ü"],
}
"""Values of required fields that are no text."""


class TestDefinitions:
    def stored(self, data: bytes, version: int = FORMAT_VERSION) -> StoredDefinition:
        return StoredDefinition(data, version, "log-1", 99)

    def test_every_kind_is_decoded_as_it_was_encoded(self) -> None:
        for kind, record_type in KINDS.items():
            needed = {
                name: NEEDED_VALUES.get(name, "ü")
                for name in record_type.__struct_fields__[: _needed(record_type)]
            }
            record = msgspec.convert({"kind": kind, **needed}, record_type)
            data = encode(record)
            assert decode(self.stored(data)) == record
            # What is at its default is not written.
            assert msgspec.msgpack.decode(data) == {"kind": kind, **needed}

    def test_a_field_that_is_missing_has_its_default(self) -> None:
        data = msgspec.msgpack.encode(
            {"kind": "queue_declared", "vhost": "/", "name": "q", "number": 3}
        )
        assert decode(self.stored(data)) == QueueDeclared("/", "q", 3, False, {}, {}, "", 0)

    def test_an_unknown_field_that_says_so_is_ignored(self) -> None:
        data = msgspec.msgpack.encode(
            {"kind": "queue_declared", "vhost": "/", "name": "q", "number": 3, "_note": [1]}
        )
        assert decode(self.stored(data)) == QueueDeclared("/", "q", 3)

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\xc1",
            msgspec.msgpack.encode([1]),
            msgspec.msgpack.encode({"kind": "queue_deleted", "vhost": "/"}),
            msgspec.msgpack.encode({"kind": "queue_deleted", "vhost": "/", "name": 5}),
            msgspec.msgpack.encode({"kind": "queue_deleted", "vhost": Ext(1, b"1.5.0")}),
            msgspec.msgpack.encode({"kind": "queue_deleted", "vhost": Ext(1, b"\xff")}),
            msgspec.msgpack.encode({"kind": "queue_deleted", "vhost": Ext(1, b"NaN")}),
            *(
                msgspec.msgpack.encode(
                    {"kind": "queue_declared", "vhost": "/", "name": "q", "number": number}
                )
                for number in (-1, 2**31 - 1, 2**64 - 1)
            ),
        ],
    )
    def test_what_no_version_can_have_written_is_damaged(self, data: bytes) -> None:
        with pytest.raises(Damaged, match="log-1: offset 99: a definition that cannot be read"):
            decode(self.stored(data))

    def test_version_1_is_read_by_position(self) -> None:
        data = msgspec.msgpack.encode(["queue", "/", "q", 3, True, {"a": 1}, {"a": "long"}, "c", 5])
        expected = QueueDeclared("/", "q", 3, True, {"a": 1}, {"a": "long"}, "c", 5)
        assert decode(self.stored(data, 1)) == expected

    @pytest.mark.parametrize("kind", ["queue_declared", ["queue"], None])
    def test_a_kind_that_version_1_did_not_have_is_unknown(self, kind: object) -> None:
        data = msgspec.msgpack.encode([kind, "/", "q"])
        with pytest.raises(UnknownFormat, match=re.escape(f"a definition of kind {kind!r}")):
            decode(self.stored(data, 1))


def test_an_argument_without_its_type_is_damage(data: Path) -> None:
    payload = definition(
        kind="queue_declared", vhost="/", name="q", number=900, arguments={"x-max-length": 5}
    )
    offset = append(newest_log(data), entries.BATCH, payload)
    before = state_of(data)

    result = CliRunner().invoke(main, ["log", "check", str(data)])
    assert result.exit_code == 1
    for line in (*result.stdout.splitlines()[:1], refusal(data), refusal(data, "--salvage")):
        assert f"{newest_log(data).name}: offset {offset}: a definition that cannot be read" in line
        assert "no type of the argument 'x-max-length'" in line
    assert state_of(data) == before


def _needed(record_type: type[msgspec.Struct]) -> int:
    """How many fields, the first, have no default."""
    return len(record_type.__struct_fields__) - len(record_type.__struct_defaults__)
