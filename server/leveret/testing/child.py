"""The process of a broker that `process_driver.py` has started.

A thread reads the commands, one at a time, and the event loop carries them out.
"""

import asyncio
import gc
import os
import pickle
import signal
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any, Final

import uvloop

from leveret.config_loading import ConfigError
from leveret.datadir.open import StorageRefused
from leveret.testing.control import Control
from leveret.testing.errors import BrokerError

UNREADABLE: Final = (AttributeError, ImportError, TypeError, ValueError, pickle.UnpicklingError)
"""What loading an argument raises whose class this process cannot import or make."""


async def _serve(connection: "Connection[Any, Any]", control: Control, number: int) -> None:
    """
    :param number: of the command to start.
    """
    loop = asyncio.get_running_loop()
    try:
        await control.start()
    except (ConfigError, OSError, StorageRefused) as error:
        connection.send((number, BrokerError(f"the broker does not start: {error}")))
        return
    connection.send((number, None))
    ended = asyncio.Event()

    def carry_out_all() -> None:
        name = ""
        while name != "stop":
            try:
                number, name, arguments = connection.recv()
                connection.send((number, _carry_out(control, loop, name, arguments)))
            except (EOFError, OSError):
                # The test's process is gone.
                os._exit(0)
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=carry_out_all, name="leveret-commands", daemon=True).start()
    await ended.wait()


def _carry_out(
    control: Control, loop: asyncio.AbstractEventLoop, name: str, arguments: bytes
) -> Any:
    """The result of a command, or its error."""
    try:
        args = pickle.loads(arguments)
    except UNREADABLE as error:
        return BrokerError(f"{name}: the broker's process cannot have an argument: {error}")
    command = asyncio.run_coroutine_threadsafe(getattr(control, name)(*args), loop)
    found = command.exception()
    if found is None:
        return command.result()
    if isinstance(found, BrokerError) or type(found).__module__ == "builtins":
        return found
    # Others may not be made of their text alone, as pickle would.
    return BrokerError(f"{name}: {type(found).__name__}: {found}")


def _made(options: bytes) -> Control | BrokerError:
    """What carries out the commands, or why it cannot be made."""
    try:
        return Control(pickle.loads(options))
    except (ConfigError, *UNREADABLE) as error:
        return BrokerError(f"the broker does not start: {error}")


def main() -> None:
    """Serve until the command to stop."""
    # What the imports have made stays, so no collection has to look at it.
    gc.freeze()
    gc.enable()
    # Interrupting a run of tests interrupts the tests; they end their brokers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Connection(int(sys.argv[1])) as connection:
        number, _, options = connection.recv()
        control = _made(options)
        if isinstance(control, BrokerError):
            connection.send((number, control))
            return
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(connection, control, number))
