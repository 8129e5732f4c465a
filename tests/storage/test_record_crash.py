"""A log of one blob, written as the store writes, on the faulty medium: what is read after a crash.

Each run is a function of its seed, which a failing assertion prints.
"""

from collections.abc import Callable
from random import Random

from leveret_storage.errors import MediumFailed, MediumFull
from leveret_storage.format.file_header import crc_seed, encode_blob_header
from leveret_storage.format.record_reader import Damage, Record, RecordReader
from leveret_storage.format.record_writer import RecordWriter, encode_mark, encode_record, new_salt
from tests.storage.faulty import Crashed, Fault, FaultyMedium
from tests.storage.owning import take
from tests.support.examples import examples

SEEDS = range(examples(3000))


class Writing:
    """One process that fills the blob `log` until its medium stops it."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        faults = {self.random.randint(3, 40): Fault.ENOSPC for _ in range(2)}
        if self.random.random() < 0.2:
            faults[self.random.randint(3, 40)] = Fault.EIO
        faults[self.random.randint(3, 40)] = Fault.CRASH
        self.medium = FaultyMedium(seed, faults=faults)
        take(self.medium)
        self.records: list[Record] = []
        """What was appended, or was going to be when the end came."""
        self.durable_records = 0
        self.durable_bytes = 0

    def run(self) -> FaultyMedium:
        """Write to the end, and return what the next process finds."""
        try:
            self._write()
        except MediumFailed:
            if self.random.random() < 0.5:
                return self.medium.kill()
        except Crashed:
            if self.random.random() < 0.2:
                return self.medium.kill()
        return self.medium.crash()

    def _write(self) -> None:
        salt = new_salt_of(self.random)
        header = encode_blob_header(2, salt, b"log")
        self._until_done(lambda: self.medium.create("log"))
        self._until_done(lambda: self.medium.append("log", header))
        writer = RecordWriter(salt, len(header))
        while True:
            for _ in range(self.random.randint(1, 3)):
                payload = self.random.randbytes(self.random.choice((0, 1, 20, 300)))
                offset = writer.add(16, payload)
                self.records.append(Record(offset, 16, payload))
            self._until_done(lambda: self.medium.append("log", writer.peek()))
            writer.take()
            if self.random.random() < 0.7:
                self.medium.sync("log")
                self.durable_records = len(self.records)
                self.durable_bytes = writer.taken
                writer.mark(writer.taken)

    @staticmethod
    def _until_done(call: Callable[[], object]) -> None:
        """A full medium is asked again."""
        while True:
            try:
                call()
            except MediumFull:
                continue
            return


def new_salt_of(random: Random) -> bytes:
    return random.randbytes(len(new_salt()))


def read(medium: FaultyMedium, durable: int = 0) -> tuple[list[Record], list[Damage]]:
    if "log" not in medium.list():
        return [], []
    found = list(RecordReader(medium, "log", durable=durable, block_bytes=200))
    return (
        [each for each in found if isinstance(each, Record)],
        [each for each in found if isinstance(each, Damage)],
    )


def test_what_was_synced_is_read_in_order_and_nothing_else_but_what_followed_it() -> None:
    """No crash looks like damage, whatever it leaves of the bytes not synced."""
    cut = 0
    for seed in SEEDS:
        writing = Writing(seed)
        records, damages = read(writing.run())
        assert damages == [], seed
        assert records == writing.records[: len(records)], seed
        assert len(records) >= writing.durable_records, seed
        cut += writing.durable_records < len(records) < len(writing.records)
    assert cut > len(SEEDS) / 20


def test_a_flipped_bit_in_what_was_synced_is_damage_after_a_crash() -> None:
    for seed in SEEDS:
        writing = Writing(seed)
        medium = writing.run()
        if writing.durable_bytes == 0:
            continue
        position = writing.random.randrange(writing.durable_bytes)
        medium.flip("log", position, writing.random.randrange(8))
        records, damages = read(medium, writing.durable_bytes)
        assert damages, seed
        assert damages[0].offset <= position < damages[0].end, seed
        for record in writing.records[: writing.durable_records]:
            spoilt = damages[0].offset <= record.offset < damages[0].end
            assert spoilt != (record in records), seed
        assert set(records) <= set(writing.records), seed


def test_a_mark_of_the_next_sync_shows_damage_without_being_told() -> None:
    for seed in range(examples(500)):
        random = Random(seed)
        salt = new_salt_of(random)
        medium = FaultyMedium(seed)
        take(medium)
        medium.create("log")
        size = len(encode_blob_header(2, salt, b""))
        medium.append("log", encode_blob_header(2, salt, b""))
        medium.append("log", encode_record(16, random.randbytes(50), crc_seed(salt)))
        medium.sync("log")
        durable = medium.size("log")
        medium.append("log", encode_mark(salt, durable) + encode_record(17, b"", crc_seed(salt)))
        medium.sync("log")
        medium = medium.crash()
        medium.flip("log", random.randrange(size, durable), random.randrange(8))
        records, damages = read(medium)
        assert [(damage.offset, damage.end) for damage in damages] == [(size, durable)], seed
        assert [record.kind for record in records] == [17], seed
