"""Waiting for what the application under test does, with a text for the time when it did not."""

import sys
import time
import warnings
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
    """Look again and again, once at least, until there is a result. There is a warning if there was
    none, and this held up an event loop, in which the application may be that was waited for.

    :param timeout: seconds.
    :returns: the result; None if there was none in time.
    """
    end = time.monotonic() + timeout
    while (result := look()) is None and time.monotonic() < end:
        time.sleep(POLL_S)
    if result is None and timeout > 0 and _is_in_event_loop():
        warnings.warn(
            f"the event loop of asyncio stood still while this waited for {timeout:g} s: in a"
            " coroutine, await the method whose name ends with _async",
            RuntimeWarning,
            stacklevel=3,
        )
    return result


def _is_in_event_loop() -> bool:
    """Whether a coroutine of asyncio is the caller. It is not imported for that."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


async def wait_async(look: Callable[[], R | None], timeout: float) -> R | None:
    """As `wait`, in a coroutine of asyncio or trio."""
    from anyio import sleep

    end = time.monotonic() + timeout
    while (result := look()) is None and time.monotonic() < end:
        await sleep(POLL_S)
    return result
