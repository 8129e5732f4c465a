"""The clock that the suite runs with: `make test AHEAD=365` sets it a year ahead, and only it.

The time of day is ahead; every wait takes the time it should. Without AHEAD the same holds for a
clock that is not ahead.
"""

import asyncio
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
import uvloop

DAYS_AHEAD = int(os.environ.get("LEVERET_TEST_DAYS_AHEAD", "0"))
DAY_S = 86_400
WAIT_S = 0.1
LATENESS_MAX_S = 60.0

WAITS: dict[str, Callable[[], object]] = {
    "sleep": lambda: time.sleep(WAIT_S),
    "event": lambda: threading.Event().wait(WAIT_S),
    "select": lambda: select.select([], [], [], WAIT_S),
    "asyncio": lambda: asyncio.run(asyncio.sleep(WAIT_S)),
    "uvloop": lambda: uvloop.run(asyncio.sleep(WAIT_S)),
    "subprocess": lambda: subprocess.run(["sleep", str(WAIT_S)], timeout=LATENESS_MAX_S),
}


def test_the_time_of_day_is_ahead_by_what_was_asked_for() -> None:
    """A process without the preloaded libraries has the time that the machine has."""
    without = {key: text for key, text in os.environ.items() if key != "LD_PRELOAD"}
    printed = subprocess.run(["date", "+%s"], env=without, capture_output=True, check=True).stdout
    assert time.time() - int(printed) == pytest.approx(DAYS_AHEAD * DAY_S, abs=60)


@pytest.mark.parametrize("wait", WAITS)
def test_a_wait_takes_the_time_it_should(wait: str) -> None:
    begun, begun_of_day = time.monotonic(), time.time()
    WAITS[wait]()
    assert WAIT_S * 0.99 <= time.monotonic() - begun < LATENESS_MAX_S
    assert WAIT_S * 0.9 <= time.time() - begun_of_day < LATENESS_MAX_S


def test_a_thread_that_waits_for_the_interpreter_takes_no_cpu_time() -> None:
    """It would ask again and again if its wait, until a time of the other clock, ended at once."""
    waiting, go = threading.Event(), threading.Lock()
    taken_s: list[float] = []

    def wait() -> None:
        waiting.set()
        with go:
            taken_s.append(time.thread_time())

    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(LATENESS_MAX_S)
    try:
        go.acquire()
        thread = threading.Thread(target=wait)
        thread.start()
        waiting.wait()
        go.release()
        begun_s = time.thread_time()
        sum(range(5_000_000))
        busy_s = time.thread_time() - begun_s
    finally:
        sys.setswitchinterval(interval_s)
    thread.join()
    assert taken_s[0] < busy_s / 4
