"""How many examples hypothesis draws for a test.

The amounts in the tests are what it takes to find faults. CI runs every test twice, as plain Python
and compiled, and draws all of the examples once: LEVERET_TEST_EXAMPLES is how many of a hundred.
"""

import os
from typing import Final

PER_CENT: Final = int(os.environ.get("LEVERET_TEST_EXAMPLES", "100"))


def examples(amount: int) -> int:
    """`amount`, or the part of it that this run draws; at least one."""
    return max(1, amount * PER_CENT // 100)
