"""The process of a broker that `process_driver.py` has started.

A thread reads the commands, one at a time, and the event loop carries them out.
"""

import asyncio
import gc
import os
import signal
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any

import uvloop

from leveret.config_loading import ConfigError
from leveret.datadir.open import StorageRefused
from leveret.testing.control import Control
from leveret.testing.errors import BrokerError
from leveret.testing.options import Options


async def _serve(connection: "Connection[Any, Any]", options: Options) -> None:
    loop = asyncio.get_running_loop()
    try:
        control = Control(options)
        await control.start()
    except (ConfigError, OSError, StorageRefused) as error:
        connection.send(BrokerError(f"the broker does not start: {error}"))
        return
    connection.send(None)
    ended = asyncio.Event()

    def carry_out_all() -> None:
        name = ""
        while name != "stop":
            try:
                name, args = connection.recv()
            except (EOFError, OSError):
                # The test's process is gone.
                os._exit(0)
            command = asyncio.run_coroutine_threadsafe(getattr(control, name)(*args), loop)
            error = command.exception()
            connection.send(command.result() if error is None else error)
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=carry_out_all, name="leveret-commands", daemon=True).start()
    await ended.wait()


def main() -> None:
    """Serve until the command to stop."""
    # What the imports have made stays, so no collection has to look at it.
    gc.freeze()
    gc.enable()
    # Interrupting a run of tests interrupts the tests; they end their brokers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Connection(int(sys.argv[1])) as connection:
        options = connection.recv()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(connection, options))
