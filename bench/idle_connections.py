"""A load beside many idle connections: does a broker's work for all of them delay one message?"""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.contestants import Running, check_open_files
from bench.load import LoadResult, Timing, run_load
from bench.quiet import Quiet

IDLE_CONNECTIONS = 10_000
HEARTBEAT_S = 60
"""The brokers' own proposal: 333 heartbeats a second in each direction."""


def load_beside_idle_connections(
    program: Path, arguments: Sequence[str], timing: Timing, broker: Running
) -> LoadResult:
    """Run the load program while IDLE_CONNECTIONS connections exchange heartbeats only.

    :raises NotMeasured: if the connections are too many for this user, the broker closes one of
        them, or the load fails.
    """
    check_open_files(IDLE_CONNECTIONS)
    quiet = Quiet(broker, HEARTBEAT_S, consuming=False)
    stopped = threading.Event()
    try:
        quiet.open(IDLE_CONNECTIONS)
        with ThreadPoolExecutor(1) as pool:
            heartbeats = pool.submit(quiet.keep_until, stopped)
            try:
                result = run_load(program, arguments, timing, broker)
            finally:
                stopped.set()
            heartbeats.result()
        return result
    finally:
        quiet.close()
