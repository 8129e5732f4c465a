"""Twenty random faults; `make cluster-crash KILLS=1000` for more."""

import secrets

import pytest

from tests.cluster.crash import KILLS, Crash
from tests.cluster.world import World
from tests.conftest import CI
from tests.support.examples import examples

PARTS = 4
"""Tests that the faults are split into, for the time one test may take."""

ROUNDS = examples(KILLS // PARTS)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
def test_everything_confirmed_is_there_whatever_fails(world: World, part: int) -> None:
    seed = f"ci-{part}" if CI else secrets.token_hex(4)
    print(f"to see it again: python -m tests.cluster.crash {ROUNDS} {seed}")
    crash = Crash(world, seed)
    for _ in range(ROUNDS):
        crash.run()
