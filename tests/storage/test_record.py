"""Records: the writer makes what FORMAT.md shows, and the reader knows it from anything else."""

import re
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import leveret_storage
from leveret_storage.errors import NoSuchBlob, UnknownFormat
from leveret_storage.format.file_header import (
    FORMAT_VERSION,
    IDENTITY_BYTES_MAX,
    MARK_BYTES,
    PAYLOAD_BYTES_MAX,
    RECORD_HEADER,
    RECORD_HEADER_BYTES,
    decode_blob_header,
    encode_blob_header,
    encode_head,
)
from leveret_storage.format.record_reader import Damage, Record, RecordReader
from leveret_storage.format.record_writer import RecordWriter, encode_mark, new_salt
from tests.storage.faulty import FaultyMedium
from tests.storage.owning import put, take
from tests.support.examples import examples

FORMAT_MD = Path(__file__).parents[2].joinpath("storage/leveret_storage/format/FORMAT.md")
SALT = bytes.fromhex("0011223344556677")
HEADER = encode_blob_header(2, SALT, b"node")


class Log:
    """The bytes of a blob, and the records that are in it."""

    def __init__(self) -> None:
        self.data = HEADER
        self.records: list[Record] = []
        self.starts = [len(HEADER)]
        """Where each record begins, marks included, and where the last one ends."""
        self._writer = RecordWriter(SALT, len(HEADER))

    def add(self, kind: int, payload: bytes) -> "Log":
        self.records.append(Record(self._writer.add(kind, payload), kind, payload))
        return self._appended()

    def mark(self) -> "Log":
        self._writer.mark(len(self.data))
        return self._appended()

    def _appended(self) -> "Log":
        self.data += self._writer.take()
        self.starts.append(len(self.data))
        return self

    def record_at(self, position: int) -> tuple[int, int]:
        """Where the record or mark that has this byte begins and ends."""
        end = next(start for start in self.starts if start > position)
        return self.starts[self.starts.index(end) - 1], end

    def outside(self, start: int, end: int) -> list[Record]:
        """The records but those that begin in a stretch."""
        return [record for record in self.records if not start <= record.offset < end]


def small_log() -> Log:
    """Two syncs in it, and two records behind the second."""
    log = Log().add(16, b"first").add(255, b"").mark().add(17, bytes(range(100)))
    log.add(2, b"x").mark().add(16, b"not known to be durable").add(18, b"last")
    return log


class Read:
    """A blob read to its end."""

    def __init__(self, data: bytes, *, durable: int = 0, block_bytes: int = 1 << 20) -> None:
        medium = FaultyMedium(0)
        take(medium)
        put(medium, "a", data)
        reader = RecordReader(medium, "a", durable=durable, block_bytes=block_bytes)
        found = list(reader)
        assert list(reader) == []
        self.header = reader.header
        self.records = [each for each in found if isinstance(each, Record)]
        self.damages = [each for each in found if isinstance(each, Damage)]
        self.torn = reader.torn
        self.end = reader.end


class Counting(FaultyMedium):
    """Remembers how much was read at a time."""

    sizes: list[int]

    def read(self, name: str, offset: int, size: int) -> bytes:
        self.sizes.append(size)
        return super().read(name, offset, size)


def counting(data: bytes) -> Counting:
    """With these bytes in the blob `a`."""
    medium = Counting(0)
    medium.sizes = []
    take(medium)
    put(medium, "a", data)
    return medium


def flipped(data: bytes, position: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= 1 << bit
    return bytes(changed)


class TestFormat:
    def examples(self) -> list[bytes]:
        text = FORMAT_MD.read_text("utf-8")
        return [
            bytes.fromhex("".join(re.findall(r"^(?:[0-9a-f]{2} )+", block, re.MULTILINE)))
            for block in re.findall(r"```hex\n(.*?)```", text, re.DOTALL)
        ]

    def test_the_blob_of_the_description_is_what_the_writer_makes(self) -> None:
        log = Log().add(16, b"hello").mark().add(17, b"")
        assert self.examples()[0] == log.data
        assert Read(self.examples()[0]).records == log.records

    def test_the_head_of_the_description_is_what_is_written(self) -> None:
        assert self.examples()[1] == encode_head(3, b"hello")

    def test_the_description_is_of_the_package_that_is_tested(self) -> None:
        installed = (
            Path(leveret_storage.__file__).parent.joinpath("format/file_header.py").read_bytes()
        )
        assert FORMAT_MD.with_name("file_header.py").read_bytes() == installed

    def test_a_header_says_what_the_blob_is(self) -> None:
        header = decode_blob_header(HEADER + b"records")
        assert (header.kind, header.salt, header.identity) == (2, SALT, b"node")
        assert header.size == len(HEADER)

    def test_the_largest_header_can_be_read(self) -> None:
        identity = b"i" * IDENTITY_BYTES_MAX
        header = Read(encode_blob_header(255, SALT, identity)).header
        assert header == (FORMAT_VERSION, 255, SALT, identity, 1049)

    def test_two_salts_are_never_the_same(self) -> None:
        assert len({new_salt() for _ in range(1000)}) == 1000

    @pytest.mark.parametrize(
        ("kind", "salt", "identity"), [(1, SALT, b""), (256, SALT, b""), (2, b"short", b"")]
    )
    def test_what_can_be_no_header_is_not_written(
        self, kind: int, salt: bytes, identity: bytes
    ) -> None:
        with pytest.raises(ValueError, match=r"kind|salt"):
            encode_blob_header(kind, salt, identity)
        with pytest.raises(ValueError, match="identity"):
            encode_blob_header(2, SALT, b"i" * (IDENTITY_BYTES_MAX + 1))


class TestWriter:
    def test_a_record_has_the_offset_that_was_returned(self) -> None:
        writer = RecordWriter(SALT, 100)
        assert writer.add(16, b"12345") == 100
        assert writer.add(17, b"") == 100 + RECORD_HEADER_BYTES + 5
        assert writer.waiting == 2 * RECORD_HEADER_BYTES + 5
        first = writer.peek()
        assert writer.take() == first
        assert writer.take() == b""
        assert writer.taken == 100 + len(first)
        assert writer.add(16, b"1") == writer.taken

    def test_what_a_full_medium_refused_can_be_appended_later(self) -> None:
        log = Log().add(16, b"first")
        writer = RecordWriter(SALT, len(HEADER))
        writer.add(16, b"first")
        assert HEADER + writer.peek() == log.data
        assert HEADER + writer.peek() == log.data

    @pytest.mark.parametrize("kind", [-1, 0, 1, 256])
    def test_only_kinds_of_the_store_are_written(self, kind: int) -> None:
        with pytest.raises(ValueError, match="a record of kind"):
            RecordWriter(SALT, 0).add(kind, b"")

    def test_a_payload_above_the_bound_is_not_written(self) -> None:
        with pytest.raises(ValueError, match="a payload of 1073741825 bytes"):
            RecordWriter(SALT, 0).add(16, bytes(PAYLOAD_BYTES_MAX + 1))

    def test_no_more_is_marked_durable_than_was_taken(self) -> None:
        writer = RecordWriter(SALT, 100)
        writer.add(16, b"waiting")
        for durable in (-1, 101):
            with pytest.raises(ValueError, match="durable of 100 appended"):
                writer.mark(durable)
        writer.mark(100)
        assert writer.waiting == RECORD_HEADER_BYTES + 7 + MARK_BYTES


class TestWholeBlobs:
    @settings(deadline=None)
    @given(
        records=st.lists(
            st.tuples(st.integers(2, 255), st.binary(max_size=300)) | st.none(), max_size=20
        ),
        block_bytes=st.integers(1, 400),
    )
    def test_what_was_written_is_read_whatever_the_pieces(
        self, records: list[tuple[int, bytes] | None], block_bytes: int
    ) -> None:
        log = Log()
        for record in records:
            if record is None:
                log.mark()
            else:
                log.add(*record)
        read = Read(log.data, block_bytes=block_bytes)
        assert read.records == log.records
        assert (read.damages, read.torn, read.end) == ([], None, len(log.data))

    def test_a_large_blob_is_read_in_few_reads_of_bounded_size(self) -> None:
        log = Log()
        for number in range(1000):
            log.add(16, number.to_bytes(2, "big") * 500)
        medium = counting(log.data)
        assert len(list(RecordReader(medium, "a", block_bytes=100_000))) == 1000
        assert max(medium.sizes) <= 100_000
        assert len(medium.sizes) <= len(log.data) // 100_000 + 3

    def test_a_blob_that_is_not_there_cannot_be_read(self) -> None:
        with pytest.raises(NoSuchBlob):
            RecordReader(FaultyMedium(0), "a")

    def test_a_blob_of_a_later_version_is_refused_by_name(self) -> None:
        header = bytes.fromhex("4c4556455245540a 0004 0019 05636725 02 0011223344556677")
        with pytest.raises(UnknownFormat, match=r"^a: offset 8: written in format version 4; this"):
            Read(header)


class TestTorn:
    def test_a_blob_cut_anywhere_is_read_to_its_last_whole_record(self) -> None:
        log = small_log()
        for size in range(len(log.data)):
            read = Read(log.data[:size])
            assert read.damages == []
            whole = max([start for start in log.starts if start <= size], default=0)
            assert read.records == log.outside(whole, len(log.data)), size
            assert read.end == whole
            if size == whole > 0:
                assert read.torn is None
            else:
                assert read.torn is not None
                assert read.torn.offset == whole

    @pytest.mark.parametrize("zeros", [1, 8, 9, 25, 4096])
    def test_zeros_behind_any_cut_are_no_records(self, zeros: int) -> None:
        log = small_log()
        for size in range(len(log.data) + 1):
            data = log.data[:size] + bytes(zeros)
            read = Read(data)
            # Some of the zeros may be those that were cut off.
            both = min(len(data), len(log.data))
            right = next((at for at in range(both) if data[at] != log.data[at]), both)
            whole = max([start for start in log.starts if start <= right], default=0)
            assert read.damages == []
            assert read.records == log.outside(whole, len(log.data)), size
            assert read.end == whole
            left = data[whole:]
            room = whole > 0 and len(left) >= RECORD_HEADER_BYTES and not left.strip(b"\0")
            assert (read.torn is None) == (not left or room)

    def test_zeros_up_to_the_end_are_room_and_no_torn_end(self) -> None:
        log = small_log()
        read = Read(log.data + bytes(100))
        assert read.torn is None
        assert read.end == len(log.data)
        assert read.records == log.records

    def test_zeros_with_anything_behind_them_are_a_torn_end(self) -> None:
        log = small_log()
        read = Read(log.data + bytes(100) + b"1")
        assert read.torn == ("a", len(log.data), "zeros")

    def test_a_blob_of_zeros_is_torn_at_its_beginning(self) -> None:
        assert Read(bytes(100)).torn == ("a", 0, "zeros")

    def test_zeros_that_a_mark_says_were_durable_are_damage(self) -> None:
        log = Log().add(16, b"first").mark().add(16, b"lost").mark()
        start = log.records[1].offset
        read = Read(log.data[:start] + bytes(len(log.data) - start), durable=len(log.data))
        assert read.damages == [("a", start, len(log.data), "zeros")]

    def test_records_behind_a_hole_do_not_count_when_no_sync_covered_it(self) -> None:
        log = Log().add(16, b"first").mark().add(16, b"lost").add(16, b"kept")
        hole = len(log.records[1].payload) + RECORD_HEADER_BYTES
        start = log.records[1].offset
        read = Read(log.data[:start] + bytes(hole) + log.data[start + hole :])
        assert read.records == log.records[:1]
        assert read.damages == []
        assert read.torn == ("a", start, "zeros")

    def test_an_empty_blob_is_torn_at_its_beginning(self) -> None:
        read = Read(b"")
        assert (read.records, read.damages) == ([], [])
        assert read.torn == ("a", 0, "0 bytes, where a header has 16 at least")


class TestDamage:
    def test_every_flipped_bit_is_found_judged_and_read_past(self) -> None:
        """In front of what the last mark covers it is damage, behind it is a torn end."""
        log = small_log()
        durable = log.starts[5]
        for position in range(len(HEADER), len(log.data)):
            start, end = log.record_at(position)
            in_length = position < start + 4
            for bit in range(8):
                read = Read(flipped(log.data, position, bit))
                if position < durable:
                    assert read.torn is None
                    assert len(read.damages) == 1, (position, bit)
                    damage = read.damages[0]
                    assert damage.offset == start
                    assert damage.end == end or (in_length and damage.end in log.starts)
                    assert read.records == log.outside(start, damage.end)
                    assert read.end == len(log.data)
                else:
                    assert read.damages == []
                    assert read.torn is not None
                    assert read.torn.offset == start
                    assert read.records == log.outside(start, len(log.data))

    def test_every_flipped_bit_of_a_finished_blob_is_damage(self) -> None:
        log = small_log().mark()
        size = len(log.data)
        for position in range(size):
            for bit in range(8):
                read = Read(flipped(log.data, position, bit), durable=size)
                assert read.torn is None
                assert len(read.damages) == 1, (position, bit)
                damage = read.damages[0]
                assert damage.offset <= position < damage.end
                assert read.records == log.outside(damage.offset, damage.end)

    def test_a_header_that_was_durable_and_is_spoilt_takes_the_blob_with_it(self) -> None:
        log = small_log()
        for position in range(len(HEADER)):
            for bit in range(8):
                read = Read(flipped(log.data, position, bit))
                assert read.records == []
                assert read.torn is None
                assert [(d.offset, d.end) for d in read.damages] == [(0, len(log.data))]

    def test_a_header_that_was_not_is_torn(self) -> None:
        log = Log().add(16, b"first").add(16, b"second")
        read = Read(bytes(len(HEADER)) + log.data[len(HEADER) :])
        assert (read.records, read.damages) == ([], [])
        assert read.torn is not None
        assert read.torn.offset == 0

    def test_a_lost_page_is_one_damage_up_to_the_next_mark(self) -> None:
        log = Log()
        for number in range(200):
            log.add(16, number.to_bytes(2, "big") * 100)
            if number % 10 == 9:
                log.mark()
        for first in (4096, 8192, 12288):
            for block_bytes in (64, 1000, 1 << 20):
                spoilt = log.data[:first] + bytes(4096) + log.data[first + 4096 :]
                read = Read(spoilt, block_bytes=block_bytes)
                assert read.torn is None
                start, end = read.damages[0].offset, read.damages[-1].end
                assert log.record_at(first)[0] == start
                assert first + 4096 <= end <= first + 4096 + 10 * 209 + MARK_BYTES
                assert read.records == log.outside(start, end)

    def test_the_next_mark_is_found_wherever_the_pieces_are_cut(self) -> None:
        log = small_log()
        spoilt = flipped(log.data, log.records[2].offset, 7)
        for block_bytes in range(1, len(log.data) + 1):
            read = Read(spoilt, block_bytes=block_bytes)
            assert read.damages == [
                ("a", log.records[2].offset, log.starts[5], "an impossible length: 2147483748")
            ]
            assert read.records == [*log.records[:2], *log.records[4:]]

    def test_reading_goes_on_at_a_mark_before_it_goes_on_behind_one(self) -> None:
        """A wrong length may point to a record that begins behind the next mark."""
        log = small_log()
        start, behind_mark = log.records[2].offset, log.records[4].offset
        wrong = (behind_mark - start - RECORD_HEADER_BYTES).to_bytes(4, "big")
        read = Read(log.data[:start] + wrong + log.data[start + 4 :])
        assert [(damage.offset, damage.end) for damage in read.damages] == [(start, log.starts[5])]
        assert read.records == [*log.records[:2], *log.records[4:]]

    @pytest.mark.parametrize("spoilt_every", [1, 2])
    def test_time_is_in_proportion_to_the_bytes_however_much_is_spoilt(
        self, spoilt_every: int
    ) -> None:
        log = Log()
        for number in range(1000):
            log.add(16, number.to_bytes(2, "big") * 50)
        data = log.data
        for record in log.records[::spoilt_every]:
            data = flipped(data, record.offset + 20, 3)
        for size, durable in ((0, len(data)), (1_000_000, len(data)), (1_000_000, 0)):
            medium = counting(data + bytes(size))
            found = list(RecordReader(medium, "a", durable=durable))
            assert len(found) == (0 if durable == 0 else 1000 if spoilt_every == 2 else 1)
            assert sum(medium.sizes) < 3 * (len(data) + size)

    def test_two_damages_are_two(self) -> None:
        log = small_log()
        spoilt = flipped(log.data, log.records[0].offset + 10, 0)
        spoilt = flipped(spoilt, log.records[2].offset + 50, 7)
        read = Read(spoilt)
        assert [damage.offset for damage in read.damages] == [
            log.records[0].offset,
            log.records[2].offset,
        ]
        assert read.records == [log.records[1], *log.records[3:]]
        assert {damage.why for damage in read.damages} == {"a wrong CRC"}

    def test_a_finished_blob_that_is_cut_is_damaged(self) -> None:
        log = small_log()
        size = len(log.data)
        for cut in range(size):
            read = Read(log.data[:cut], durable=size)
            assert read.torn is None
            assert read.damages[-1].end == size
            assert read.records == log.outside(read.damages[0].offset, size)


class TestPretenders:
    """Payloads are what publishers send; none may be taken for what it contains."""

    def test_records_and_marks_inside_a_payload_are_not_found(self) -> None:
        other = RecordWriter(bytes(8), 4096)
        for _ in range(50):
            other.add(16, b"forged")
            other.mark(4096)
        forged = other.take()
        log = Log().add(16, b"good").add(16, forged).add(16, b"unsynced")
        for spoilt in (
            flipped(log.data, log.records[1].offset + 4, 0),
            flipped(log.data, log.records[1].offset + 1, 0),
            log.data[: log.records[1].offset + len(forged) // 2],
        ):
            read = Read(spoilt)
            assert read.records == log.records[:1]
            assert read.damages == []
            assert read.torn is not None
            assert read.torn.offset == log.records[1].offset

    def test_not_even_the_salt_makes_a_mark(self) -> None:
        """The bytes that a mark is found by, with a wrong CRC, and durable beyond itself."""
        beyond = encode_mark(SALT, 100_000)
        wrong = flipped(encode_mark(SALT, 60), 4, 0)
        for forged in (beyond, wrong, b"12345678\x01" + SALT + bytes(8)):
            log = Log().add(16, b"good").add(16, b"spoilt").add(16, forged * 3)
            read = Read(flipped(log.data, log.records[1].offset + 10, 0))
            assert read.records == log.records[:1]
            assert read.damages == []
            assert read.torn == ("a", log.records[1].offset, "a wrong CRC")

    @pytest.mark.parametrize(
        ("kind", "payload", "why"),
        [
            (0, b"", "a record of kind 0"),
            (1, SALT + bytes(7), "an impossible mark"),
            (1, SALT + bytes(9), "an impossible mark"),
            (1, SALT + b"\xff" * 8, "an impossible mark"),
        ],
    )
    def test_a_right_crc_is_not_enough(self, kind: int, payload: bytes, why: str) -> None:
        log = Log().add(16, b"good")
        crc = crc32(bytes([kind]) + payload, crc32(SALT))
        read = Read(log.data + RECORD_HEADER.pack(len(payload), crc, kind) + payload)
        assert read.records == log.records
        assert read.torn == ("a", len(log.data), why)

    @settings(deadline=None, max_examples=examples(300))
    @given(data=st.binary(max_size=400), header=st.booleans(), durable=st.integers(0, 500))
    def test_nothing_is_read_out_of_anything(self, data: bytes, header: bool, durable: int) -> None:
        read = Read((HEADER if header else b"") + data, durable=durable, block_bytes=50)
        assert read.records == []
