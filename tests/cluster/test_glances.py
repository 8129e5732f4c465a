"""Members that were killed, and stores that were given back, are found before the next renewal."""

import asyncio
import socket
from collections.abc import Callable, Iterator

import pytest

from leveret.cluster.agent import Agent
from leveret.cluster.coordination_thread import CoordinationThread, NotRenewed, Renewed, refuses
from leveret.cluster.store_host import StoreHost
from leveret_storage.coordination import ClusterView, Member, NameTaken, StoreLease, Unseen
from tests.cluster.fake_coordination import FakeCoordination
from tests.support.brokers import HOST, free_port, wait_until


def view_of(*names: str) -> ClusterView:
    members = tuple(
        Member(name, f"{name}-1", "", "1.0", 0, 0, 0, draining=False, is_alive=True)
        for name in names
    )
    return ClusterView(members, (StoreLease(0, "", "", 0, 0, False, "", "", ""),))


class Thread:
    """The thread, over a coordination whose answers a test sets."""

    def __init__(self) -> None:
        self.coordination = FakeCoordination(view_of("a", "b"))
        self.views: list[Renewed | NotRenewed] = []
        self.thread = CoordinationThread(self.coordination, 30.0, self.deliver, self.views.append)

    def deliver(self, result: Callable[[], None]) -> None:
        result()


@pytest.fixture
def running() -> Iterator[Thread]:
    running = Thread()
    running.thread.start()
    yield running
    running.thread.close()
    running.thread.join()


def test_the_leases_of_one_whose_address_refuses_are_ended(running: Thread) -> None:
    running.coordination.unseen = [Unseen("b-1", f"{HOST}:{free_port()}")]
    wait_until(lambda: running.coordination.ended == ["b-1"])
    wait_until(lambda: len(running.views) == 2, what="a look at once")


def test_one_that_answers_or_has_no_address_keeps_its_leases(running: Thread) -> None:
    with socket.create_server((HOST, 0)) as server:
        server.settimeout(60.0)
        unseen = [Unseen("b-1", f"{HOST}:{server.getsockname()[1]}"), Unseen("c-1", "")]
        running.coordination.unseen = unseen
        server.accept()[0].close()
        before = running.coordination.glances
        wait_until(lambda: running.coordination.glances > before + 2)
        assert running.coordination.ended == []


def test_a_store_that_was_given_back_is_looked_at_soon(running: Thread) -> None:
    wait_until(lambda: len(running.views) == 1)
    running.coordination.has_free = True
    wait_until(lambda: len(running.views) > 1)


def test_one_that_is_alone_does_not_glance(running: Thread) -> None:
    alone = Thread()
    alone.coordination.view = view_of("a")
    alone.thread.start()
    before = running.coordination.glances
    wait_until(lambda: running.coordination.glances > before + 2)
    assert alone.coordination.glances == 0
    alone.thread.close()
    alone.thread.join()


def test_only_a_refusal_says_that_nobody_listens() -> None:
    with socket.create_server((HOST, 0)) as server:
        assert not refuses(f"{HOST}:{server.getsockname()[1]}")
    assert refuses(f"{HOST}:{free_port()}")
    assert not refuses("nowhere.invalid:5672")
    assert not refuses("no address")


def test_a_start_does_not_wait_for_the_lease_of_the_process_that_was_killed_before() -> None:
    class Coordination(FakeCoordination):
        def join(self, member: Member, stores: int, lease_ms: int) -> None:
            if "a-1" not in self.ended:
                raise NameTaken("another process has the name")

    async def start() -> None:
        coordination = Coordination(view_of("b"))
        coordination.unseen = [Unseen("a-1", "broker1:25672"), Unseen("c-1", "")]
        member = view_of("a").members[0]._replace(incarnation="a-2", address="broker1:25672")
        agent = Agent(coordination, NoHost(), member, 1, 600.0)
        await agent.start()
        assert coordination.ended == ["a-1"]
        await agent.drain_and_stop(0.0)

    asyncio.run(asyncio.wait_for(start(), 60))


class NoHost(StoreHost):
    """Has no store."""

    async def open(self, store: int) -> int:
        raise AssertionError(store)

    async def hand_over(self, store: int, reason: str) -> None:
        raise AssertionError(store)

    def give_up(self, store: int, reason: str) -> None: ...
