"""Salvage: damaged bytes are set aside and reported, the rest stays, and a start accepts it."""

import json
import re
import shutil
from contextlib import suppress
from pathlib import Path

import pika
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leveret.engine.restore import rewritten
from leveret_storage.errors import Damaged
from leveret_storage.format.record_reader import Record, RecordReader
from leveret_storage.format.record_writer import encode_mark
from leveret_storage.medium import Medium
from leveret_storage.recovery.inspection import inspect
from leveret_storage.recovery.recover import Recovery, recover
from leveret_storage.recovery.recovered_queue import LoggedMessages
from leveret_storage.recovery.salvage import salvage
from leveret_storage.segments.queue_journal import read_messages
from leveret_storage.segments.segment_writer import queue_numbers
from tests.storage.faulty import Crashed, Fault, FaultyMedium
from tests.storage.owning import put, take
from tests.support.brokers import BrokerError, Leveret
from tests.support.examples import examples

GOLDEN = Path(__file__).parent / "golden" / "version-1"
GOLDEN_BLOBS = sorted((GOLDEN / "blobs").iterdir())
BLOB_NAMES = [path.name for path in GOLDEN_BLOBS]
DEEP = 2
"""The number of the golden directory's queue with segments of its own."""

Messages = dict[int, list[tuple[int, bytes, bytes]]]
"""Position, route and body of a queue's messages, in order."""


def golden_medium() -> FaultyMedium:
    """The golden directory in memory, taken."""
    medium = FaultyMedium(1)
    take(medium)
    for path in GOLDEN_BLOBS:
        put(medium, path.name, path.read_bytes())
    return medium


def messages(medium: Medium, found: Recovery) -> Messages:
    all_found: Messages = {}
    for number, queue in found.queues.items():
        here = all_found.setdefault(number, [])
        for item in queue.contents:
            if isinstance(item, LoggedMessages):
                for position, stored in enumerate(item.messages, item.first):
                    here.append((position, stored.route, stored.body))
                continue
            stored_run, _ = read_messages(medium, item, [item])
            for first, end in item.live:
                for position in range(first, end):
                    stored = stored_run[position - int(item.first)]
                    here.append((position, stored.route, stored.body))
    return all_found


def records(medium: Medium, blob: str) -> list[Record]:
    return [record for record in RecordReader(medium, blob) if isinstance(record, Record)]


def blob_of(pattern: str) -> str:
    return next(path.name for path in GOLDEN_BLOBS if re.match(pattern, path.name))


def test_a_sound_medium_is_left_as_it_is() -> None:
    medium = golden_medium()
    before = medium.list()
    calls = medium.calls

    done = salvage(medium, rewritten)

    assert done.lost == []
    assert medium.list() == before
    assert medium.calls > calls
    assert done.found.definitions == recover(medium).definitions


def test_without_it_a_start_says_where_and_what_to_do() -> None:
    medium = golden_medium()
    blob = blob_of("log-")
    offset = records(medium, blob)[1].offset
    medium.flip(blob, offset + 12, 3)

    with pytest.raises(Damaged, match=rf"{blob}: damaged from offset {offset} to \d+: .*--salvage"):
        recover(medium)


def test_a_damaged_run_costs_its_own_messages_only() -> None:
    medium = golden_medium()
    before = messages(medium, recover(medium))
    blob = blob_of("queue-")
    damaged = records(medium, blob)[-1]
    offset, size = damaged.offset, len(damaged.payload)
    # The last byte is in the body of the run's last message.
    medium.flip(blob, offset + 9 + size - 1, 0)
    # Behind the last run of a segment there may be no mark.
    put_mark_behind(medium, blob)

    done = salvage(medium, rewritten)

    (lost,) = done.lost
    assert (lost.damage.blob, lost.damage.offset) == (blob, offset)
    assert re.match(rf"a run of queue {DEEP}: according to its header 4 messages", lost.what)
    assert len(medium.salvaged()[lost.file]) == 9 + size
    after = messages(medium, done.found)
    gone = set(before[DEEP]) - set(after[DEEP])
    first = int.from_bytes(damaged.payload[:8])
    assert gone == {each for each in before[DEEP] if first <= each[0] < first + 4}
    assert {number: after[number] for number in after if number != DEEP} == {
        number: before[number] for number in before if number != DEEP
    }
    assert inspect(medium).damages == []


def put_mark_behind(medium: FaultyMedium, blob: str) -> None:
    """Say at the end of a blob that everything in it is durable."""
    header = RecordReader(medium, blob).header
    assert header is not None
    medium.append(blob, encode_mark(header.salt, medium.size(blob)))
    medium.sync(blob)


class TestAnyDamage:
    @settings(max_examples=examples(300), deadline=None)
    @given(
        blob=st.sampled_from(BLOB_NAMES),
        place=st.floats(0, 1, exclude_max=True),
        bit=st.integers(0, 7),
    )
    def test_leaves_a_medium_that_a_start_accepts(self, blob: str, place: float, bit: int) -> None:
        medium = golden_medium()
        before = messages(medium, recover(medium))
        put_mark_behind(medium, blob)
        medium.flip(blob, int(medium.size(blob) * place), bit)
        of_queue = queue_numbers(blob)
        concerned = set(before) if of_queue is None else {of_queue[0]}

        done = salvage(medium, rewritten)

        found = recover(medium)
        assert inspect(medium).damages == []
        assert len(medium.salvaged()) == len(done.lost)
        after = messages(medium, found)
        for number, recovered in after.items():
            assert recovered == sorted(recovered)
            # What has a position it had before is the same message.
            known = {each[0]: each for each in before.get(number, [])}
            assert [known.get(each[0], each) for each in recovered] == recovered
            if not done.lost or number not in concerned:
                assert recovered == before.get(number, [])
        if not blob.startswith("log-"):
            assert found.definitions == recover(golden_medium()).definitions

    @settings(max_examples=examples(100), deadline=None)
    @given(seed=st.integers(0, 2**32), call=st.integers(1, 75), blob=st.sampled_from(BLOB_NAMES))
    def test_a_salvage_that_was_interrupted_is_done_again(
        self, seed: int, call: int, blob: str
    ) -> None:
        def damaged(faults: dict[int, Fault]) -> FaultyMedium:
            medium = golden_medium()
            put_mark_behind(medium, blob)
            medium.flip(blob, medium.size(blob) // 2, seed % 8)
            return medium.kill(faults)

        whole = damaged({})
        take(whole)
        expected = messages(whole, salvage(whole, rewritten).found)
        medium = damaged({call: Fault.CRASH})

        with suppress(Crashed):
            take(medium)
            salvage(medium, rewritten)
        medium = medium.crash()
        take(medium)
        again = salvage(medium, rewritten)

        assert messages(medium, again.found) == expected


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A copy of the golden directory."""
    shutil.copytree(GOLDEN, tmp_path / "data")
    return tmp_path / "data"


def damage_first_batch(data: Path) -> tuple[str, int]:
    """Flip a bit in the first batch of the oldest log segment, and say where."""
    blob = blob_of("log-")
    offset = records(golden_medium(), blob)[1].offset
    path = data / "blobs" / blob
    content = bytearray(path.read_bytes())
    content[offset + 12] ^= 1
    path.write_bytes(content)
    return blob, offset


class TestTheBroker:
    """`leveret serve` on a damaged directory."""

    def serve(self, data: Path, *arguments: str) -> Leveret:
        environment = {"LEVERET_SERVER_NODE_NAME": "golden"}
        return Leveret(*arguments, data_dir=data, env=environment)

    def bodies(self, broker: Leveret, queue: str) -> list[bytes]:
        with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
            channel = connection.channel()
            found = []
            while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
                found.append(got[2])
            return found

    def test_does_not_start_by_itself(self, data: Path) -> None:
        blob, offset = damage_first_batch(data)

        with pytest.raises(BrokerError) as refused:
            self.serve(data)

        text = str(refused.value)
        assert f"{blob}: damaged from offset {offset}" in text
        assert "--salvage" in text
        assert "(exit code 2)" in text

    def test_goes_on_with_salvage_and_starts_without_it_afterwards(self, data: Path) -> None:
        blob, offset = damage_first_batch(data)
        expected = json.loads(GOLDEN.with_suffix(".json").read_text("utf-8"))["messages"]

        with self.serve(data, "--salvage") as broker:
            lines = [line for line in broker.log_text().splitlines() if "set aside" in line]
        assert len(lines) == 1
        assert f"blob={blob} offset={offset}" in lines[0]
        assert (data / "salvaged" / f"{blob}-{offset}.bin").stat().st_size > 9
        with self.serve(data) as broker:
            assert "set aside" not in broker.log_text()
            copies = self.bodies(broker, "copy-b")
        assert copies[-1] == bytes.fromhex(expected["copy-b"][-1]["body_hex"])

    def test_goes_on_without_a_head_that_cannot_be_read(self, data: Path) -> None:
        head = data / "head"
        content = head.read_bytes()
        head.write_bytes(content[:-1] + b"?")

        with pytest.raises(BrokerError, match="head: the CRC of the header is wrong"):
            self.serve(data)
        with self.serve(data, "--salvage") as broker:
            assert len(self.bodies(broker, "copy-b")) == 4

        assert (data / "salvaged" / "head-0.bin").read_bytes() == content[:-1] + b"?"
