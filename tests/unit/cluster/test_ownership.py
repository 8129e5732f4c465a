"""What a broker takes, hands over and gives up, from what it is told."""

import pytest

from leveret.cluster.actions import (
    Action,
    GiveBack,
    GiveUp,
    HandOver,
    NoteEpoch,
    Open,
    Refuse,
    Release,
    Take,
)
from leveret.cluster.ownership import (
    BACK_OFF_MAX_S,
    BACK_OFF_S,
    DRAIN_REASON,
    HAND_OVER_REASON,
    OVERDUE_LEASES,
    Ownership,
)
from leveret.cluster.store_state import State
from leveret_storage.coordination import ClusterView
from leveret_storage.errors import (
    Damaged,
    DataLost,
    LostEpoch,
    MediumFailed,
    ReadFailed,
    StorageError,
    UnknownFormat,
)
from tests.unit.cluster.views import LEASE_MS, lease, member, view

LEASE_S = LEASE_MS / 1000
ALMOST_A_LEASE_S = LEASE_S * 0.9
"""After this a lease is given up."""

ALONE = view(["a"], [""])
OURS = view(["a"], ["a"])


class Broker:
    """Broker `a`, whose time a test sets."""

    def __init__(self, stores: int = 1) -> None:
        self.now = 100.0
        self.ownership = Ownership("a", "a-1", stores, LEASE_S)

    def sees(self, view: ClusterView, *, asked: float = 0.0, after: float = 0.01) -> list[Action]:
        """A view that is asked for after some seconds, and comes `asked` seconds after that."""
        self.now += after
        asked_at, renewed = self.now, self.ownership.held
        self.now += asked
        self.ownership.seen(view, asked_at, renewed, self.now)
        self.ownership.tick(self.now)
        return self.actions

    @property
    def actions(self) -> list[Action]:
        return self.ownership.take_actions()

    @property
    def state(self) -> State:
        return self.ownership.state(0)

    def takes(self, store: int = 0) -> None:
        """Its question for the lease is answered with yes."""
        self.ownership.taken(store, self.now, self.now)
        assert self.actions == [Open(store)]

    def takes_and_fails(self, store: int) -> None:
        self.sees(view(["a"], [""] * 8))
        self.takes(store)
        self.ownership.not_opened(store, MediumFailed("no local directory"), self.now)

    def opens(self, store: int = 0, epoch: int = 5) -> list[Action]:
        self.ownership.opened(store, epoch, self.now)
        return self.actions

    def passes(self, seconds: float) -> list[Action]:
        self.now += seconds
        self.ownership.tick(self.now)
        return self.actions


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def opening(broker: Broker) -> Broker:
    assert broker.sees(ALONE) == [Take(0)]
    broker.takes()
    return broker


@pytest.fixture
def owner(opening: Broker) -> Broker:
    assert opening.opens() == [NoteEpoch(0, 5)]
    return opening


class TestTaking:
    def test_a_free_store_is_taken_opened_and_noted(self, owner: Broker) -> None:
        assert owner.state is State.OWNED
        assert owner.ownership.held == {0}
        assert owner.sees(OURS) == []
        assert owner.ownership.counts.taken == 1

    def test_another_was_faster(self, broker: Broker) -> None:
        broker.sees(ALONE)
        broker.ownership.not_taken(0, broker.now)
        assert broker.sees(view(["a", "b"], ["b"])) == []
        assert broker.state is State.ELSEWHERE

    def test_the_lease_of_one_that_lives_is_not_asked_for(self, broker: Broker) -> None:
        assert broker.sees(view(["a", "b"], ["b"])) == []

    def test_that_of_one_that_is_gone_is(self, broker: Broker) -> None:
        gone = member("b", is_alive=False)
        assert broker.sees(view([member("a"), gone], [lease(0, "b", left_ms=0)])) == [Take(0)]

    def test_what_another_is_to_take_is_taken_when_it_does_not(self, broker: Broker) -> None:
        for_b = view(["a", "b"], [lease(0, successor="b")])
        assert broker.sees(for_b) == []
        assert broker.sees(for_b, after=OVERDUE_LEASES * LEASE_S) == []
        assert broker.sees(for_b, after=0.1) == [Take(0)]

    def test_so_many_are_opened_at_once(self) -> None:
        broker = Broker(stores=20)
        free = view(["a"], [""] * 20)
        assert broker.sees(free) == [Take(store) for store in range(8)]
        assert broker.sees(free) == []
        broker.takes(0)
        assert broker.opens(0) == [NoteEpoch(0, 5), Take(8)]

    def test_one_that_is_refused_is_left(self, broker: Broker) -> None:
        assert broker.sees(view(["a"], [lease(0, refused="data were lost")])) == []

    def test_after_an_absence_others_are_first_at_their_stores(self, broker: Broker) -> None:
        both = view(["a", member("b", is_alive=False)], ["a", lease(1, "b", left_ms=0)])
        broker = Broker(stores=2)
        broker.ownership.unreachable()
        assert broker.sees(both._replace(leases=(lease(0, "a", left_ms=0), both.leases[1]))) == [
            Take(0)
        ]
        broker.takes(0)
        broker.opens(0)
        assert broker.sees(both, after=LEASE_S / 4) == []
        assert broker.sees(both, after=LEASE_S / 2) == [Take(1)]

    def test_a_take_whose_answer_was_lost_is_asked_again(self, broker: Broker) -> None:
        broker.sees(ALONE)
        broker.ownership.not_taken(0, broker.now)
        assert broker.sees(view(["a"], [lease(0, "a", is_open=False)])) == [Take(0)]

    def test_an_answer_that_comes_too_late_is_none(self, broker: Broker) -> None:
        broker.sees(ALONE)
        asked_at = broker.now
        broker.now += ALMOST_A_LEASE_S
        broker.ownership.taken(0, asked_at, broker.now)
        assert broker.state is State.ELSEWHERE
        assert broker.actions == []

    def test_an_epoch_that_was_not_noted_is_noted_again(self, owner: Broker) -> None:
        assert owner.sees(view(["a"], [lease(0, "a", is_open=False)])) == [NoteEpoch(0, 5)]


class TestLosing:
    def test_a_lease_counts_from_before_the_question(self, owner: Broker) -> None:
        owner.sees(OURS, asked=1.0)
        assert owner.passes(ALMOST_A_LEASE_S - 1.0 - 0.01) == []
        assert [type(each) for each in owner.passes(0.02)] == [GiveUp]
        assert owner.state is State.ELSEWHERE
        assert owner.ownership.counts.lost == 1
        assert "could not be renewed" in owner.ownership.reason(0)

    def test_a_look_renews_nothing(self, owner: Broker) -> None:
        owner.now += 2.0
        owner.ownership.seen(OURS, owner.now, frozenset(), owner.now)
        assert [type(each) for each in owner.passes(ALMOST_A_LEASE_S - 2.0)] == [GiveUp]

    def test_the_timer_is_due_when_the_lease_is(self, owner: Broker) -> None:
        deadline = owner.ownership.next_deadline()
        assert deadline is not None
        assert deadline == pytest.approx(owner.now + ALMOST_A_LEASE_S)
        assert len(owner.passes(deadline - owner.now)) == 1
        assert owner.ownership.next_deadline() is None

    def test_a_renewal_that_was_heard_of_late_counts(self, owner: Broker) -> None:
        """The event loop had a long turn, in which the thread has renewed."""
        owner.now += 10.0
        for before in (7.0, 4.0):
            owner.ownership.seen(OURS, owner.now - before, frozenset({0}), owner.now)
        assert owner.sees(OURS, after=-1.0, asked=1.0) == []
        assert owner.state is State.OWNED

    def test_another_owner_ends_it_at_once(self, owner: Broker) -> None:
        assert owner.sees(view(["a", "b"], ["b"])) == [GiveUp(0, "b has taken it")]

    def test_a_lease_that_is_gone_ends_it(self, owner: Broker) -> None:
        actions = owner.sees(view(["a", "b"], [lease(0, successor="b")]))
        assert actions == [GiveUp(0, "its lease was taken away")]

    def test_an_older_view_says_nothing(self, broker: Broker) -> None:
        broker.sees(ALONE)
        broker.now += 1.0
        broker.takes()
        broker.opens()
        broker.ownership.seen(view(["a", "b"], ["b"]), broker.now - 0.5, frozenset(), broker.now)
        assert broker.actions == []

    def test_while_it_is_opened(self, opening: Broker) -> None:
        assert len(opening.passes(ALMOST_A_LEASE_S)) == 1
        assert opening.state is State.GIVING_UP
        assert opening.ownership.held == frozenset()
        assert opening.sees(ALONE) == []
        reason = opening.ownership.reason(0)
        assert opening.opens() == [GiveUp(0, reason)]
        assert opening.sees(ALONE) == [Take(0)]

    def test_while_it_is_opened_which_then_fails(self, opening: Broker) -> None:
        opening.passes(ALMOST_A_LEASE_S)
        opening.ownership.not_opened(0, LostEpoch("given up"), opening.now)
        assert opening.sees(ALONE) == [Take(0)]

    @pytest.mark.parametrize("ends_well", [True, False])
    def test_while_it_is_handed_over(self, owner: Broker, ends_well: bool) -> None:
        owner.ownership.leave(owner.now)
        assert owner.actions == [HandOver(0, DRAIN_REASON)]
        assert [type(each) for each in owner.passes(ALMOST_A_LEASE_S)] == [GiveUp]
        if ends_well:
            owner.ownership.handed_over(0, owner.now)
        else:
            owner.ownership.not_handed_over(0, LostEpoch("given up"), owner.now)
        assert owner.actions == []
        assert owner.ownership.has_left

    def test_another_process_has_the_name(self, owner: Broker) -> None:
        owner.ownership.end("the name was taken", owner.now)
        assert owner.actions == [GiveUp(0, "the name was taken")]
        assert owner.sees(ALONE) == []
        assert owner.ownership.held == frozenset()

    def test_a_lease_that_names_us_and_is_not_ours_is_released(self, broker: Broker) -> None:
        """A failover of the database has undone its release."""
        new = view(["a", "b"], [lease(0, "a", wanted="b")])
        assert broker.sees(new) == [Release(0, "")]
        broker.ownership.released(0, broker.now)
        assert broker.sees(view(["a", "b"], [lease(0, successor="b")])) == []


class TestHandingOver:
    @pytest.fixture
    def crowded(self) -> Broker:
        """One that owns all stores, when another broker joins."""
        broker = Broker(stores=4)
        broker.sees(view(["a"], [""] * 4))
        for store in range(4):
            broker.takes(store)
            broker.opens(store)
        assert broker.sees(view(["a"], ["a"] * 4)) == []
        return broker

    def test_one_after_the_other(self, crowded: Broker) -> None:
        both = ["a", "b"]
        assert crowded.sees(view(both, ["a"] * 4)) == [HandOver(2, HAND_OVER_REASON)]
        assert crowded.sees(view(both, ["a"] * 4)) == []
        crowded.ownership.handed_over(2, crowded.now)
        assert crowded.actions == [Release(2, "b")]
        crowded.ownership.released(2, crowded.now)
        free = lease(2, successor="b")
        assert crowded.sees(view(both, ["a", "a", free, "a"])) == []
        assert crowded.sees(view(both, ["a", "a", lease(2, "b", is_open=False), "a"])) == []
        assert crowded.sees(view(both, ["a", "a", "b", "a"])) == [HandOver(3, HAND_OVER_REASON)]
        assert crowded.ownership.counts.handed_over == 1

    def test_who_does_not_open_it_holds_nothing_up(self, crowded: Broker) -> None:
        both = ["a", "b"]
        crowded.sees(view(both, ["a"] * 4))
        crowded.ownership.handed_over(2, crowded.now)
        crowded.ownership.released(2, crowded.now)
        assert crowded.actions == [Release(2, "b")]
        waiting = view(both, ["a", "a", lease(2, "b", is_open=False), "a"])
        assert crowded.sees(waiting) == []
        assert crowded.sees(waiting, after=LEASE_S / 2) == []
        assert crowded.sees(waiting, after=LEASE_S / 2) == [HandOver(3, HAND_OVER_REASON)]

    def test_a_new_member_waits(self, crowded: Broker) -> None:
        new = member("b", steady_ms=LEASE_MS)
        assert crowded.sees(view(["a", new], ["a"] * 4)) == []

    def test_it_is_received(self, broker: Broker) -> None:
        broker.sees(view(["a", "b"], [lease(0, successor="a")]))
        broker.takes()
        broker.opens()
        assert broker.ownership.counts.received == 1
        assert broker.ownership.counts.taken == 0

    def test_one_that_drains_keeps_what_nobody_else_can_have(self, owner: Broker) -> None:
        assert owner.sees(view([member("a", draining=True)], ["a"])) == []

    def test_leaving_needs_nobody(self, owner: Broker) -> None:
        owner.sees(view([member("a", draining=True)], ["a"]))
        owner.ownership.leave(owner.now)
        assert owner.actions == [HandOver(0, DRAIN_REASON)]
        owner.ownership.handed_over(0, owner.now)
        assert owner.actions == [Release(0, "")]
        owner.ownership.released(0, owner.now)
        assert owner.ownership.has_left
        assert owner.sees(ALONE) == []

    def test_one_that_leaves_hands_some_over_at_once(self) -> None:
        broker = Broker(stores=6)
        broker.sees(view(["a"], [""] * 6))
        for store in range(6):
            broker.takes(store)
            broker.opens(store)
        broker.sees(view(["a", "b"], ["a"] * 6))
        broker.ownership.handed_over(3, broker.now)
        assert broker.actions == [Release(3, "b")]
        broker.ownership.leave(broker.now)
        assert broker.actions == [HandOver(store, DRAIN_REASON) for store in (0, 1, 2)]
        broker.ownership.released(3, broker.now)
        assert broker.actions == [HandOver(4, DRAIN_REASON)]


class TestFailing:
    @pytest.mark.parametrize("error", [DataLost("gone"), Damaged("torn")])
    def test_what_nobody_should_try_again_is_refused(
        self, opening: Broker, error: Exception
    ) -> None:
        assert isinstance(error, DataLost | Damaged)
        opening.ownership.not_opened(0, error, opening.now)
        assert opening.actions == [Refuse(0, str(error))]
        assert opening.ownership.held == {0}
        opening.ownership.refused(0, opening.now)
        assert opening.sees(view(["a"], [lease(0, refused=str(error))])) == []

    def test_a_refusal_is_repeated_until_it_is_noted(self, owner: Broker) -> None:
        owner.ownership.failed(0, DataLost("gone"), owner.now)
        assert owner.actions == [GiveUp(0, "gone"), Refuse(0, "gone")]
        assert owner.sees(OURS) == [Refuse(0, "gone")]
        # It may not be on a standby yet.
        assert owner.sees(view(["a"], [lease(0, refused="gone")])) == [Refuse(0, "gone")]
        owner.ownership.refused(0, owner.now)
        assert owner.sees(view(["a"], [lease(0, refused="gone")])) == []

    def test_a_refusal_ends_when_another_has_the_store(self, owner: Broker) -> None:
        owner.ownership.failed(0, DataLost("gone"), owner.now)
        assert GiveUp(0, "gone") in owner.actions
        assert owner.sees(view(["a", "b"], ["b"])) == []
        assert owner.state is State.ELSEWHERE

    def test_other_errors_are_tried_again_later_and_later(self, broker: Broker) -> None:
        for times in range(3):
            assert broker.sees(ALONE, after=BACK_OFF_S * 2**times) == [Take(0)]
            broker.takes()
            broker.ownership.not_opened(0, ReadFailed("no connection"), broker.now)
            assert broker.actions == [GiveBack(0, BACK_OFF_S * 2**times, "no connection")]
            broker.ownership.released(0, broker.now)
            assert broker.sees(ALONE, after=BACK_OFF_S * 2**times - 0.1) == []
        assert broker.ownership.counts.failed == 3

    def test_where_no_store_can_be_opened_all_wait_longer_and_longer(self) -> None:
        broker = Broker(stores=8)
        for times in range(4):
            store = 2 * times
            back_off_s = BACK_OFF_S * 2**times
            for each in (store, store + 1):
                broker.takes_and_fails(each)
                assert broker.actions == [GiveBack(each, back_off_s, "no local directory")]
            broker.passes(back_off_s)

    def test_one_that_is_opened_ends_that(self) -> None:
        broker = Broker(stores=3)
        broker.takes_and_fails(0)
        broker.passes(BACK_OFF_S)
        broker.sees(view(["a"], ["", "", ""]))
        broker.takes(1)
        broker.opens(1)
        broker.takes_and_fails(2)
        assert broker.actions == [GiveBack(2, BACK_OFF_S, "no local directory")]

    def test_one_that_is_opened_and_fails_again_soon_is_still_tried_later(
        self, owner: Broker
    ) -> None:
        for times in range(3):
            owner.ownership.failed(0, MediumFailed("no"), owner.now)
            back_off_s = BACK_OFF_S * 2**times
            assert owner.actions == [GiveUp(0, "no"), GiveBack(0, back_off_s, "no")]
            owner.ownership.released(0, owner.now)
            assert owner.sees(ALONE, after=back_off_s) == [Take(0)]
            owner.takes()
            owner.opens()
        owner.now += BACK_OFF_MAX_S
        owner.ownership.failed(0, MediumFailed("no"), owner.now)
        assert owner.actions == [GiveUp(0, "no"), GiveBack(0, BACK_OFF_S, "no")]

    def test_a_lease_that_could_not_be_given_back_is_given_back_with_the_rest_of_the_back_off(
        self, opening: Broker
    ) -> None:
        opening.ownership.not_opened(0, ReadFailed("no connection"), opening.now)
        assert opening.actions == [GiveBack(0, BACK_OFF_S, "no connection")]
        opening.ownership.released(0, opening.now)
        (action,) = opening.sees(view(["a"], [lease(0, "a", is_open=False)]), after=0.4)
        assert isinstance(action, GiveBack)
        assert 0 < action.back_off_s < BACK_OFF_S
        opening.ownership.released(0, opening.now)
        assert opening.sees(view(["a"], [lease(0, "a", is_open=False)]), after=1) == [Take(0)]

    def test_a_fenced_owner_gives_up_and_back(self, owner: Broker) -> None:
        owner.ownership.failed(0, LostEpoch("another"), owner.now)
        assert owner.actions == [GiveUp(0, "another"), GiveBack(0, BACK_OFF_S, "another")]
        assert owner.ownership.counts.lost == 1

    def test_what_is_said_of_an_earlier_time_changes_nothing(self, owner: Broker) -> None:
        owner.passes(ALMOST_A_LEASE_S)
        assert owner.sees(ALONE) == [Take(0)]
        owner.takes()
        owner.ownership.failed(0, LostEpoch("another"), owner.now)
        assert owner.actions == []
        assert owner.state is State.OPENING

    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            (MediumFailed("no"), GiveBack(0, BACK_OFF_S, "no")),
            # Other brokers are of a newer version, perhaps.
            (UnknownFormat("new"), GiveBack(0, BACK_OFF_S, "new")),
            (DataLost("gone"), Refuse(0, "gone")),
        ],
    )
    def test_one_that_fails_while_it_is_handed_over(
        self, owner: Broker, error: StorageError, expected: Action
    ) -> None:
        owner.ownership.leave(owner.now)
        assert owner.actions == [HandOver(0, DRAIN_REASON)]
        owner.ownership.failed(0, error, owner.now)
        assert owner.actions == [GiveUp(0, str(error))]
        assert owner.state is State.GIVING_UP
        owner.ownership.not_handed_over(0, error, owner.now)
        assert owner.actions == [expected]

    def test_a_hand_over_that_fails(self, owner: Broker) -> None:
        owner.ownership.leave(owner.now)
        assert owner.actions == [HandOver(0, DRAIN_REASON)]
        owner.ownership.not_handed_over(0, MediumFailed("no"), owner.now)
        assert owner.actions == [GiveUp(0, "no"), GiveBack(0, BACK_OFF_S, "no")]


class TestExpecting:
    @pytest.mark.parametrize(
        ("view", "expects"),
        [
            (OURS, False),
            (ALONE, True),
            (view(["a"], [lease(0, "a", is_open=False)]), True),
            (view(["a", "b"], ["b"]), False),
            (view(["a", "b"], [lease(0, "b", wanted="a")]), True),
            (view(["a"], [lease(0, refused="gone")]), False),
            (view([], [""]), False),
        ],
    )
    def test_it_looks_often_while_something_is_about_to_change(
        self, owner: Broker, view: ClusterView, expects: bool
    ) -> None:
        owner.sees(view)
        assert owner.ownership.expects_change() == expects
