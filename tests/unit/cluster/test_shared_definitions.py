"""Brokers that change the metadata of a cluster at the same time: all of them come to the same.

The calls to the log are made when a test says so, so the brokers can be as far behind each other as
it likes.
"""

import asyncio
from collections.abc import Callable, Coroutine

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leveret.cluster.blocking_calls import BlockingCalls, Job
from leveret.cluster.shared_definitions import SharedDefinitions, first_entities
from leveret.config import Auth, Config, Server
from leveret.engine.administration import policies, users, virtual_hosts
from leveret.engine.administration.operator import Operator, Refused, Unavailable
from leveret.engine.broker import Broker
from leveret.engine.metadata.entities import (
    Entity,
    GlobalParameter,
    ImportedFile,
    Key,
    Permission,
    Policy,
    SessionKey,
    TopicPermission,
    User,
    VirtualHostEntity,
)
from leveret.engine.metadata.metadata import Change, Metadata
from leveret_storage.errors import StorageError
from tests.support.examples import examples
from tests.support.shared_logs import LogContents, MemorySharedLog

STORES = 4
ALL = ".*"


class CallsOnOrder(BlockingCalls):
    """Makes calls when a test says so."""

    def __init__(self) -> None:
        self.waiting: list[Job | Callable[[], None]] = []

    def run(self, job: Job) -> None:
        self.waiting.append(job)

    def post(self, action: Callable[[], None]) -> None:
        self.waiting.append(action)

    def stop(self) -> None:
        self.waiting.clear()

    def make_one(self) -> None:
        result = self.waiting.pop(0)()
        if result is not None:
            result()


class Member:
    """A broker, as far as it has metadata."""

    def __init__(self, contents: LogContents) -> None:
        self.log = MemorySharedLog(contents)
        self.definitions = SharedDefinitions(self.log, Auth(), STORES)
        self.definitions.load()
        self.calls = CallsOnOrder()
        self.definitions.start(self.calls)
        self.metadata = self.definitions.metadata
        self.operator = Operator(self.metadata, "", "", silent=True)
        self.observed = state_in(self.metadata)
        """What who subscribes knows."""
        self.metadata.subscribe(self._observe)

    def _observe(self, change: Change) -> None:
        place = change.kind, change.key
        assert self.observed.get(place) == change.before
        if change.after is None:
            del self.observed[place]
        else:
            self.observed[place] = change.after

    def state(self) -> dict[tuple[type[Entity], Key], Entity]:
        return state_in(self.metadata)

    async def go_on(self, calls: int = 1) -> None:
        """Have so many calls made that wait."""
        await asyncio.sleep(0)
        for _ in range(calls):
            if self.calls.waiting:
                self.calls.make_one()
                await asyncio.sleep(0)

    def close(self) -> None:
        self.definitions.kill()


def state_in(metadata: Metadata) -> dict[tuple[type[Entity], Key], Entity]:
    entities = (each for each in metadata.records() if isinstance(each, Entity))
    return {(type(each), each.key): each for each in entities}


def state_of(contents: LogContents) -> dict[tuple[type[Entity], Key], Entity]:
    """What a broker finds that starts."""
    definitions = SharedDefinitions(MemorySharedLog(contents), Auth(), STORES)
    definitions.load()
    return state_in(definitions.metadata)


async def settle(*members: Member) -> None:
    """Make calls until none waits."""
    await asyncio.sleep(0)
    while any(member.calls.waiting for member in members):
        for member in members:
            await member.go_on(100)


def check_integrity(state: dict[tuple[type[Entity], Key], Entity]) -> None:
    """Check that nothing belongs to what is not there."""
    for entity in state.values():
        if isinstance(entity, Permission | TopicPermission | Policy):
            assert (VirtualHostEntity, (entity.vhost,)) in state
        if isinstance(entity, Permission | TopicPermission):
            assert (User, (entity.user,)) in state


def run(test: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(test())


# --- random changes --------------------------------------------------------------------------

names = st.sampled_from(["a", "b"])
vhosts = st.sampled_from(["/", "a"])
user_names = st.sampled_from(["guest", "a"])
numbers = st.integers(0, 3)
Act = Callable[[Operator], object]

acts: st.SearchStrategy[Act] = st.one_of(
    st.builds(
        lambda name, number: lambda by: virtual_hosts.put_vhost(by, name, description=str(number)),
        vhosts,
        numbers,
    ),
    st.builds(
        lambda name, store: lambda by: virtual_hosts.put_vhost(by, name, store=store),
        vhosts,
        numbers,
    ),
    st.builds(lambda name: lambda by: virtual_hosts.delete_vhost(by, name), vhosts),
    st.builds(
        lambda name, number: lambda by: users.put_user(by, name, password_hash="", tags=[number]),
        user_names,
        numbers.map(str),
    ),
    st.builds(lambda name: lambda by: users.delete_user(by, name), user_names),
    st.builds(
        lambda user, vhost, text: lambda by: users.set_permission(by, user, vhost, text, text, ALL),
        user_names,
        vhosts,
        numbers.map(str),
    ),
    st.builds(
        lambda user, vhost: lambda by: users.set_topic_permission(by, user, vhost, "x", ALL, ALL),
        user_names,
        vhosts,
    ),
    st.builds(lambda u, vhost: lambda by: users.clear_permission(by, u, vhost), user_names, vhosts),
    st.builds(
        lambda vhost, name, number: (
            lambda by: policies.put_policy(by, Policy(vhost, name, ALL, {"max-length": number}))
        ),
        vhosts,
        names,
        numbers,
    ),
    st.builds(
        lambda name, number: lambda by: by.put(GlobalParameter(name, number)), names, numbers
    ),
)

steps = st.lists(
    st.tuples(st.integers(0, 2), st.one_of(acts, st.integers(1, 3))), min_size=5, max_size=40
)


@settings(max_examples=examples(200), deadline=None)
@given(steps)
def test_all_brokers_come_to_the_state_of_the_log(drawn: list[tuple[int, Act | int]]) -> None:
    async def test() -> None:
        contents = LogContents()
        members = [Member(contents) for _ in range(3)]
        waits: list[asyncio.Task[None]] = []
        for index, step in drawn:
            member = members[index]
            if isinstance(step, int):
                await member.go_on(step)
            else:
                try:
                    step(member.operator)
                except Refused:
                    continue
                waits.append(asyncio.get_running_loop().create_task(member.definitions.durable()))
            check_integrity(member.state())
            assert member.observed == member.state()
            if isinstance(step, int):
                check_integrity(state_of(contents))
        await settle(*members)
        await asyncio.gather(*waits)
        state = state_of(contents)
        check_integrity(state)
        for member in members:
            assert member.state() == member.observed == state
            member.close()

    run(test)


# --- single cases ----------------------------------------------------------------------------


def two() -> tuple[Member, Member]:
    contents = LogContents()
    return Member(contents), Member(contents)


def test_brokers_that_start_at_once_add_the_user_of_the_configuration_once() -> None:
    async def test() -> None:
        contents = LogContents()
        logs = [MemorySharedLog(contents) for _ in range(2)]
        first, second = (SharedDefinitions(log, Auth(), STORES) for log in logs)
        first.load()
        second.load()
        assert contents.version == len(first_entities(Auth()))
        assert first.metadata.get(SessionKey) == second.metadata.get(SessionKey) is not None
        assert first.metadata.all(User) == second.metadata.all(User)
        assert len(first.metadata.all(User)) == 1
        assert first.metadata.get(Permission, "guest", "/") is not None

    run(test)


def test_the_first_name_that_a_broker_has_is_that_of_the_cluster() -> None:
    contents = LogContents()

    def name_with(configured: str) -> str:
        definitions = SharedDefinitions(MemorySharedLog(contents), Auth(), STORES, configured)
        definitions.load()
        config = Config(server=Server(cluster_name=configured))
        return Broker(config, definitions.metadata).cluster_name

    assert name_with("") == "leveret"
    assert name_with("shop") == "shop"
    assert name_with("another") == name_with("") == "shop"


def test_what_was_deleted_is_not_added_again_at_the_next_start() -> None:
    async def test() -> None:
        first, second = two()
        virtual_hosts.delete_vhost(first.operator, "/")
        users.delete_user(first.operator, "guest")
        await settle(first, second)
        assert Member(first.log.contents).state().keys() == {(SessionKey, ())}

    run(test)


def test_a_change_is_seen_by_the_other_brokers() -> None:
    async def test() -> None:
        first, second = two()
        virtual_hosts.put_vhost(first.operator, "a", description="A")
        await settle(first, second)
        seen = second.metadata.get(VirtualHostEntity, "a")
        assert seen is not None
        assert seen.description == "A"
        assert seen.uid

    run(test)


def test_a_permission_in_a_virtual_host_that_was_deleted_meanwhile_is_dropped() -> None:
    async def test() -> None:
        first, second = two()
        await settle(first, second)
        virtual_hosts.delete_vhost(first.operator, "/")
        users.put_user(second.operator, "u", password_hash="")
        users.set_permission(second.operator, "u", "/", ALL, ALL, ALL)
        durable = asyncio.get_running_loop().create_task(second.definitions.durable())
        await first.go_on(9)
        await settle(first, second)
        await durable
        assert second.metadata.get(User, "u") is not None
        assert not second.metadata.all(Permission)
        assert first.state() == second.state()

    run(test)


def test_a_deletion_takes_with_it_what_others_have_added_meanwhile() -> None:
    async def test() -> None:
        first, second = two()
        users.put_user(first.operator, "u", password_hash="")
        await settle(first, second)
        virtual_hosts.put_vhost(first.operator, "a")
        await settle(first, second)
        policies.put_policy(first.operator, Policy("/", "p", ALL, {"max-length": 1}))
        users.set_permission(first.operator, "u", "/", ALL, ALL, ALL)
        users.set_permission(first.operator, "guest", "a", ALL, ALL, ALL)
        virtual_hosts.delete_vhost(second.operator, "/")
        users.delete_user(second.operator, "guest")
        await first.go_on(9)
        await settle(first, second)
        for member in first, second:
            assert set(member.metadata.all(User)) == {("u",)}
            assert set(member.metadata.all(VirtualHostEntity)) == {("a",)}
            assert not member.metadata.all(Policy)
            assert not member.metadata.all(Permission)

    run(test)


def test_a_user_that_was_deleted_does_not_come_back_with_a_password() -> None:
    async def test() -> None:
        first, second = two()
        await settle(first, second)
        users.delete_user(first.operator, "guest")
        users.change_password(second.operator, "guest", "other")
        await first.go_on(9)
        await settle(first, second)
        assert not second.metadata.all(User)
        assert first.state() == second.state()

    run(test)


def test_a_virtual_host_that_two_brokers_create_keeps_the_store_of_the_first() -> None:
    async def test() -> None:
        first, second = two()
        await settle(first, second)
        virtual_hosts.put_vhost(first.operator, "a", store=1)
        virtual_hosts.put_vhost(second.operator, "a", store=2, description="second")
        await first.go_on(9)
        await settle(first, second)
        for member in first, second:
            found = member.metadata.get(VirtualHostEntity, "a")
            assert found is not None
            assert (found.store, found.description) == (1, "second")

    run(test)


def test_a_deletion_is_of_the_virtual_host_that_was_there() -> None:
    async def test() -> None:
        first, second = two()
        await settle(first, second)
        virtual_hosts.delete_vhost(first.operator, "/")
        virtual_hosts.put_vhost(first.operator, "/", description="next")
        virtual_hosts.delete_vhost(second.operator, "/")
        await first.go_on(9)
        await settle(first, second)
        for member in first, second:
            found = member.metadata.get(VirtualHostEntity, "/")
            assert found is not None
            assert found.description == "next"

    run(test)


def test_a_file_that_another_broker_has_imported_is_not_imported_again() -> None:
    async def test() -> None:
        first, second = two()
        await settle(first, second)
        for member, text in ((first, "1"), (second, "2")):
            member.definitions.begin_import("digest")
            users.put_user(member.operator, "u", password_hash="", tags=[text])
            member.metadata.put(ImportedFile("file", "digest"))
            member.definitions.end_import()
        await first.go_on(9)
        users.put_user(first.operator, "u", password_hash="", tags=["changed"])
        await first.go_on(9)
        await settle(first, second)
        user = second.metadata.get(User, "u")
        assert user is not None
        assert user.tags == ("changed",)

    run(test)


def test_nothing_is_changed_while_the_database_is_away() -> None:
    async def test() -> None:
        first, second = two()
        first.log.away = "no host accepts writes"
        with pytest.raises(Unavailable, match="no host accepts writes"):
            virtual_hosts.put_vhost(first.operator, "a")
        assert first.metadata.get(VirtualHostEntity, "a") is None
        first.log.away = ""
        virtual_hosts.put_vhost(first.operator, "a")
        await settle(first, second)
        assert second.metadata.get(VirtualHostEntity, "a") is not None

    run(test)


def test_a_change_that_the_database_does_not_take_is_answered_in_time() -> None:
    async def test() -> None:
        first, second = two()
        virtual_hosts.put_vhost(first.operator, "a")
        with pytest.raises(Unavailable, match="is made when the database"):
            await first.definitions.durable(0.01)
        await settle(first, second)
        await first.definitions.durable(0.01)
        assert second.metadata.get(VirtualHostEntity, "a") is not None

    run(test)


def test_a_log_that_went_back_is_not_followed() -> None:
    async def test() -> None:
        first, second = two()
        virtual_hosts.put_vhost(first.operator, "a")
        await settle(first, second)
        contents = first.log.contents
        version, contents.version = contents.version, 1
        contents.tell()
        await first.go_on(9)
        assert "has version 1" in first.definitions.why_unavailable()
        assert first.metadata.get(VirtualHostEntity, "a") is not None
        contents.version = version
        await first.go_on(9)
        assert not first.definitions.why_unavailable()

    run(test)


def test_a_refresh_has_what_the_log_has_at_that_moment() -> None:
    async def test() -> None:
        first, second = two()
        await settle(first, second)
        virtual_hosts.put_vhost(first.operator, "a")
        await first.go_on(9)
        second.calls.waiting.clear()
        refresh = asyncio.get_running_loop().create_task(second.definitions.refresh())
        await settle(second)
        await refresh
        assert second.metadata.get(VirtualHostEntity, "a") is not None

    run(test)


@pytest.mark.parametrize("store", [STORES, 99])
def test_a_store_that_is_not_there_is_refused(store: int) -> None:
    async def test() -> None:
        first, _ = two()
        with pytest.raises(Refused, match="there is no store"):
            virtual_hosts.put_vhost(first.operator, "a", store=store)
        virtual_hosts.put_vhost(first.operator, "a", store=STORES - 1)
        with pytest.raises(Refused, match="cannot change its store"):
            virtual_hosts.put_vhost(first.operator, "a", store=0)

    run(test)


def test_an_error_of_the_storage_is_no_end() -> None:
    """A call fails, and is made again."""

    async def test() -> None:
        first, second = two()
        await settle(first, second)
        first.log.append_errors.append(StorageError("damaged"))
        virtual_hosts.put_vhost(first.operator, "a")
        await first.go_on(1)
        assert first.definitions.why_unavailable() == "damaged"
        await settle(first, second)
        assert not first.definitions.why_unavailable()
        assert second.metadata.get(VirtualHostEntity, "a") is not None

    run(test)
