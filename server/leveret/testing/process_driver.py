"""A broker in a process of its own, which ends with this one.

The process is told what to do through a pair of connected sockets, of which it inherits one end, so
that nobody else can. When the other end is closed, it ends. Commands are numbered, and a thread
reads the answers: a test may be interrupted while it waits for one (KeyboardInterrupt, a timeout),
and ask for something else then.
"""

import atexit
import os
import pickle
import signal
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from itertools import count
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
        self._sending = threading.Lock()
        """Held while a command is sent."""
        self._numbers = count()
        self._answers = _Answers()
        self._connection: Connection[Any, Any]
        self._process: subprocess.Popen[bytes]
        self._forgotten: weakref.finalize[..., Any]
        """Ends the process when nobody has the driver any more."""
        self._is_paused = False

    def start(self) -> None:
        options = pickle.dumps(self._options)
        ours, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", PROGRAM, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                env=_environment(),
                pass_fds=[theirs.fileno()],
            )
        self._connection = ours
        self._forgotten = weakref.finalize(self, _end_forgotten, self._process)
        self._forgotten.atexit = False
        _RUNNING.add(self)
        with ExitStack() as undo:
            undo.callback(self.kill)
            self._answers.read_from(ours)
            self._ask("start", options)
            undo.pop_all()

    def call(self, name: str, args: tuple[Any, ...]) -> Any:
        return self._ask(name, pickle.dumps(args))

    def pause(self) -> None:
        self._is_paused = True
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)
        self._is_paused = False

    def stop(self, patient: bool) -> None:
        try:
            self.call("stop", (patient,))
            self._process.wait(END_TIMEOUT_S)
        finally:
            self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(END_TIMEOUT_S)
        self._answers.join(END_TIMEOUT_S)
        self._connection.close()
        self._forgotten.detach()
        _RUNNING.discard(self)

    def close_after_fork(self) -> None:
        """Close the socket in a child process: the broker's process would outlive this one."""
        self._forgotten.detach()
        self._connection.close()

    def kill_if_paused(self) -> None:
        """Kill the process if it stands still: it would not notice that this one ends."""
        if self._is_paused:
            self._process.kill()

    def _ask(self, name: str, argument: bytes) -> Any:
        """The result of a command.

        :param argument: its arguments, as pickle writes them.
        :raises BrokerError: if there is none.
        """
        number = next(self._numbers)
        with self._answers.awaited(number) as answer:
            try:
                with self._sending:
                    self._connection.send((number, name, argument))
                result = answer.result(ANSWER_TIMEOUT_S)
            except TimeoutError:
                raise BrokerError(
                    f"the broker's process did not answer {name} within {ANSWER_TIMEOUT_S:g} s"
                ) from None
            except (EOFError, OSError):
                code = self._process.wait(END_TIMEOUT_S)
                raise BrokerError(
                    f"the broker's process has ended, with exit code {code}"
                ) from None
        if isinstance(result, Exception):
            raise result
        return result


class _Answers:
    """The answers of a process, by the numbers of their commands."""

    def __init__(self) -> None:
        self._awaited: dict[int, Future[Any]] = {}
        self._has_ended = False
        """Whether no more answers come."""
        self._thread: threading.Thread | None = None

    def read_from(self, connection: "Connection[Any, Any]") -> None:
        """Read answers in a thread, until the connection ends."""
        self._thread = threading.Thread(
            target=self._read, args=[connection], name="leveret-answers", daemon=True
        )
        self._thread.start()

    @contextmanager
    def awaited(self, number: int) -> Iterator[Future[Any]]:
        """The answer to a command, which fails with EOFError if the process ends."""
        answer = self._awaited[number] = Future()
        try:
            if self._has_ended:
                _fail(answer)
            yield answer
        finally:
            self._awaited.pop(number, None)

    def join(self, seconds: float) -> None:
        """Wait for the end of the connection."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _read(self, connection: "Connection[Any, Any]") -> None:
        try:
            while True:
                number, result = connection.recv()
                answer = self._awaited.pop(number, None)
                if answer is not None:
                    answer.set_result(result)
        except (EOFError, OSError):
            self._has_ended = True
            for answer in list(self._awaited.values()):
                _fail(answer)


def _fail(answer: Future[Any]) -> None:
    """Have an answer fail, because the process has ended."""
    with suppress(InvalidStateError):
        answer.set_exception(EOFError())


def _end_forgotten(process: "subprocess.Popen[bytes]") -> None:
    """End the process of a handle that was never closed."""
    warnings.warn(f"the broker in process {process.pid} was not closed", ResourceWarning, 2)
    process.kill()
    process.wait(END_TIMEOUT_S)


_RUNNING: Final[weakref.WeakSet[ProcessDriver]] = weakref.WeakSet()
"""The drivers whose process may run."""


def _close_after_fork() -> None:
    for driver in list(_RUNNING):
        driver.close_after_fork()
    _RUNNING.clear()


def _kill_paused() -> None:
    for driver in list(_RUNNING):
        driver.kill_if_paused()


os.register_at_fork(after_in_child=_close_after_fork)
atexit.register(_kill_paused)


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
