"""A broker in a process of its own, which ends with this one.

The process is told what to do through a pair of connected sockets, of which it inherits one end, so
that nobody else can. When the other end is closed, it ends.
"""

import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from importlib.util import find_spec
from multiprocessing.connection import Connection, Pipe
from typing import Any, Final

from leveret.testing.driver import ANSWER_TIMEOUT_S
from leveret.testing.errors import BrokerError
from leveret.testing.options import Options

PROGRAM: Final = "import gc; gc.disable(); from leveret.testing.child import main; main()"
"""What the process runs: no garbage is collected while it imports (`importing.py`)."""

END_TIMEOUT_S: Final = 30.0
"""Seconds for the process to end."""


class ProcessDriver:
    """Runs a broker in a process."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._lock = threading.Lock()
        """Held while a command is under way: there is one at a time."""
        self._connection: Connection[Any, Any]
        self._process: subprocess.Popen[bytes]

    def start(self) -> None:
        ours, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", PROGRAM, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                env=_environment(),
                pass_fds=[theirs.fileno()],
            )
        self._connection = ours
        with ExitStack() as undo:
            undo.callback(self.kill)
            ours.send(self._options)
            self._answer("start")
            undo.pop_all()

    def call(self, name: str, args: tuple[Any, ...]) -> Any:
        with self._lock:
            try:
                self._connection.send((name, args))
            except OSError:
                raise self._has_ended() from None
            return self._answer(name)

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self, patient: bool) -> None:
        try:
            self.call("stop", (patient,))
            self._process.wait(END_TIMEOUT_S)
        finally:
            self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(END_TIMEOUT_S)
        self._connection.close()

    def _answer(self, name: str) -> Any:
        """The result of the command that was sent last.

        :raises BrokerError: if there is none.
        """
        try:
            if not self._connection.poll(ANSWER_TIMEOUT_S):
                raise BrokerError(
                    f"the broker's process did not answer {name} within {ANSWER_TIMEOUT_S:g} s"
                )
            result = self._connection.recv()
        except (EOFError, OSError):
            raise self._has_ended() from None
        if isinstance(result, Exception):
            raise result
        return result

    def _has_ended(self) -> BrokerError:
        code = self._process.wait(END_TIMEOUT_S)
        return BrokerError(f"the broker's process has ended, with exit code {code}")


def _environment() -> dict[str, str]:
    """The variables of the process: it imports what this one would."""
    specs = [find_spec(package) for package in ("leveret", "leveret_storage")]
    roots = [
        os.path.dirname(os.path.abspath(location))
        for spec in specs
        if spec is not None
        for location in spec.submodule_search_locations or ()
    ]
    path = [*dict.fromkeys(roots), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
