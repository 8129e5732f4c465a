"""Confirms of large persistent messages, which may wait for the disk beside smaller ones."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pamqp.commands import Basic, Confirm, Queue, Tx
from pamqp.common import FieldTable

from leveret_storage.media.filesystem import FilesystemMedium
from leveret_storage.medium import LARGE_BODY_BYTES
from leveret_storage.store.limits import LARGE_BYTES_AT_ONCE
from leveret_storage.store.store import Store
from tests.protocol import wire
from tests.protocol.harness import Client, Harness
from tests.protocol.test_held_replies import Disk
from tests.storage.owning import take

LARGE = bytes(LARGE_BODY_BYTES)
AT_ONCE = LARGE_BYTES_AT_ONCE // LARGE_BODY_BYTES
"""Large messages that join one batch."""
PERSISTENT = Basic.Properties(delivery_mode=2)


@pytest.fixture
def disk(harness: Harness, tmp_path: Path) -> Iterator[Disk]:
    """The disk of the broker of `harness`; request this fixture before any client."""
    medium = FilesystemMedium(tmp_path)
    take(medium)
    disk = Disk(harness, medium)
    yield disk
    disk.catch_up()
    medium.close()


@pytest.fixture
def alice(disk: Disk, alice: Client) -> Client:
    """A client with confirms on channel 1, and the durable queue `q`."""
    alice.send(1, Queue.Declare(queue="q", durable=True))
    disk.catch_up()
    alice.expect(1, Queue.DeclareOk("q", 0, 0))
    alice.call(1, Confirm.Select(), Confirm.SelectOk)
    return alice


def publish(client: Client, body: bytes, count: int = 1) -> None:
    """Publish persistent messages to `q`, in long slices."""
    client.feed(wire.publish(1, "q", body, properties=PERSISTENT) * count, 10**9)


def store_of(harness: Harness) -> Store:
    store = harness.broker.vhosts["/"].store
    assert store is not None
    return store


def test_small_messages_of_others_do_not_wait_behind_large_ones(
    alice: Client, bob: Client, disk: Disk
) -> None:
    publish(alice, LARGE, 3 * AT_ONCE)
    disk.commit()
    bob.call(1, Confirm.Select(), Confirm.SelectOk)
    publish(bob, b"small")
    disk.finish_batch()
    alice.expect(1, Basic.Ack(AT_ONCE, True))
    bob.expect_nothing()
    disk.finish_batch()
    bob.expect(1, Basic.Ack(1, False))
    alice.expect(1, Basic.Ack(2 * AT_ONCE, True))
    disk.catch_up()
    alice.expect(1, Basic.Ack(3 * AT_ONCE, True))


def test_the_confirms_of_a_channel_stay_in_order(alice: Client, disk: Disk) -> None:
    publish(alice, LARGE, AT_ONCE + 1)
    publish(alice, b"small")
    disk.commit()
    disk.finish_batch()
    alice.expect(1, Basic.Ack(AT_ONCE, True))
    publish(alice, b"small")
    disk.finish_batch()
    alice.expect(1, Basic.Ack(AT_ONCE + 2, True))
    disk.finish_batch()
    alice.expect(1, Basic.Ack(AT_ONCE + 3, False))


def test_what_is_acknowledged_meanwhile_is_not_written(
    alice: Client, bob: Client, disk: Disk, tmp_path: Path
) -> None:
    bob.consume(1, "q", "c")
    publish(alice, b"small")
    disk.commit()
    publish(alice, LARGE, 10 * AT_ONCE)
    bob.receive_all()
    bob.send(1, Basic.Ack(1 + 10 * AT_ONCE, True))
    alice.expect_nothing()
    disk.finish_batch()
    alice.expect(1, Basic.Ack(1, False))
    alice.expect_nothing()
    disk.finish_batch()
    alice.expect(1, Basic.Ack(1 + 10 * AT_ONCE, True))
    written = sum(path.stat().st_size for path in tmp_path.glob("blobs/log-*"))
    assert written < 10 * AT_ONCE * LARGE_BODY_BYTES


@pytest.mark.parametrize("arguments", [{}, {"x-message-deduplication": True}])
def test_none_waits_that_its_key_must_not_be_ahead_of(
    alice: Client, disk: Disk, harness: Harness, arguments: FieldTable
) -> None:
    alice.send(1, Queue.Declare(queue="other", durable=True, arguments=arguments))
    disk.catch_up()
    alice.receive_all()
    alice.feed(wire.publish(1, "other", LARGE, properties=PERSISTENT), 10**9)
    assert store_of(harness).large.any_waits() == (not arguments)
    disk.catch_up()
    alice.expect(1, Basic.Ack(1, False))


def test_none_waits_of_a_transaction(alice: Client, disk: Disk, harness: Harness) -> None:
    alice.open_channels(2)
    alice.call(2, Tx.Select(), Tx.SelectOk)
    alice.feed(wire.publish(2, "q", LARGE, properties=PERSISTENT), 10**9)
    alice.send(2, Tx.Commit())
    assert not store_of(harness).large.any_waits()
    disk.catch_up()
    alice.expect(2, Tx.CommitOk())
