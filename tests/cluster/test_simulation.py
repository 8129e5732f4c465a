"""The simulated cluster: no run breaks a promise, and what is wrong on purpose is found."""

import pytest

from leveret.cluster.ownership import BACK_OFF_MAX_S, Ownership
from leveret.cluster.store_state import State
from leveret_storage.coordination import ClusterView
from tests.cluster.simulation.machine import SERVING
from tests.cluster.simulation.oracle import Violated
from tests.cluster.simulation.run import LEASE_S, Defects, Run
from tests.support.examples import examples

SEEDS = 100
SEEDS_TO_FIND = 200
"""Runs within which what is wrong has to be found."""


class NoDeadline(Ownership):
    """Keeps a store though its lease cannot be renewed."""

    def tick(self, now: float) -> None:
        pass

    def next_deadline(self) -> float | None:
        return None


class CountsFromAnswer(Ownership):
    """Counts a lease from when the answer came, not from before the question was sent."""

    def seen(self, view: ClusterView, asked_at: float, renewed: frozenset[int], now: float) -> None:
        super().seen(view, now, renewed, now)

    def taken(self, store: int, asked_at: float, now: float) -> None:
        super().taken(store, now, now)


class HandsNothingOver(Ownership):
    """Keeps more than its share."""

    def _hand_one_over(self, now: float) -> bool:
        return False


DEFECTS = {
    "no fence": Defects(has_fence=False),
    "a fence without a lock": Defects(fence_has_lock=False),
    "a confirm before the standby has the record": Defects(confirms_without_sync=True),
    "no deadline": Defects(ownership=NoDeadline),
    "a lease that is counted from the answer": Defects(ownership=CountsFromAnswer),
    "nothing is handed over": Defects(ownership=HandsNothingOver),
}


def test_no_schedule_breaks_a_promise() -> None:
    for seed in range(examples(SEEDS)):
        Run(seed).run()


@pytest.mark.parametrize("defect", DEFECTS)
def test_what_is_wrong_is_found(defect: str) -> None:
    for seed in range(SEEDS_TO_FIND):
        try:
            Run(seed, DEFECTS[defect]).run()
        except Violated:
            return
    pytest.fail(f"not found in {SEEDS_TO_FIND} runs")


def test_a_broker_that_was_stopped_past_its_lease_gives_up_what_it_opens() -> None:
    run = Run(3)
    machine = run.cluster.machines[0]
    machine.start()
    while machine.state(0) is not State.OPENING:
        run.events.run(run.events.now + 0.001)
    assert machine.broker is not None
    machine.broker.stopped_until = run.events.now + 2 * LEASE_S
    run.events.run(machine.broker.stopped_until + 0.001)
    assert machine.state(0) not in SERVING


def test_a_member_that_can_open_no_store_hardly_disturbs_the_others() -> None:
    run = Run(3)
    events, cluster = run.events, run.cluster
    broken, *others = cluster.machines
    broken.failing = 1.0
    for machine in cluster.machines:
        machine.start()
    not_served = [0.0] * cluster.stores
    for _ in range(6000):
        events.run(events.now + 0.1)
        for store in range(cluster.stores):
            if all(each.state(store) is not State.OWNED for each in others):
                not_served[store] += 0.1
    # At first each store has to be taken by somebody who can.
    assert max(not_served) < 10
    assert 0 < broken.failed < 20
    broken.failing = 0.0
    while all(broken.state(store) is not State.OWNED for store in range(cluster.stores)):
        events.run(events.now + 1.0)
        assert events.now < 1200


def test_a_store_that_nobody_could_open_is_served_soon_after_somebody_can() -> None:
    run = Run(3)
    events, cluster = run.events, run.cluster
    for machine in cluster.machines:
        machine.failing = 1.0
        machine.start()
    events.run(600)
    assert all(machine.failed > 5 for machine in cluster.machines)
    cluster.machines[-1].failing = 0.0
    events.run(events.now + BACK_OFF_MAX_S + 10)
    for store in range(cluster.stores):
        assert cluster.machines[-1].state(store) is State.OWNED


def test_a_seed_determines_a_run() -> None:
    first, second = Run(7), Run(7)
    first.run()
    second.run()
    assert first.cluster.oracle.confirmed == second.cluster.oracle.confirmed
    assert first.events.now == second.events.now
