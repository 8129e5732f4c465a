"""Members and leases in a PostgreSQL database: who is there, and who owns which store."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from leveret_storage.coordination import Member, NameTaken, StoreLease, Unreachable, Unseen
from leveret_storage.errors import LostEpoch, UnsuitableMedium
from leveret_storage.media.postgres import coordination as postgres_coordination
from leveret_storage.media.postgres.coordination import PostgresCoordination
from leveret_storage.media.postgres.database import Database
from leveret_storage.media.postgres.location import parse_location
from leveret_storage.media.postgres.medium import PostgresMedium
from tests.storage.owning import take
from tests.support.brokers import wait_until
from tests.support.postgres import PostgresCluster, await_state, new_location, paused
from tests.support.tcp_proxy import TcpProxy

STORES = 4
LEASE_MS = 60_000
"""So long that no slow machine lets one end."""

SHORT_LEASE_MS = 500
"""For what is to end."""

PATIENCE_S = 60.0

Join = Callable[..., PostgresCoordination]


def member(name: str, incarnation: str = "") -> Member:
    return Member(name, incarnation or f"{name}-1", f"{name}:5673", "1.0", 0, 0, 0, False, False)


def lease_of(coordination: PostgresCoordination, store: int) -> StoreLease:
    return coordination.look().leases[store]


def is_renewed(coordination: PostgresCoordination) -> bool:
    try:
        coordination.renew(())
    except Unreachable:
        return False
    return True


@pytest.fixture
def opened() -> Iterator[list[PostgresCoordination]]:
    coordinations: list[PostgresCoordination] = []
    yield coordinations
    for each in coordinations:
        each.close()


@pytest.fixture
def location(postgres: PostgresCluster) -> str:
    """The location of a new schema."""
    location = new_location(postgres)
    Database(parse_location(location)).close()
    return location


@pytest.fixture
def join(location: str, opened: list[PostgresCoordination]) -> Join:
    def join(
        name: str,
        *,
        incarnation: str = "",
        lease_ms: int = LEASE_MS,
        stores: int = STORES,
        at: str = location,
        patient: bool = True,
    ) -> PostgresCoordination:
        coordination = PostgresCoordination(parse_location(at), "replicated")
        opened.append(coordination)
        coordination.join(member(name, incarnation), stores, lease_ms)
        if patient:
            # A slow machine is no database that does not answer.
            coordination._calls.timeout_s = PATIENCE_S
        return coordination

    return join


class TestMembers:
    def test_all_see_who_is_there(self, join: Join) -> None:
        a, b = join("a"), join("b")
        for view in (a.renew(()), b.look()):
            assert [(each.name, each.incarnation, each.address) for each in view.members] == [
                ("a", "a-1", "a:5673"),
                ("b", "b-1", "b:5673"),
            ]
            assert all(each.is_alive and not each.draining for each in view.members)
        assert [lease.store for lease in a.look().leases] == list(range(STORES))

    def test_time_is_that_of_the_database(self, join: Join, location: str) -> None:
        database = Database(parse_location(location))
        before = database.now_ms()
        database.close()
        view = join("a").renew(())
        assert view.members[0].started_at == pytest.approx(before, abs=60_000)
        assert 0 <= view.members[0].silent_ms < 60_000

    def test_a_name_is_taken_while_its_process_lives(self, join: Join) -> None:
        first = join("a")
        with pytest.raises(NameTaken, match=r"server\.node_name"):
            join("a", incarnation="a-2")
        assert first.renew(()).members[0].incarnation == "a-1"

    def test_a_process_that_is_silent_is_replaced(self, join: Join) -> None:
        first = join("a", lease_ms=SHORT_LEASE_MS)
        await_state(lambda: not first.look().members[0].is_alive, "its lease ends")
        join("a", incarnation="a-2")
        with pytest.raises(NameTaken):
            first.renew(())
        assert not first.try_take(0)

    def test_steady_is_who_was_not_silent(self, join: Join) -> None:
        a = join("a", lease_ms=SHORT_LEASE_MS)
        time.sleep(0.01)
        assert 0 < a.renew(()).members[0].steady_ms < SHORT_LEASE_MS
        await_state(lambda: not a.look().members[0].is_alive, "its lease ends")
        assert a.renew(()).members[0].steady_ms == 0

    def test_the_number_of_stores_is_that_of_the_first(self, join: Join) -> None:
        join("a", stores=3)
        with pytest.raises(UnsuitableMedium, match=r"cluster\.stores = 3"):
            join("b", stores=5)

    def test_one_that_was_forgotten_and_lives_is_there_again(self, join: Join) -> None:
        a, b = join("a"), join("b", lease_ms=SHORT_LEASE_MS)
        assert not a.forget("a")
        await_state(lambda: not a.look().members[1].is_alive, "its lease ends")
        assert a.forget("b")
        assert len(a.look().members) == 1
        assert not a.forget("b")
        assert len(b.renew(()).members) == 2

    def test_a_drain_ends_with_the_process(self, join: Join) -> None:
        a, b = join("a"), join("b")
        assert a.drain("b", True)
        assert not a.drain("c", True)
        assert b.renew(()).members[1].draining
        b.leave()
        assert len(a.look().members) == 1
        assert not join("b", incarnation="b-2").look().members[1].draining

    def test_a_clock_that_was_set_back_keeps_nobody_alive(
        self, join: Join, postgres: PostgresCluster, location: str
    ) -> None:
        a, b = join("a"), join("b")
        assert b.try_take(0)
        schema = parse_location(location).schema
        postgres.owner(f"update {schema}.member set seen_at = seen_at + interval '1 hour'")
        postgres.owner(f"update {schema}.lease set until = until + interval '1 hour'")
        with pytest.raises(NameTaken):
            join("b", incarnation="b-2")
        view = a.renew(())
        assert view.leases[0].left_ms <= LEASE_MS
        # What lies ahead is seen as now; then it becomes old.
        rows = postgres.owner(f"select max(seen_at) <= clock_timestamp() from {schema}.member")
        assert rows == [(True,)]


class TestLeases:
    def test_one_of_two_takes_it(self, join: Join) -> None:
        a, b = join("a"), join("b")
        assert a.try_take(1)
        assert not b.try_take(1)
        lease = lease_of(b, 1)
        assert (lease.owner, lease.incarnation, lease.is_open) == ("a", "a-1", False)
        assert 0 < lease.left_ms <= LEASE_MS

    def test_at_once_one_of_two_takes_it(self, join: Join) -> None:
        members = [join("a"), join("b")]
        with ThreadPoolExecutor(2) as threads:
            for store in range(STORES):
                taken = list(threads.map(lambda each, store=store: each.try_take(store), members))
                assert sorted(taken) == [False, True]

    def test_it_is_released_for_a_member(self, join: Join) -> None:
        a, b = join("a"), join("b")
        a.try_take(0)
        a.note_epoch(0, 7)
        assert lease_of(b, 0)[3:6:2] == (7, True)
        b.release(0)
        assert lease_of(b, 0).owner == "a"
        a.release(0, "b")
        lease = lease_of(b, 0)
        assert (lease.owner, lease.left_ms, lease.successor) == ("", 0, "b")
        assert b.try_take(0)
        lease = lease_of(b, 0)
        assert (lease.owner, lease.epoch, lease.is_open, lease.successor) == ("b", 7, False, "")

    def test_one_that_is_renewed_lasts_and_one_that_is_not_ends(self, join: Join) -> None:
        a, b = join("a", lease_ms=SHORT_LEASE_MS), join("b")
        a.try_take(0)
        a.try_take(1)
        end = time.monotonic() + 30
        while lease_of(b, 1).left_ms and time.monotonic() < end:
            assert a.renew([0]).leases[0].left_ms > 0
        assert lease_of(b, 1).owner == "a"
        assert b.try_take(1)
        assert a.renew([0, 1]).leases[1].owner == "b"

    def test_one_that_ended_and_nobody_took_is_renewed(self, join: Join) -> None:
        a = join("a", lease_ms=SHORT_LEASE_MS)
        a.try_take(0)
        await_state(lambda: lease_of(a, 0).left_ms == 0, "its lease ends")
        assert a.renew([0]).leases[0].left_ms > 0

    def test_a_release_of_an_earlier_take_changes_nothing(
        self, join: Join, postgres: PostgresCluster, location: str
    ) -> None:
        a = join("a")
        a.try_take(0)
        # The same process has taken it again, and what it knows of that was lost.
        schema = parse_location(location).schema
        postgres.owner(f"update {schema}.lease set takes = takes + 1 where store = 0")
        a.release(0)
        assert lease_of(a, 0).owner == "a"

    def test_one_that_is_refused_is_taken_when_it_is_allowed(self, join: Join) -> None:
        a, b = join("a"), join("b")
        a.try_take(0)
        b.refuse(0, "not ours")
        assert not lease_of(b, 0).refused
        a.refuse(0, "data were lost")
        assert lease_of(b, 0).refused == "data were lost"
        assert not a.try_take(0)
        assert not b.try_take(0)
        b.allow(0)
        assert b.try_take(0)

    def test_an_operator_wants_an_owner(self, join: Join) -> None:
        a = join("a")
        a.move(2, "b")
        a.try_take(2)
        assert lease_of(a, 2).wanted == "b"
        a.move(2, "")
        assert lease_of(a, 2).wanted == ""

    def test_who_leaves_leaves_nothing(self, join: Join) -> None:
        a, b = join("a"), join("b")
        a.try_take(0)
        a.leave()
        assert [each.name for each in b.look().members] == ["b"]
        assert b.try_take(0)

    def test_one_that_left_takes_nothing(self, join: Join) -> None:
        a = join("a")
        a.leave()
        assert not a.try_take(0)


class TestUnseen:
    """Members without a connection to the database."""

    def test_who_has_a_connection_is_seen(self, join: Join) -> None:
        a, b = join("a"), join("b")
        b.try_take(0)
        assert a.glance().unseen == []
        a.end_leases("b-1")
        assert lease_of(a, 0).left_ms > 0
        assert all(each.is_alive for each in a.look().members)

    def test_the_leases_of_one_that_was_killed_are_ended(self, join: Join) -> None:
        a, b = join("a"), join("b")
        b.try_take(0)
        a.try_take(1)
        b.close()
        await_state(lambda: a.glance().unseen == [Unseen("b-1", "b:5673")], "its connection ended")
        assert not a.try_take(0)
        a.end_leases("b-1")
        assert a.glance().unseen == []
        assert [each.name for each in a.look().members if each.is_alive] == ["a"]
        assert a.try_take(0)
        assert lease_of(a, 1).owner == "a"

    def test_one_that_lives_is_alive_again_and_has_what_nobody_took(self, join: Join) -> None:
        a, b = join("a"), join("b")
        for store in (0, 1):
            b.try_take(store)
        b.close()
        await_state(lambda: bool(a.glance().unseen), "its connection ended")
        a.end_leases("b-1")
        a.try_take(0)
        again = join("b")
        again.renew((0, 1))
        assert all(each.is_alive for each in a.look().members)
        assert [lease.owner for lease in a.look().leases[:2]] == ["a", "b"]
        assert a.glance().unseen == []

    def test_a_store_that_was_given_back_is_seen(self, join: Join) -> None:
        a = join("a")
        for store in range(STORES):
            assert a.glance().has_free
            a.try_take(store)
        assert not a.glance().has_free
        a.release(1)
        assert a.glance().has_free
        a.try_take(1)
        a.refuse(1, "data were lost")
        assert not a.glance().has_free

    def test_another_process_of_the_name_is_seen(self, join: Join) -> None:
        a, b = join("a"), join("b", lease_ms=SHORT_LEASE_MS)
        b.close()
        await_state(lambda: bool(a.glance().unseen), "its connection ended")
        a.end_leases("b-1")
        join("b", incarnation="b-2")
        assert a.glance().unseen == []


class TestUnreachable:
    @pytest.fixture
    def proxy(self, postgres: PostgresCluster) -> Iterator[TcpProxy]:
        with TcpProxy(postgres.primary.port) as proxy:
            yield proxy

    @pytest.fixture
    def proxied(self, postgres: PostgresCluster, location: str, proxy: TcpProxy) -> str:
        for server in postgres.servers:
            location = location.replace(f":{server.port}", f":{proxy.port}")
        return location

    def test_a_connection_that_is_cut_is_made_again(
        self, join: Join, proxied: str, proxy: TcpProxy
    ) -> None:
        a = join("a", at=proxied)
        a.try_take(0)
        proxy.cut()
        with pytest.raises(Unreachable):
            a.renew([0])
        assert a.renew([0]).leases[0].owner == "a"

    def test_an_order_after_its_connection_was_lost_is_carried_out(
        self, join: Join, proxied: str, proxy: TcpProxy
    ) -> None:
        one = join("one", at=proxied)
        one.move(0, "one")
        proxy.cut()
        one.move(1, "one")
        await_state(lambda: is_renewed(one), "the other connection is made again")
        assert lease_of(one, 1).wanted == "one"

    def test_members_agree_on_a_number_as_long_as_one_lives(self, join: Join) -> None:
        one = join("one", lease_ms=SHORT_LEASE_MS)
        assert one.agree("secret", 1)
        assert one.agree("secret", 1)
        assert not one.agree("secret", 2)
        one.leave()
        assert one.agree("secret", 2)

    def test_a_call_ends_though_nothing_answers(
        self, join: Join, proxied: str, proxy: TcpProxy
    ) -> None:
        a = join("a", at=proxied, patient=False)
        proxy.hold_answers()
        for _ in range(2):
            with pytest.raises(Unreachable):
                a.renew(())
        proxy.lose_answers_and_cut()
        await_state(lambda: is_renewed(a), "it is renewed again")

    def test_a_take_whose_answer_was_lost_can_be_released(
        self, join: Join, proxied: str, proxy: TcpProxy
    ) -> None:
        a, b = join("a", at=proxied, patient=False), join("b")
        proxy.hold_answers()
        with pytest.raises(Unreachable):
            a.try_take(0)
        proxy.lose_answers_and_cut()
        await_state(lambda: lease_of(b, 0).owner == "a", "the take arrived")
        await_state(lambda: is_renewed(a), "it is connected again")
        a.release(0, "b")
        assert lease_of(b, 0).successor == "b"

    def test_closing_ends_a_call(self, join: Join, proxied: str, proxy: TcpProxy) -> None:
        a = join("a", at=proxied)
        proxy.hold_answers()
        with ThreadPoolExecutor(1) as threads:
            call = threads.submit(a.renew, ())
            a.close()
            with pytest.raises(Unreachable):
                call.result()


class TestFailingServers:
    @pytest.fixture
    def cluster(self, failing_postgres: PostgresCluster) -> PostgresCluster:
        return failing_postgres

    @pytest.fixture
    def location(self, cluster: PostgresCluster) -> str:
        location = new_location(cluster)
        Database(parse_location(location)).close()
        return location

    def test_without_standbys_leases_are_renewed_and_orders_are_not_confirmed(
        self, join: Join, cluster: PostgresCluster
    ) -> None:
        a = join("a")
        with paused(cluster.servers[1]), paused(cluster.servers[2]):
            assert a.try_take(0)
            assert a.renew([0]).leases[0].owner == "a"
            assert len(join("c").look().members) == 2
            with pytest.raises(Unreachable):
                a.move(0, "b")
            with pytest.raises(Unreachable):
                a.refuse(0, "data were lost")
            # They hold, unless the primary is lost.
            assert lease_of(a, 0).refused == "data were lost"
            assert a.renew(()).leases[0].wanted == "b"
        a.refuse(0, "data were lost")
        a.move(0, "b")

    def test_after_a_failover_the_members_and_their_leases_are_there(
        self, join: Join, cluster: PostgresCluster
    ) -> None:
        a, b = join("a"), join("b")
        a.try_take(0)
        a.move(1, "b")  # makes durable what was before it
        a.refuse(0, "data were lost")
        cluster.primary.kill()
        with pytest.raises(Unreachable):
            a.renew(())
        cluster.fail_over()
        view = a.renew(())
        assert [each.name for each in view.members] == ["a", "b"]
        assert view.leases[0].refused == "data were lost"
        assert view.leases[1].wanted == "b"
        # `b` has not noticed that its connection is gone.
        with pytest.raises(Unreachable):
            b.renew(())
        assert b.try_take(2)

    def test_an_older_server_is_given_up_when_the_stores_have_found_a_newer_one(
        self, cluster: PostgresCluster, location: str, opened: list[PostgresCoordination]
    ) -> None:
        timeline = 1
        a = PostgresCoordination(parse_location(location), "replicated", lambda: timeline)
        opened.append(a)
        a.join(member("a"), STORES, LEASE_MS)
        cluster.fail_over()
        assert a.try_take(0)
        timeline = 2
        assert lease_of(a, 0).owner == ""

    def test_a_newer_server_is_found_from_time_to_time(
        self, join: Join, cluster: PostgresCluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        a = join("a")
        cluster.fail_over()
        assert a.try_take(0)
        monkeypatch.setattr(postgres_coordination, "ASK_HOSTS_S", 0.0)
        assert lease_of(a, 0).owner == ""
        assert a.renew(()).members[0].name == "a"


def test_without_the_lease_nobody_takes_the_store(location: str, join: Join) -> None:
    """Who stood still between the lease and the store would rob the next owner."""
    early, late = join("early", lease_ms=SHORT_LEASE_MS), join("late")
    assert early.try_take(0)
    wait_until(lambda: late.try_take(0), what="the end of the first lease")
    with closing(Database(parse_location(location))) as database:
        first = PostgresMedium(database, 0, holder="early-1")
        second = PostgresMedium(database, 0, holder="late-1")
        assert take(second) == 1
        with pytest.raises(LostEpoch, match="the lease of store 0 is not this broker's"):
            take(first)
        second.write_head(1, 1, b"mine")
