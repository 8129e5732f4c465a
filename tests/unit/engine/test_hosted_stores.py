"""Several stores in one broker, each with the virtual hosts it carries."""

import pytest

from leveret.config import Auth, Config
from leveret.engine import hosted_store
from leveret.engine.broker import Broker
from leveret.engine.hosted_store import HostedStore
from leveret.engine.lifecycle.bindings import bind_queue
from leveret.engine.lifecycle.exchanges import declare_exchange
from leveret.engine.lifecycle.queues import declare_queue, remove_queue
from leveret.engine.routing.exchanges.base import ExchangeDeclaration
from leveret.engine.routing.sink import ACCEPTED, AWAITS_COMMIT
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.message import Message, short_strings
from leveret.engine.vhost import VirtualHost
from leveret_storage.errors import StorageError
from leveret_storage.media.executor import InlineExecutor
from tests.storage.faulty import FaultyMedium
from tests.storage.owning import take
from tests.unit.engine.queues.consumers import message

CARRIED = (("/", "a"), ("b",))
"""The virtual hosts of each store."""


def failed(error: StorageError) -> None:
    raise error


class Process:
    """A broker with two stores, each on a medium of its own."""

    def __init__(self, media: list[FaultyMedium]) -> None:
        self.media = media
        self.broker = Broker(Config())
        for name in ("a", "b"):
            self.broker.create_vhost(name)
        self.stores: list[HostedStore] = []
        for medium, vhosts in zip(media, CARRIED, strict=True):
            take(medium)
            executors = InlineExecutor(), InlineExecutor()
            self.stores.append(self.broker.open_store(medium, *executors, failed, vhosts=vhosts))

    def vhost(self, name: str) -> VirtualHost:
        return self.broker.vhosts[name]

    def fill(self, name: str) -> None:
        """Declare an exchange and a queue of the same names in a virtual host, and publish."""
        vhost = self.vhost(name)
        declare_exchange(
            vhost,
            ExchangeDeclaration(
                "fanout", "x", durable=True, auto_delete=False, internal=False, arguments={}
            ),
        )
        declare_queue(
            vhost,
            "q",
            durable=True,
            auto_delete=False,
            owner=None,
            connection=None,
            arguments=Arguments({}, {}),
        )
        bind_queue(vhost, "q", "x", "", {}, None)
        for number in range(3):
            self.publish(name, f"{name} {number}".encode())

    def publish(self, name: str, body: bytes) -> int:
        """Publish a persistent message through the exchange; the outcome."""
        vhost = self.vhost(name)
        route = vhost.router.route(short_strings(b"x", b""))
        published = Message(route.raw, message().header, body, True)
        return int(vhost.publisher.publish(published, route.sinks))

    def bodies(self, name: str) -> list[bytes]:
        """The messages in the queue of a virtual host, which is empty then."""
        queue = self.vhost(name).queues["q"]
        found: list[bytes] = []
        while (taken := queue.take()) is not None:
            found.append(taken[0].body)
            queue.settle(taken[1])
        return found

    def restarted(self) -> "Process":
        """The next process, after power was lost."""
        self.broker.commit(urgent=True)
        return Process([medium.crash() for medium in self.media])


@pytest.fixture
def process() -> Process:
    process = Process([FaultyMedium(1), FaultyMedium(2)])
    for name in ("/", "a", "b"):
        process.fill(name)
    return process


def test_each_virtual_host_is_found_again_in_its_store(process: Process) -> None:
    after = process.restarted()
    for name in ("/", "a", "b"):
        assert after.bodies(name) == [f"{name} {number}".encode() for number in range(3)]
        assert after.publish(name, b"more") == ACCEPTED | AWAITS_COMMIT
        assert after.bodies(name) == [b"more"], "the binding is there, too"


def test_a_virtual_host_cannot_be_in_two_stores(process: Process) -> None:
    process.broker.commit(urgent=True)
    media = [medium.crash() for medium in process.media]
    with pytest.raises(StorageError, match=r"virtual hosts in two stores: \['b'\]"):
        Process(media[::-1])


def started(medium: FaultyMedium, default_vhost: str) -> tuple[Broker, HostedStore]:
    """A broker with one store, and the virtual host that its configuration names."""
    broker = Broker(Config(auth=Auth(default_vhost=default_vhost)))
    take(medium)
    return broker, broker.open_store(medium, InlineExecutor(), InlineExecutor(), failed)


def test_a_virtual_host_exists_because_the_data_say_so(process: Process) -> None:
    """Whatever the configuration names at each start, nothing that was kept is deleted."""
    process.broker.commit(urgent=True)
    medium = process.media[1].crash()
    for configured in ("/", "other", "b"):
        broker, hosted = started(medium, configured)
        assert {"b", "/", configured} <= broker.vhosts.keys()
        assert "amq.direct" in broker.vhosts["b"].exchanges
        assert broker.vhosts["b"].queues["q"].message_count() == 3
        hosted.store.close()
        medium = medium.crash()
    broker, _ = started(medium, "b")
    assert set(broker.vhosts) == {"b", "/", "other"}, "one without anything durable is kept, too"
    vhost = broker.vhosts["b"]
    route = vhost.router.route(short_strings(b"x", b""))
    assert vhost.publisher.publish(Message(route.raw, b"", b"", True), route.sinks) == (
        ACCEPTED | AWAITS_COMMIT
    )


def test_each_store_commits_its_own_batches(process: Process) -> None:
    process.broker.commit(urgent=True)
    first, second = (hosted.store for hosted in process.stores)
    before = int(first.batch), int(second.batch)
    process.publish("b", b"in the second store only")
    process.broker.commit()
    assert (int(first.batch), int(second.batch)) == (before[0], before[1] + 1)
    assert second.synced == before[1]


def test_a_deletion_in_one_store_leaves_the_same_name_in_the_other(process: Process) -> None:
    vhost = process.vhost("b")
    remove_queue(vhost, vhost.queues["q"])
    after = process.restarted()
    assert after.vhost("b").queues == {}
    assert after.bodies("a") == [b"a 0", b"a 1", b"a 2"]


@pytest.mark.parametrize("memory_bytes", [1, 10**6])
def test_a_medium_is_taken_when_all_of_it_was_read(
    memory_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that has to write while it reads, because memory is small, reads twice."""
    monkeypatch.setattr(hosted_store, "RESTORED_BYTES_MAX", memory_bytes)
    process = Process([FaultyMedium(1), FaultyMedium(2)])
    process.fill("/")
    process.broker.commit(urgent=True)
    medium = process.media[0].kill()
    before = {name: medium.size(name) for name in medium.list()}
    broker = Broker(Config())
    broker.create_vhost("a")
    taken: list[bool] = []

    def take_now() -> None:
        taken.append({name: medium.size(name) for name in medium.list()} == before)
        taken.append("q" in broker.vhosts["/"].queues)
        take(medium)

    broker.open_store(medium, InlineExecutor(), InlineExecutor(), failed, take=take_now)

    assert taken == [True, True]
    queue = broker.vhosts["/"].queues["q"]
    bodies = [taken_one[0].body for _ in range(3) if (taken_one := queue.take()) is not None]
    assert bodies == [b"/ 0", b"/ 1", b"/ 2"]
