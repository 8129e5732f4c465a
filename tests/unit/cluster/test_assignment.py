"""Which member is to own which store."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leveret.cluster.assignment import RETURN_BACK_OFFS, assign
from leveret_storage.coordination import ClusterView, Member, StoreLease
from tests.unit.cluster.views import BACK_OFF_MS, LEASE_MS, lease, member, view

NEW = 2 * LEASE_MS
"""For how long a member has been alive to which nothing is handed over."""


def owners(view: ClusterView) -> str:
    """The owner that each store is to have; `-` for none."""
    assigned = assign(view, LEASE_MS)
    return "".join(assigned.get(each.store, "-") for each in view.leases)


@pytest.mark.parametrize(
    ("members", "leases", "expected"),
    [
        # free stores
        (["a"], ["", "", ""], "aaa"),
        (["a", "b"], ["", "", "", ""], "abab"),
        ([member("a", steady_ms=0)], ["", ""], "aa"),
        ([], ["", ""], "--"),
        # who has one keeps it
        (["a", "b"], ["b", "a", "b", "a"], "baba"),
        (["a", "b"], ["a", "a", "b"], "aab"),
        # of one that is gone: to who has fewest
        (["a", "b"], ["a", "a", "b", lease(3, "c", left_ms=0)], "aabb"),
        ([member("a"), member("b", is_alive=False)], ["a", lease(1, "b", left_ms=0)], "aa"),
        # a lease that has ended, of one that is alive
        (["a", "b"], [lease(0, "b", left_ms=0), lease(1, "a", left_ms=0)], "ba"),
        # a new member gets its share, when it has been there for a while
        (["a", "b"], ["a"] * 4, "aabb"),
        (["a", "b", "c"], ["a"] * 9, "aaacbcbcb"),
        ([member("a"), member("b", steady_ms=NEW)], ["a"] * 4, "aaaa"),
        ([member("a"), member("b", steady_ms=NEW)], ["a", "a", "", ""], "aabb"),
        # released for a member
        (["a", "b"], ["a", lease(1, successor="b")], "ab"),
        (["a", "b"], ["a", "b", "b", lease(3, successor="b")], "abba"),
        ([member("a"), member("b", is_alive=False)], ["a", lease(1, successor="b")], "aa"),
        # draining
        ([member("a", draining=True), member("b")], ["a", "a", "b"], "bbb"),
        ([member("a", draining=True)], ["a", "a"], "--"),
        ([member("a", draining=True), member("b", steady_ms=0)], ["a", "a"], "bb"),
        # refused
        (["a", "b"], ["a", "b", lease(2, refused="data were lost")], "ab-"),
        # wanted by an operator
        (["a", "b"], ["a", lease(1, "a", wanted="b")], "ab"),
        (["a", "b"], [lease(0, "b", wanted="b"), lease(1, "b", wanted="b")], "bb"),
        (["a", "b"], [lease(0, "a", wanted="b"), "a", "b", "b"], "baba"),
        ([member("a"), member("b", is_alive=False)], [lease(0, "a", wanted="b")], "a"),
        ([member("a"), member("b", draining=True)], [lease(0, "b", wanted="b")], "a"),
        ([member("a"), member("b", steady_ms=NEW)], [lease(0, "a", wanted="b")], "a"),
        ([member("a"), member("b", steady_ms=NEW)], [lease(0, wanted="b")], "b"),
        # who has failed with a store gets it when others have, too, and when its time is over
        (["a", "b"], [lease(0, failed="a")], "b"),
        (["a", "b"], [lease(0, "a", left_ms=0, failed="a")], "b"),
        (["a", "b"], [lease(0, successor="a", failed="a")], "b"),
        (["a", "b"], [lease(0, wanted="a", failed="a")], "b"),
        (["a", "b"], [lease(0, failed="ab")], "-"),
        (["a"], [lease(0, failed="a")], "-"),
        ([member("a"), member("b", is_alive=False)], [lease(0, failed="a")], "-"),
        (["a", "b"], [lease(0, failed="ab", ago_ms=BACK_OFF_MS)], "a"),
        # one of an earlier process of that name does not count
        ([member("a")._replace(incarnation="a-2")], [lease(0, failed="a")], "a"),
        # others are preferred for other stores, too, and nothing is handed over to it for longer
        (["a", "b"], ["b", "b", lease(2, failed="a"), ""], "bbbb"),
        (["a", "b"], ["b", "b", "b", lease(3, "b", failed="a")], "bbbb"),
        (["a", "b"], ["b", lease(1, "b", failed="a", ago_ms=4 * BACK_OFF_MS)], "bb"),
        (["a", "b"], ["b", lease(1, "b", failed="a", ago_ms=RETURN_BACK_OFFS * BACK_OFF_MS)], "ba"),
        (["a", "b"], ["b", lease(1, "b", failed="a", wanted="a")], "bb"),
        (["a", "b", "c"], ["b", "b", "b", lease(3, "b", failed="a")], "bbcc"),
        # a store with which all have failed changes nothing for the others
        (["a", "b"], ["b", "b", "b", lease(3, failed="ab")], "bba-"),
    ],
)
def test_the_owner_is(
    members: list[Member | str], leases: list[StoreLease | str], expected: str
) -> None:
    assert owners(view(members, leases)) == expected


NAMES = st.sampled_from("abcd")
MEMBERS = st.lists(
    st.builds(
        member,
        NAMES,
        steady_ms=st.sampled_from((0, NEW, 60_000)),
        draining=st.booleans(),
        is_alive=st.sampled_from((True, True, False)),
    ),
    unique_by=lambda each: each.name,
).map(lambda members: sorted(members, key=lambda each: each.name))


@st.composite
def views(draw: st.DrawFn, wanted: bool = True, failing: bool = False) -> ClusterView:
    leases = [
        lease(
            store,
            draw(st.sampled_from(("", "a", "b", "c", "d"))),
            left_ms=draw(st.sampled_from((0, LEASE_MS))),
            successor=draw(st.sampled_from(("", "a", "b"))),
            wanted=draw(st.sampled_from(("", "", "a", "b"))) if wanted else "",
            refused=draw(st.sampled_from(("", "", "", "data were lost"))),
            failed=draw(st.sampled_from(("", "", "a", "b", "ab"))) if failing else "",
        )
        for store in range(draw(st.integers(0, 12)))
    ]
    return view(draw(MEMBERS), leases)


@given(views())
def test_every_store_has_an_owner_that_may_own_one(view: ClusterView) -> None:
    able = {each.name for each in view.members if each.is_alive and not each.draining}
    assigned = assign(view, LEASE_MS)
    assert set(assigned.values()) <= able
    assert set(assigned) == {each.store for each in view.leases if able and not each.refused}


@given(views(failing=True))
def test_who_has_failed_with_a_store_gets_it_only_if_it_has_it(view: ClusterView) -> None:
    able = {each.name for each in view.members if each.is_alive and not each.draining}
    assigned = assign(view, LEASE_MS)
    for each in view.leases:
        failed = {failure.incarnation.removesuffix("-1") for failure in each.failed}
        owner = assigned.get(each.store, "")
        assert owner not in failed or (owner == each.owner and each.left_ms > 0)
        assert owner or each.refused or able <= failed


@given(views(wanted=False))
def test_once_it_is_so_nothing_changes_and_shares_of_steady_members_are_even(
    view: ClusterView,
) -> None:
    assigned = assign(view, LEASE_MS)
    done = tuple(
        lease(each.store, assigned.get(each.store, ""), refused=each.refused)
        for each in view.leases
    )
    assert assign(view._replace(leases=done), LEASE_MS) == assigned
    shares = {each.name: 0 for each in view.members if each.is_alive and not each.draining}
    for owner in assigned.values():
        shares[owner] += 1
    steady = [each for each in view.members if each.name in shares and each.steady_ms > NEW]
    if steady:
        fewest = min(shares[each.name] for each in steady)
        assert max(shares.values()) <= fewest + 1


@pytest.mark.parametrize(
    ("members", "leases", "used", "expected"),
    [
        # Free stores with virtual hosts go to who has fewest of them.
        (["a", "b"], ["", "", "", ""], {0, 2}, "aabb"),
        (["a", "b"], ["a", "a", "", "b"], {0, 2}, "aabb"),
        # Of two that are given away, one has virtual hosts.
        (["a", "b"], ["a"] * 4, {0, 1}, "abab"),
        (["a", "b"], ["a"] * 4, {3}, "abba"),
        # Nothing is given away where each has as many stores.
        (["a", "b"], ["a", "a", "b", "b"], {0, 1}, "aabb"),
    ],
)
def test_stores_with_virtual_hosts_are_spread(
    members: list[str], leases: list[str], used: set[int], expected: str
) -> None:
    seen = view(members, leases)
    assigned = assign(seen, LEASE_MS, frozenset(used))
    assert "".join(assigned[each.store] for each in seen.leases) == expected
