"""Calls of the coordination at a start, which waits for a database that is slow."""

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeVar

from leveret_storage.coordination import Unreachable

UNREACHABLE_S: Final = 10.0
"""Seconds for which a call is repeated that the database does not answer."""

RETRY_S: Final = 0.2

T = TypeVar("T")


async def call_patiently(call: Callable[[], T]) -> T:
    """Make a call in a thread, again and again while the database does not answer: twice has to be
    as good as once.

    :raises Unreachable: if it has not answered for UNREACHABLE_S.
    """
    deadline = time.monotonic() + UNREACHABLE_S
    while True:
        try:
            return await asyncio.to_thread(call)
        except Unreachable:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(RETRY_S)
