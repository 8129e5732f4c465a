"""The events that are logged meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from leveret.logging import RECENT


@contextmanager
def capture_logs() -> Iterator[list[dict[str, Any]]]:
    """The events, with their level as `level`, as they are logged."""
    events: list[dict[str, Any]] = []
    with RECENT.followed(events.append):
        yield events
