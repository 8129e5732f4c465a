"""Waiting for what the application under test does, with a text for the time when it did not."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from leveret.testing.errors import is_of_the_test

R = TypeVar("R")

__tracebackhide__: Final = is_of_the_test

TIMEOUT_S: Final = 10.0
"""Seconds that are waited if nothing else is said: more than a busy machine needs."""

POLL_S: Final = 0.002
"""Seconds between two looks."""


def wait(look: Callable[[], R | None], timeout: float) -> R | None:
    """Look again and again, once at least, until there is a result.

    :param timeout: seconds.
    :returns: the result; None if there was none in time.
    """
    end = time.monotonic() + timeout
    while (result := look()) is None and time.monotonic() < end:
        time.sleep(POLL_S)
    return result


async def wait_async(look: Callable[[], R | None], timeout: float) -> R | None:
    """As `wait`, in a coroutine of asyncio or trio."""
    from anyio import sleep

    end = time.monotonic() + timeout
    while (result := look()) is None and time.monotonic() < end:
        await sleep(POLL_S)
    return result
