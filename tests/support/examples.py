"""How many examples a test has: those that hypothesis draws, worlds, kills of a broker.

The amounts in the tests are what it takes to find faults. CI runs every test twice, as plain Python
and compiled, and only once with all examples: LEVERET_TEST_EXAMPLES is how many of a hundred.
"""

import os
from collections.abc import Sequence
from typing import Final, TypeVar

Case = TypeVar("Case")

PER_CENT: Final = int(os.environ.get("LEVERET_TEST_EXAMPLES", "100"))


def examples(amount: int) -> int:
    """`amount`, or the part of it that this run draws; at least one."""
    return max(1, amount * PER_CENT // 100)


def part_of(cases: Sequence[Case]) -> Sequence[Case]:
    """`cases`, or of each few of them the first, where a run has a part of the examples."""
    return cases[:: max(1, 100 // PER_CENT)]
