"""`leveret log copy`: everything goes from a directory to a database, and back, or nothing does."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pika
import pytest
from click.testing import CliRunner, Result
from pika.adapters.blocking_connection import BlockingChannel

from leveret.cli import main
from leveret.cluster.copy_places import open_target
from leveret.cluster.placement import hashed_store
from leveret.cluster.store_copy import CopyFailed, copy
from leveret_storage.errors import MediumFailed, StorageError
from leveret_storage.media.filesystem import FilesystemMedium
from leveret_storage.medium import Data
from tests.support.brokers import BrokerError, Leveret, wait_until
from tests.support.postgres import PostgresCluster, new_location

GOLDEN = Path(__file__).parent / "golden"
VERSIONS = ("version-1", "version-2", "version-3", "transaction")
VHOSTS = ("/", "orders", "people", "älter")
STORES = 3
PERSISTENT = pika.BasicProperties(delivery_mode=2)


def run(*arguments: object) -> Result:
    """Run `leveret log` with arguments."""
    return CliRunner().invoke(main, ["log", *map(str, arguments)])


def copied(*arguments: object) -> str:
    """Run `leveret log copy`, which succeeds: its last line."""
    result = run("copy", *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout.splitlines()[-1]


def refused(*arguments: object) -> str:
    """Run `leveret log copy`, which copies nothing: why."""
    result = run("copy", *arguments)
    assert result.exit_code == 2
    return result.stderr


def dump(directory: Path) -> list[dict[str, Any]]:
    """What a directory has, without what a start adds."""
    result = run("dump", directory)
    assert (result.exit_code, result.stderr) == (0, "")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    return sorted(
        (each for each in found if each["kind"] != "virtual_host"),
        key=lambda each: json.dumps(each),
    )


def contents(directory: Path) -> dict[str, bytes]:
    """The files of a directory, but for the lock."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.name != "lock"
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_data_of_every_version_are_copied_and_the_source_stays_as_it_is(
    tmp_path: Path, version: str
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    shutil.copytree(GOLDEN / version, source)
    before = contents(source)
    copied(source, target)
    assert contents(source) == before
    assert dump(target) == dump(source)
    assert "sound" in run("check", target).stdout


# --- a cluster, and back ------------------------------------------------------------------------


@contextlib.contextmanager
def channel_of(broker: Leveret, vhost: str) -> Iterator[BlockingChannel]:
    parameters = pika.ConnectionParameters(broker.host, broker.port, vhost)
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        yield channel


def fill(broker: Leveret, vhost: str) -> None:
    """Queues of all kinds, with messages in every state that survives a restart."""
    with channel_of(broker, vhost) as channel:
        channel.queue_declare("plain", durable=True)
        channel.queue_declare("ranked", durable=True, arguments={"x-max-priority": 5})
        channel.queue_declare("unique", durable=True, arguments={"x-message-deduplication": True})
        channel.queue_declare("counted", durable=True, arguments={"x-queue-type": "quorum"})
        channel.exchange_declare(
            "later", "x-delayed-message", durable=True, arguments={"x-delayed-type": "direct"}
        )
        channel.queue_bind("plain", "later", "key")
        channel.queue_bind("plain", "amq.fanout")
        channel.queue_bind("ranked", "amq.fanout")
        for number in range(20):
            body = b"%d in %s" % (number, vhost.encode())
            channel.basic_publish("", "plain", body, PERSISTENT)
            ranked = pika.BasicProperties(delivery_mode=2, priority=number % 5)
            channel.basic_publish("", "ranked", body, ranked)
        channel.basic_publish("amq.fanout", "", bytes(10_000), PERSISTENT)
        key = pika.BasicProperties(delivery_mode=2, headers={"x-deduplication-header": "a key"})
        channel.basic_publish("", "unique", b"once", key)
        delayed = pika.BasicProperties(delivery_mode=2, headers={"x-delay": 86_400_000})
        channel.basic_publish("later", "key", b"tomorrow", delayed)
        channel.basic_publish("", "counted", b"given back", PERSISTENT)
        method, _, _ = channel.basic_get("counted")
        assert method is not None
        channel.basic_nack(method.delivery_tag)
        for _ in range(3):
            channel.basic_get("plain", auto_ack=True)


def check(broker: Leveret, vhost: str) -> None:
    """Check that everything of `fill` is there."""
    with channel_of(broker, vhost) as channel:
        for number in range(3, 20):
            _, _, body = channel.basic_get("plain", auto_ack=True)
            assert body == b"%d in %s" % (number, vhost.encode())
        assert channel.basic_get("plain", auto_ack=True)[2] == bytes(10_000)
        assert channel.basic_get("plain", auto_ack=True)[2] is None
        priorities = []
        while (got := channel.basic_get("ranked", auto_ack=True))[0] is not None:
            priorities.append(got[1].priority or 0)
        assert priorities == sorted(priorities, reverse=True)
        assert len(priorities) == 21
        key = pika.BasicProperties(delivery_mode=2, headers={"x-deduplication-header": "a key"})
        channel.basic_publish("", "unique", b"twice", key)
        assert channel.queue_declare("unique", passive=True).method.message_count == 1
        method, properties, _ = channel.basic_get("counted", auto_ack=True)
        assert method is not None
        assert properties.headers["x-delivery-count"] == 1
        assert method.redelivered


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a broker with several virtual hosts, a user, and a policy."""
    directory = tmp_path_factory.mktemp("filled") / "data"
    with Leveret(data_dir=directory) as broker:
        for vhost in VHOSTS[1:]:
            broker.control("add_vhost", vhost)
            broker.control("set_permissions", "-p", vhost, "guest", ".*", ".*", ".*")
        broker.control("add_user", "alice", "a password")
        broker.control("set_policy", "-p", "orders", "short", "^never", '{"max-length": 7}')
        for vhost in VHOSTS:
            fill(broker, vhost)
    return directory


@pytest.fixture
def data(filled: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(filled, tmp_path / "data")


def test_a_cluster_gets_everything_in_its_stores_and_gives_it_back(
    data: Path, tmp_path: Path, postgres: PostgresCluster
) -> None:
    location = new_location(postgres)
    before = contents(data)
    line = copied(data, location, "--stores", STORES)
    assert "4 virtual hosts" in line
    assert contents(data) == before

    for store in range(STORES):
        result = run("stats", f"{location}&store={store}", "--json")
        assert (result.exit_code, result.stderr) == (0, "")
        found = {each["vhost"] for each in json.loads(result.stdout)["queues"]}
        assert found == {each for each in VHOSTS if hashed_store(each, STORES) == store}
        assert "sound" in run("check", f"{location}&store={store}").stdout

    back = tmp_path / "back"
    copied(location, back)
    assert dump(back) == dump(data)
    with Leveret(data_dir=back) as broker:
        for vhost in VHOSTS:
            check(broker, vhost)
        broker.control("authenticate_user", "alice", "a password")

    variables = {
        "LEVERET_CLUSTER_STORES": str(STORES),
        "LEVERET_STORAGE_LOCAL_DIR": str(tmp_path / "local"),
    }
    with Leveret(location=location, env=variables) as broker:
        for vhost in VHOSTS:
            wait_until(partial(is_served, broker, vhost), what=f"a broker that serves {vhost}")
            check(broker, vhost)
        assert "in use by the brokers" in refused(location, tmp_path / "third")


def is_served(broker: Leveret, vhost: str) -> bool:
    try:
        with channel_of(broker, vhost):
            return True
    except pika.exceptions.AMQPConnectionError:
        return False


def test_what_is_in_use_or_not_empty_is_refused(
    data: Path, tmp_path: Path, postgres: PostgresCluster
) -> None:
    location = new_location(postgres)
    copied(data, location, "--stores", STORES)
    assert "the target is not empty" in refused(data, location)
    assert "has 3 stores, not 4" in refused(data, location, "--stores", 4)
    other = tmp_path / "other"
    copied(data, other)
    before = contents(other)
    assert "the target is not empty" in refused(data, other)
    assert contents(other) == before
    with Leveret(data_dir=data):
        assert "is in use" in refused(data, tmp_path / "third")
    assert "no data directory" in refused(tmp_path / "missing", tmp_path / "third")
    assert "there is no schema" in refused(new_location(postgres), tmp_path / "third")


# --- interrupted --------------------------------------------------------------------------------


class _Failing(FilesystemMedium):
    """One whose disk fails after some appends."""

    appends_left = 3

    def append(self, name: str, data: Data) -> int:
        self.appends_left -= 1
        if self.appends_left < 0:
            raise MediumFailed("the disk has failed")
        return super().append(name, data)


def test_a_copy_that_was_not_finished_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    monkeypatch.setattr("leveret.cluster.copy_places.FilesystemMedium", _Failing)
    source, place = open_target(str(data), None), open_target(str(target), None)
    with pytest.raises(StorageError, match="the disk has failed"):
        copy(source, place, lambda line: None)
    source.close()
    place.close()
    monkeypatch.undo()

    with pytest.raises(BrokerError, match="a copy to it was begun and not finished"):
        Leveret(data_dir=target)
    assert "begun and not finished" in refused(data, target)
    result = run("check", target)
    assert result.exit_code == 2
    assert "begun and not finished" in result.stderr
    shutil.rmtree(target)
    copied(data, target)


def test_damage_in_the_source_is_named_before_anything_is_written(
    data: Path, tmp_path: Path
) -> None:
    log = min((data / "blobs").glob("log-*"))
    content = bytearray(log.read_bytes())
    content[100] ^= 1
    log.write_bytes(content)
    target = tmp_path / "target"
    assert f"the source: {log.name}" in refused(data, target)
    assert not any((target / "blobs").iterdir())


def test_a_source_that_is_used_meanwhile_leaves_no_copy(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    source, place = open_target(str(data), None), open_target(str(target), None)

    def use(_: str) -> None:
        medium = source.media()[0]
        epoch, head = medium.read_head()
        medium.write_head(epoch, epoch + 1, head)

    with pytest.raises(CopyFailed, match="the source was used while it was copied"):
        copy(source, place, use)
    source.close()
    place.close()
    assert "begun and not finished" in refused(data, target)
