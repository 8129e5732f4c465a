"""How much happened in a broker: what the pytest plugin compares before and after a test."""

from dataclasses import dataclass
from typing import Final

INTERNAL_ERROR: Final = "internal error"
"""What the text of an event that reports an error of the broker itself begins with."""


@dataclass(frozen=True)
class Activity:
    """Counts of one broker."""

    connections: int
    """Connections opened since the last reset."""
    events: int
    """Events logged since the start."""
    internal_errors: int
    """Those of them that report an error of the broker itself."""
