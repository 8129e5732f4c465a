"""A transaction of several parts in the log counts with its last entry: golden data are read."""

import os
import shutil
from pathlib import Path

from leveret.datadir.read import open_directory, queue_messages, read_contents
from leveret_storage.format import entries
from leveret_storage.format.record_reader import Damage, RecordReader
from leveret_storage.media.filesystem import FilesystemMedium
from leveret_storage.recovery.recover import refuse
from tests.storage.golden.make_transaction import DIRECTORY, OTHERS, TRANSACTION
from tests.storage.test_golden import unread
from tests.storage.test_independent_reader import assert_agrees

LOG = "log-000000000001"


def bodies(directory: Path) -> dict[str, list[bytes]]:
    """The bodies of the messages of each queue."""
    contents = read_contents(open_directory(directory, read_only=True), refuse)
    return {
        queue: [
            str(message["body"]).encode()
            for found in levels
            for message in queue_messages(contents, vhost, queue, found, unread)
        ]
        for vhost, queue, levels in contents.named()
    }


def batches() -> list[int]:
    """The offsets of the batches of the log."""
    medium = FilesystemMedium(DIRECTORY, read_only=True)
    offsets: list[int] = []
    for record in RecordReader(medium, LOG):
        assert not isinstance(record, Damage)
        if record.kind == entries.BATCH:
            offsets.append(record.offset)
    medium.close()
    return offsets


def test_all_of_it_counts_and_what_others_did_between_its_parts() -> None:
    found = bodies(DIRECTORY)
    assert found["q"] == TRANSACTION
    assert len(found["others"]) > 1
    assert found["others"] == OTHERS[: len(found["others"])]


def test_an_independent_reader_agrees() -> None:
    assert_agrees(DIRECTORY)


def test_without_its_last_batch_nothing_of_it_counts(tmp_path: Path) -> None:
    shutil.copytree(DIRECTORY, tmp_path / "data")
    os.truncate(tmp_path / "data" / "blobs" / LOG, batches()[-1])
    found = bodies(tmp_path / "data")
    assert found == {"q": [], "others": OTHERS[: len(found["others"])]}
    assert len(found["others"]) > 1
    assert_agrees(tmp_path / "data")
