"""An agent, with stores and a database of the test: it opens, hands over, gives up, and tells."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from leveret.cluster.agent import Agent
from leveret.cluster.cluster_status import FailedMember
from leveret.cluster.placement import ClusterPlacement, hashed_store
from leveret.cluster.store_host import SHUT_OUT, SHUT_OUT_MAX_S, StoreHost
from leveret.engine.placement import ServedBy
from leveret_storage.coordination import Member, NameTaken, Unreachable
from leveret_storage.errors import DataLost, LostEpoch, MediumFailed, ReadFailed, StorageError
from tests.unit.cluster.memory_coordination import MemoryCoordination, SharedRows

STORES = 3
LEASE_S = 3.0
DEADLINE_S = 60.0


class Host(StoreHost):
    """Stores that a test looks at."""

    def __init__(self) -> None:
        self.open_stores: set[int] = set()
        self.given_up: list[tuple[int, str]] = []
        self.error: StorageError | None = None
        self.shut_out = 0.0
        self.defect = False
        self.opens = 0
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    def shut_out_s(self) -> float:
        return self.shut_out

    async def open(self, store: int) -> int:
        await self.may_go_on.wait()
        self.opens += 1
        if self.error is not None:
            raise self.error
        if self.defect:
            raise ZeroDivisionError
        self.open_stores.add(store)
        return self.opens

    async def hand_over(self, store: int, reason: str) -> None:
        await self.may_go_on.wait()
        if store not in self.open_stores:
            raise LostEpoch("it was given up")
        self.open_stores.discard(store)

    def give_up(self, store: int, reason: str) -> None:
        self.open_stores.discard(store)
        self.given_up.append((store, reason))


class Node:
    """An agent, and what it works with."""

    def __init__(self, shared: SharedRows, name: str, incarnation: str, lease_s: float) -> None:
        self.host = Host()
        self.coordination = MemoryCoordination(shared)
        member = Member(name, incarnation, f"{name}:5673", "1.0", 0, 0, 0, False, False)
        self.agent = Agent(self.coordination, self.host, member, STORES, lease_s)

    def states(self) -> list[str]:
        return [each.state for each in self.agent.view().stores]

    def owners(self) -> list[str]:
        return [each.owner if each.is_served else "" for each in self.agent.view().stores]


async def until(state: Callable[[], object], what: Callable[[], object]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not state():
        assert time.monotonic() < end, what()
        await asyncio.sleep(0.01)


pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def shared() -> SharedRows:
    return SharedRows(STORES)


@asynccontextmanager
async def running(
    shared: SharedRows, name: str = "a", incarnation: str = "", lease_s: float = LEASE_S
) -> AsyncIterator[Node]:
    node = Node(shared, name, incarnation or f"{name}-1", lease_s)
    await node.agent.start()
    try:
        yield node
    finally:
        node.host.may_go_on.set()
        await node.agent.drain_and_stop(DEADLINE_S)


async def owns_all(node: Node) -> None:
    await until(lambda: node.owners() == ["a"] * STORES, node.states)


async def test_it_opens_what_is_free_and_leaves_nothing(shared: SharedRows) -> None:
    async with running(shared) as node:
        await owns_all(node)
        assert node.host.open_stores == {0, 1, 2}
        status = node.agent.view()
        assert (status.node, status.is_reachable, status.counts.taken) == ("a", True, STORES)
        assert 0 <= status.renewal_age_s < DEADLINE_S
        await until(lambda: all(each.epoch for each in node.agent.view().stores), node.states)
    assert node.host.open_stores == set()
    assert node.host.given_up == []
    assert shared.rows.members == {}
    assert all(not lease.owner for lease in shared.rows.leases)


async def test_who_leaves_hands_over_to_others(shared: SharedRows) -> None:
    async with running(shared, "b") as other:
        async with running(shared, "a") as node:
            node.coordination.move(0, "a")
            await until(lambda: "" not in other.owners(), other.states)
        await until(lambda: other.owners() == ["b"] * STORES, other.states)
        assert node.host.given_up == []


async def test_all_see_who_serves_a_virtual_host(shared: SharedRows) -> None:
    vhost = "shop"
    async with running(shared, "a") as node, running(shared, "b") as other:
        await owns_all(node)
        pins = {"pinned": 2}
        placements = [
            ClusterPlacement(each.agent, STORES, lambda name: pins.get(name, -1))
            for each in (node, other)
        ]
        assert [each.store_of("pinned") for each in placements] == [2, 2]
        assert [each.store_of(vhost) for each in placements] == [hashed_store(vhost, STORES)] * 2
        await until(lambda: other.owners() == ["a"] * STORES, other.states)
        assert placements[0].served_by(vhost) == ServedBy("a", "a", is_local=True)
        assert placements[1].served_by(vhost) == ServedBy("a", "a", is_local=False)


async def test_changes_are_told(shared: SharedRows) -> None:
    async with running(shared) as node:
        changes: list[list[str]] = []

        def changed() -> None:
            changes.append(node.states())

        node.agent.subscribe(changed)
        await owns_all(node)
        node.agent.store_failed(1, ReadFailed("no connection"))
        assert node.host.given_up == [(1, "no connection")]
        assert changes[-1][1] == "releasing"
        node.agent.unsubscribe(changed)
        # A store that failed is tried again after a while.
        await owns_all(node)


async def test_data_that_were_lost_are_refused_until_they_are_allowed(shared: SharedRows) -> None:
    async with running(shared) as node:
        await owns_all(node)
        node.agent.store_failed(1, DataLost("a row is missing"))
        await until(lambda: node.states()[1] == "refused", node.states)
        assert node.agent.store(1).reason == "a row is missing"
        node.coordination.allow(1)
        await owns_all(node)


async def test_what_one_cannot_open_is_opened_by_another_which_says_why(
    shared: SharedRows,
) -> None:
    async with running(shared, "a") as broken:
        broken.host.error = MediumFailed("no local directory")
        await until(lambda: broken.agent.view().counts.failed, broken.states)
        async with running(shared, "b") as other:
            await until(lambda: other.owners() == ["b"] * STORES, other.states)
            store = next(each for each in other.agent.view().stores if each.failed)
            assert store.failed == (FailedMember("a", "no local directory"),)
        broken.host.error = None
        await owns_all(broken)
        await until(lambda: not any(each.failed for each in shared.rows.leases), broken.states)


async def test_who_reaches_the_database_for_leases_only_leaves_its_stores_to_others(
    shared: SharedRows,
) -> None:
    async with running(shared, "a") as broken, running(shared, "b") as other:
        await until(lambda: "" not in broken.owners() and "a" in broken.owners(), broken.states)
        broken.host.shut_out = SHUT_OUT_MAX_S - 0.1
        viewed_at = broken.agent.view().view_age_s
        await until(lambda: broken.agent.view().view_age_s < viewed_at, broken.states)
        assert broken.host.open_stores
        broken.host.shut_out = SHUT_OUT_MAX_S
        broken.host.error = ReadFailed(SHUT_OUT)
        await until(lambda: other.owners() == ["b"] * STORES, other.states)
        assert {reason for _, reason in broken.host.given_up} == {SHUT_OUT}
        broken.host.shut_out, broken.host.error = 0.0, None


async def test_a_defect_while_opening_keeps_no_store(shared: SharedRows) -> None:
    loop = asyncio.get_running_loop()
    told: list[object] = []
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    async with running(shared) as node:
        node.host.defect = True
        await until(lambda: node.agent.view().counts.failed, node.states)
        node.host.defect = False
        await owns_all(node)
    assert isinstance(told[0], ZeroDivisionError)


async def test_without_a_database_stores_are_given_up_when_the_leases_end(
    shared: SharedRows,
) -> None:
    async with running(shared, lease_s=1.0) as node:
        await owns_all(node)
        node.coordination.error = Unreachable("no answer")
        await until(lambda: not node.agent.view().is_reachable, node.states)
        await until(lambda: not node.host.open_stores, node.states)
        assert node.agent.view().reason == "no answer"
        assert node.agent.view().counts.lost >= STORES
        node.coordination.error = None
        await owns_all(node)
        assert node.agent.view().is_reachable


async def test_a_long_turn_of_the_event_loop_loses_nothing(shared: SharedRows) -> None:
    async with running(shared) as node:
        await owns_all(node)
        time.sleep(LEASE_S + 0.5)  # noqa: ASYNC251
        await asyncio.sleep(0)
        await until(lambda: node.agent.view().renewal_age_s < LEASE_S / 2, node.states)
        assert node.host.given_up == []


async def test_a_name_that_is_alive_is_not_taken(shared: SharedRows) -> None:
    async with running(shared) as node:
        await owns_all(node)
        with pytest.raises(NameTaken):
            async with running(shared, incarnation="a-2"):
                pass
        assert node.host.given_up == []


async def test_who_was_replaced_gives_everything_up(shared: SharedRows) -> None:
    async with running(shared, lease_s=1.0) as node:
        await owns_all(node)
        node.coordination.error = NameTaken("another process has the node name a")
        await until(lambda: node.agent.failure, node.states)
        assert node.host.open_stores == set()
        assert node.agent.failure is node.coordination.error
        assert not node.agent.view().is_reachable


async def test_a_store_that_is_given_up_while_it_opens_is_not_served(shared: SharedRows) -> None:
    async with running(shared, lease_s=2.0) as node:
        await owns_all(node)
        node.host.may_go_on.clear()
        node.agent.store_failed(1, ReadFailed("no connection"))
        await until(lambda: node.states()[1] == "opening", node.states)
        node.coordination.error = Unreachable("no answer")
        await until(lambda: node.states()[1] == "giving up", node.states)
        node.host.may_go_on.set()
        await until(lambda: node.states()[1] != "giving up", node.states)
        assert node.host.open_stores == set()
        node.coordination.error = None


async def test_one_that_is_killed_says_nothing(shared: SharedRows) -> None:
    node = Node(shared, "a", "a-1", LEASE_S)
    await node.agent.start()
    await owns_all(node)
    node.agent.kill()
    node.coordination.error = Unreachable("it is dead")
    assert node.host.given_up == []
    assert [lease.owner for lease in shared.rows.leases] == ["a"] * STORES
    assert "a" in shared.rows.members


async def test_what_is_not_handed_over_in_time_is_given_up(shared: SharedRows) -> None:
    node = Node(shared, "a", "a-1", LEASE_S)
    await node.agent.start()
    await owns_all(node)
    node.host.may_go_on.clear()
    asyncio.get_running_loop().call_later(0.2, node.host.may_go_on.set)
    await node.agent.drain_and_stop(0.1)
    assert {store for store, _ in node.host.given_up} == {0, 1, 2}
    assert shared.rows.members == {}
