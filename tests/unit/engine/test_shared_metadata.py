"""A broker whose metadata a cluster shares: they are in none of its stores, which carry the virtual
hosts that the placement says."""

import pytest

from leveret.config import Config
from leveret.engine.broker import Broker
from leveret.engine.hosted_store import HostedStore
from leveret.engine.metadata.entities import (
    EntityDeleted,
    User,
    VirtualHostEntity,
)
from leveret.engine.metadata.metadata import Metadata
from leveret.engine.placement import Placement, ServedBy
from leveret_storage.errors import StorageError
from leveret_storage.media.executor import InlineExecutor
from tests.storage.faulty import FaultyMedium
from tests.storage.owning import take
from tests.unit.engine.declaring import declare_plain_queue


class ByPin(Placement):
    """Each virtual host is where its pin says."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    def store_of(self, vhost: str) -> int:
        entity = self._metadata.get(VirtualHostEntity, vhost)
        return 0 if entity is None else entity.store

    def served_by(self, vhost: str) -> ServedBy | None:
        raise NotImplementedError


def failed(error: StorageError) -> None:
    raise error


def entity(name: str, store: int = 0, uid: str = "1") -> VirtualHostEntity:
    return VirtualHostEntity(name, store=store, uid=uid)


class Member:
    """A broker of a cluster, which owns the stores 1 and 2."""

    def __init__(self, metadata: Metadata, media: list[FaultyMedium] | None = None) -> None:
        self.metadata = metadata
        self.media = media or [FaultyMedium(1), FaultyMedium(2)]
        self.broker = Broker(Config(), metadata)
        self.broker.placement = ByPin(metadata)
        self.stores = [self._open(number, medium) for number, medium in enumerate(self.media, 1)]

    def _open(self, number: int, medium: FaultyMedium) -> HostedStore:
        take(medium)
        hosted = self.broker.open_store(
            medium, InlineExecutor(), InlineExecutor(), failed, vhosts=(), number=number
        )
        self.broker.match_metadata(hosted)
        return hosted

    def finish(self) -> None:
        self.broker.work.run_all(self.broker.time_slice)
        self.broker.commit(urgent=True)

    def again(self, metadata: Metadata) -> "Member":
        """The next owner of the stores, after power was lost."""
        self.finish()
        return Member(metadata, [medium.crash() for medium in self.media])

    def carried(self) -> list[set[str]]:
        return [set(hosted.vhosts) for hosted in self.stores]


def metadata_of(*entities: VirtualHostEntity) -> Metadata:
    metadata = Metadata()
    for each in entities:
        metadata.restore(each)
    return metadata


@pytest.fixture
def member() -> Member:
    return Member(metadata_of(entity("a", 1), entity("b", 2), entity("c", 3)))


def test_a_broker_makes_the_virtual_hosts_of_its_stores_and_no_others(member: Member) -> None:
    assert set(member.broker.vhosts) == {"a", "b"}
    assert member.carried() == [{"a"}, {"b"}]


def test_nothing_is_added_to_metadata_that_are_shared(member: Member) -> None:
    assert not member.metadata.all(User)
    assert member.metadata.get(VirtualHostEntity, "/") is None


def test_metadata_are_in_no_store(member: Member) -> None:
    again = member.again(Metadata())
    assert not again.broker.vhosts
    assert not again.stores[0].metadata.all(VirtualHostEntity)


def test_a_virtual_host_that_another_broker_adds_is_served_where_its_store_is(
    member: Member,
) -> None:
    member.metadata.apply(entity("d", 2))
    member.metadata.apply(entity("e", 4))
    assert member.carried() == [{"a"}, {"b", "d"}]
    assert "e" not in member.broker.vhosts


def test_contents_are_found_by_the_next_owner(member: Member) -> None:
    declare_plain_queue(member.broker.vhosts["a"], "q", durable=True)
    assert "q" in member.again(member.metadata.copy()).broker.vhosts["a"].queues


def test_a_deletion_on_another_broker_deletes_the_contents(member: Member) -> None:
    declare_plain_queue(member.broker.vhosts["a"], "q", durable=True)
    metadata = member.metadata.copy()
    member.metadata.apply(EntityDeleted("virtual_host", ("a",)))
    assert "a" not in member.broker.vhosts
    assert not member.again(metadata).broker.vhosts["a"].queues


def test_a_deletion_while_the_owner_was_down_deletes_the_contents(member: Member) -> None:
    declare_plain_queue(member.broker.vhosts["a"], "q", durable=True)
    metadata = member.metadata.copy()
    without = metadata.copy()
    without.restore(EntityDeleted("virtual_host", ("a",)))
    again = member.again(without)
    assert "a" not in again.broker.vhosts
    assert not again.again(metadata).broker.vhosts["a"].queues


@pytest.mark.parametrize("running", [True, False])
def test_the_next_virtual_host_of_a_name_inherits_nothing(member: Member, running: bool) -> None:
    """Also where deletion and creation are seen as one change."""
    declare_plain_queue(member.broker.vhosts["a"], "q", durable=True)
    if running:
        member.metadata.apply(entity("a", 1, uid="2"))
        again = member.again(member.metadata.copy())
    else:
        metadata = member.metadata.copy()
        metadata.restore(entity("a", 1, uid="2"))
        again = member.again(metadata)
    assert not again.broker.vhosts["a"].queues
    assert again.broker.vhosts["a"].uid == "2"
    declare_plain_queue(again.broker.vhosts["a"], "q2", durable=True)
    assert set(again.again(again.metadata.copy()).broker.vhosts["a"].queues) == {"q2"}


def test_a_change_of_a_virtual_host_keeps_its_contents(member: Member) -> None:
    declare_plain_queue(member.broker.vhosts["a"], "q", durable=True)
    member.metadata.apply(VirtualHostEntity("a", "described", store=1, uid="1"))
    assert "q" in member.again(member.metadata.copy()).broker.vhosts["a"].queues
