"""The database fails under an owner that appends: servers are killed, stopped and promoted, and
connections are cut. Every confirmed record is there afterwards, in order, and the owner goes on.
"""

import gc
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest

from leveret_storage.errors import DataLost, LostEpoch, StorageError
from leveret_storage.media.locations import open_medium
from leveret_storage.media.postgres.medium import PostgresMedium
from leveret_storage.medium import Medium
from tests.storage.append_load import DEADLINE_S, WINDOW, AppendLoad
from tests.storage.owning import content, put, take
from tests.storage.postgres_crash import Crash
from tests.support.examples import examples
from tests.support.postgres import (
    DATABASE,
    POLL_INTERVAL_S,
    PostgresCluster,
    await_state,
    new_location,
    paused,
)
from tests.support.tcp_proxy import TcpProxy

SERVED_AGAIN_S = 5.0


class Reasons:
    """What a medium says of being away."""

    def __init__(self, medium: Medium) -> None:
        self.all: list[str] = []
        medium.watch(self.all.append)

    @property
    def now(self) -> str:
        return self.all[-1] if self.all else ""

    def await_away(self, part: str = "") -> None:
        await_state(lambda: self.now and part in self.now, f"away: {self.all}")

    def await_back(self) -> None:
        await_state(lambda: not self.now, f"back: {self.all}")


@pytest.fixture
def cluster(failing_postgres: PostgresCluster) -> PostgresCluster:
    return failing_postgres


@pytest.fixture
def medium(cluster: PostgresCluster) -> Iterator[PostgresMedium]:
    yield from opened(cluster.url())


@pytest.fixture
def proxy(postgres: PostgresCluster) -> Iterator[TcpProxy]:
    with TcpProxy(postgres.primary.port) as proxy:
        yield proxy


@pytest.fixture
def proxied(postgres: PostgresCluster, proxy: TcpProxy) -> Iterator[PostgresMedium]:
    location = new_location(postgres)
    for port in [server.port for server in postgres.servers]:
        location = location.replace(f":{port}", f":{proxy.port}")
    yield from opened(location)


def opened(location: str) -> Iterator[PostgresMedium]:
    medium = open_medium(location)
    assert isinstance(medium, PostgresMedium)
    take(medium)
    medium.create("a")
    yield medium
    medium.close()


def start_load(medium: Medium, window: int = WINDOW) -> AppendLoad:
    load = AppendLoad(medium, "a", window=window).start()
    load.await_confirmed(50)
    return load


def check_whole(load: AppendLoad, medium: Medium, location: str) -> None:
    """Confirmed records are there for this owner, and for the next one."""
    load.stop()
    assert load.error is None
    assert load.check(medium) == load.confirmed
    following = open_medium(location)
    assert load.check(following) == load.confirmed
    take(following)
    assert load.check(following) == load.confirmed
    following.close()


def test_the_primary_is_killed_and_a_standby_promoted(
    cluster: PostgresCluster, medium: PostgresMedium
) -> None:
    reasons = Reasons(medium)
    load = start_load(medium)
    for _ in range(2):
        old = cluster.primary
        old.kill()
        cluster.fail_over()
        load.await_confirmed(50, SERVED_AGAIN_S * 4)
        cluster.replace(old)
        load.await_confirmed(50)
    assert any(reasons.all)
    reasons.await_back()
    check_whole(load, medium, cluster.url())


def test_a_standby_is_killed_and_the_other_is_enough(
    cluster: PostgresCluster, medium: PostgresMedium
) -> None:
    load = start_load(medium)
    cluster.standbys[0].kill()
    load.await_confirmed(100)
    check_whole(load, medium, cluster.url())


def test_without_a_standby_nothing_is_confirmed_and_it_is_said(
    cluster: PostgresCluster, medium: PostgresMedium
) -> None:
    reasons = Reasons(medium)
    load = start_load(medium)
    standbys = cluster.standbys
    for standby in standbys:
        standby.pause()
    reasons.await_away("standby")
    confirmed = load.confirmed
    time.sleep(0.5)
    assert load.confirmed == confirmed
    standbys[1].resume()
    load.await_confirmed(50)
    reasons.await_back()
    standbys[0].resume()
    check_whole(load, medium, cluster.url())


def test_what_promises_durability_waits_for_a_standby(
    cluster: PostgresCluster, medium: PostgresMedium
) -> None:
    put(medium, "b", b"1")
    put(medium, "c", b"1")
    promises: list[Callable[[], object]] = [
        lambda: medium.sync("a"),
        lambda: medium.append_synced("a", b"2"),
        lambda: medium.delete("b"),
        lambda: medium.write_head(1, 1, b"head"),
        lambda: medium.set_aside("s", b"1"),
        lambda: medium.write_head(1, 2, b"mine"),
        lambda: medium.write_head(2, 2, b"mine"),
    ]
    for promise in promises:
        standbys = cluster.standbys
        for standby in standbys:
            standby.pause()
        # It waits for nothing, and is not durable.
        medium.append("a", b"1")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(promise)
            time.sleep(0.3)
            assert not waiting.done()
            for standby in standbys:
                standby.resume()
            waiting.result(DEADLINE_S)


def test_a_cancelled_wait_for_a_standby_confirms_nothing(
    cluster: PostgresCluster, medium: PostgresMedium
) -> None:
    load = start_load(medium)
    standbys = cluster.standbys
    for standby in standbys:
        standby.pause()
    confirmed = await_still(load)
    cancelled = 0
    while cancelled < 3:
        rows = cluster.owner(
            "select count(pg_cancel_backend(pid)) from pg_stat_activity"
            " where wait_event = 'SyncRep' and usename = 'leveret'"
        )
        assert isinstance(rows[0][0], int)
        cancelled += rows[0][0]
        time.sleep(POLL_INTERVAL_S)
    time.sleep(0.3)
    assert load.confirmed == confirmed
    for standby in standbys:
        standby.resume()
    load.await_confirmed(50)
    check_whole(load, medium, cluster.url())


def await_still(load: AppendLoad) -> int:
    """Wait until nothing is confirmed any more; returns how many are."""
    before = -1
    while before != load.confirmed:
        before = load.confirmed
        time.sleep(0.5)
    return before


def test_the_primary_stands_still_and_goes_on(
    cluster: PostgresCluster, medium: PostgresMedium
) -> None:
    reasons = Reasons(medium)
    load = start_load(medium)
    with paused(cluster.primary):
        reasons.await_away()
    load.await_confirmed(50)
    reasons.await_back()
    check_whole(load, medium, cluster.url())


def test_the_primary_stands_still_and_is_replaced(
    cluster: PostgresCluster, medium: PostgresMedium
) -> None:
    load = start_load(medium)
    old = cluster.primary
    old.pause()
    cluster.fail_over()
    load.await_confirmed(50, SERVED_AGAIN_S * 4)
    # It accepts writes still, and has no standby: nobody may take it for the primary.
    old.resume()
    load.await_confirmed(50)
    check_whole(load, medium, cluster.url())


def test_a_standby_without_what_was_confirmed_ends_the_owner(
    cluster: PostgresCluster, medium: PostgresMedium
) -> None:
    stale, other = cluster.standbys
    load = start_load(medium)
    stale.kill()
    load.await_confirmed(50)
    cluster.primary.kill()
    other.kill()
    stale.start()
    stale.promote()
    cluster.primary = stale
    cluster.replace(other)
    assert isinstance(load.await_error(), DataLost)
    with pytest.raises(DataLost):
        medium.append("a", b"1")
    with pytest.raises(DataLost):
        medium.write_head(1, 1, b"")


def test_an_owner_that_writes_nothing_is_told_that_confirmed_data_are_missing(
    cluster: PostgresCluster, medium: PostgresMedium
) -> None:
    ended: list[StorageError] = []
    medium.watch_owner(ended.append)
    stale, other = cluster.standbys
    put(medium, "b", b"1")
    stale.kill()
    put(medium, "c", b"1")
    cluster.primary.kill()
    other.kill()
    stale.start()
    stale.promote()
    cluster.primary = stale
    cluster.replace(other)
    await_state(lambda: bool(ended), "the owner is told")
    assert [type(each) for each in ended] == [DataLost]
    medium.watch_owner(ended.append)
    assert ended[1:] == ended[:1]


@pytest.mark.parametrize("window", [1, WINDOW])
def test_connections_are_cut_again_and_again(
    proxy: TcpProxy, proxied: PostgresMedium, window: int
) -> None:
    load = start_load(proxied, window)
    for _ in range(5):
        proxy.cut()
        load.await_confirmed(20)
    load.stop()
    assert load.check(proxied) == load.confirmed


@pytest.mark.parametrize("window", [1, WINDOW])
def test_a_cut_in_mid_commit_confirms_what_is_there_once(
    proxy: TcpProxy, proxied: PostgresMedium, window: int
) -> None:
    load = start_load(proxied, window)
    for _ in range(3):
        proxy.hold_answers()
        await_still(load)
        proxy.lose_answers_and_cut()
        load.await_confirmed(20)
    load.stop()
    assert load.check(proxied) == load.confirmed


def test_a_network_that_loses_everything_is_waited_for(
    proxy: TcpProxy, proxied: PostgresMedium
) -> None:
    reasons = Reasons(proxied)
    load = start_load(proxied)
    proxy.hold_answers()
    reasons.await_away("does not answer")
    confirmed = load.confirmed
    proxy.lose_answers_and_cut()
    load.await_confirmed(20)
    reasons.await_back()
    load.stop()
    assert load.check(proxied) == load.confirmed > confirmed


def count_eventfds() -> int:
    """Descriptors of this process that end the calls of connections."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        # The one of the directory itself is closed by now.
        with suppress(FileNotFoundError):
            count += "eventfd" in os.readlink(descriptor)
    return count


def test_reconnecting_leaves_no_descriptor_to_the_garbage_collector(
    proxy: TcpProxy, proxied: PostgresMedium
) -> None:
    reasons = Reasons(proxied)
    load = start_load(proxied)
    gc.disable()
    try:
        before = count_eventfds()
        for _ in range(10):
            proxy.refuses = True
            proxy.cut()
            reasons.await_away()
            time.sleep(0.3)
            proxy.refuses = False
            load.await_confirmed(20)
        await_state(lambda: count_eventfds() <= before + 1, "descriptors are closed", 5)
    finally:
        gc.enable()
    load.stop()


def test_all_calls_survive_a_cut_in_mid_commit(proxy: TcpProxy, proxied: PostgresMedium) -> None:
    put(proxied, "b", b"1")

    def cut() -> None:
        time.sleep(0.2)
        proxy.lose_answers_and_cut()

    for call in (
        lambda: proxied.write_head(1, 1, b"head"),
        lambda: proxied.create("c"),
        lambda: proxied.append("c", b"c"),
        lambda: proxied.append_synced("c", b"d"),
        lambda: proxied.delete("b"),
        lambda: proxied.set_aside("s", b"s"),
        lambda: proxied.write_head(1, 2, b"mine"),
    ):
        proxy.hold_answers()
        cutter = Thread(target=cut)
        cutter.start()
        call()
        cutter.join()
    assert proxied.read_head() == (2, b"mine")
    assert proxied.list() == {"a", "c"}
    assert content(proxied, "c") == b"cd"


def test_a_takeover_while_the_owner_is_cut_off_ends_it(
    postgres: PostgresCluster, proxy: TcpProxy, proxied: PostgresMedium
) -> None:
    load = start_load(proxied)
    proxy.refuses = True
    proxy.cut()
    text = str(proxied.location).replace(str(proxy.port), str(postgres.primary.port))
    second = open_medium(text)
    take(second)
    found = load.check(second)
    proxy.refuses = False
    assert isinstance(load.await_error(), LostEpoch)
    assert load.check(second) == found
    second.close()


def test_faults_at_random_lose_nothing(cluster: PostgresCluster) -> None:
    rounds = examples(8)
    crash = Crash(cluster, seed=7)
    crash.run(rounds)
    assert crash.confirmed >= rounds * 20


def test_an_owner_gives_up_while_the_database_is_away(
    proxy: TcpProxy, proxied: PostgresMedium
) -> None:
    put(proxied, "b", b"1")
    reasons = Reasons(proxied)
    load = start_load(proxied)
    proxy.refuses = True
    proxy.cut()
    reasons.await_away()
    calls: list[Callable[[], object]] = [
        lambda: proxied.read("b", 0, 1),
        lambda: proxied.append("b", b"2"),
        lambda: proxied.delete("b"),
    ]
    with ThreadPoolExecutor(len(calls)) as pool:
        waiting = [pool.submit(call) for call in calls]
        time.sleep(0.3)
        assert not any(each.done() for each in waiting)
        proxied.give_up(LostEpoch("the lease has run out"))
        for each in waiting:
            with pytest.raises(LostEpoch, match="lease"):
                each.result(10)
    assert isinstance(load.await_error(), LostEpoch)
    confirmed = load.confirmed
    proxy.refuses = False
    reasons.await_back()
    assert load.confirmed == confirmed
    with pytest.raises(LostEpoch, match="lease"):
        proxied.read_head()


def test_another_database_behind_the_same_address_is_not_taken(
    failing_postgres: PostgresCluster,
    postgres: PostgresCluster,
    proxy: TcpProxy,
    proxied: PostgresMedium,
) -> None:
    reasons = Reasons(proxied)
    load = start_load(proxied)
    schema = proxied.location.schema
    proxy.target_port = failing_postgres.primary.port
    proxy.cut()
    reasons.await_away("another database system")
    assert failing_postgres.owner(f"select to_regnamespace('{schema}')") == [(None,)]
    proxy.target_port = postgres.primary.port
    load.await_confirmed(20)
    load.stop()
    assert load.check(proxied) == load.confirmed


def test_a_terminated_session_is_replaced(postgres: PostgresCluster) -> None:
    location = new_location(postgres)
    for medium in opened(location):
        load = start_load(medium)
        for _ in range(3):
            postgres.owner(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                f" where datname = '{DATABASE}' and usename = 'leveret'"
            )
            load.await_confirmed(20)
        check_whole(load, medium, location)
