"""Client programs as real subprocesses, with their output read line by line and every wait bounded.

Standard output and standard error of a program are one stream, as on a terminal. A wait that runs
out of time raises TimeoutError carrying all the program has printed.
"""

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

LINE_DEADLINE_S = 60.0


class Program:
    """One running program; `lines` is all it has printed so far."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.command = list(command)
        self.lines: list[str] = []
        self._unread: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
            cwd=cwd,
        )
        if self._process.stdout is None:
            raise RuntimeError("Popen gave no pipe")
        self._reader = threading.Thread(
            target=self._read, args=(self._process.stdout,), daemon=True
        )
        self._reader.start()

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._process.pid

    def _read(self, pipe: IO[str]) -> None:
        with pipe:
            for line in pipe:
                self.lines.append(line.rstrip("\n"))
                self._unread.put(self.lines[-1])
        self._unread.put(None)

    def next_line(
        self, wanted: Callable[[str], bool] = lambda _: True, deadline_s: float = LINE_DEADLINE_S
    ) -> str:
        """The next line for which `wanted` holds; lines before it are passed over.

        Raises TimeoutError when it does not come in time, EOFError when the program ends first.
        """
        deadline = time.monotonic() + deadline_s
        while True:
            try:
                line = self._unread.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise TimeoutError(f"no such line within {deadline_s} s from {self}") from None
            if line is None:
                raise EOFError(f"ended without such a line: {self}")
            if wanted(line):
                return line

    def next_lines(self, count: int) -> list[str]:
        """The next `count` lines."""
        return [self.next_line() for _ in range(count)]

    def wait(self, deadline_s: float = LINE_DEADLINE_S) -> int:
        """Its exit status, once it has ended and all its output is read."""
        try:
            status = self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"still running after {deadline_s} s: {self}") from None
        self._reader.join(deadline_s)
        return status

    def kill(self) -> None:
        """End it at once with SIGKILL, as a crash would, and reap it."""
        self._process.kill()
        self._process.wait()
        self._reader.join(LINE_DEADLINE_S)

    def terminate(self) -> None:
        """Ask it to end with SIGTERM."""
        self._process.terminate()

    def __str__(self) -> str:
        printed = "\n    ".join(self.lines)
        return f"{' '.join(self.command)} (pid {self.pid})\n    {printed}"


def run_program(
    command: Sequence[str],
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    deadline_s: float = LINE_DEADLINE_S,
) -> subprocess.CompletedProcess[bytes]:
    """Run a short program to its end; its output is bytes, apart from its error output."""
    return subprocess.run(
        list(command),
        input=stdin,
        capture_output=True,
        timeout=deadline_s,
        env={**os.environ, **(env or {})},
        check=False,
    )


def python(program: Path, *arguments: str) -> list[str]:
    """The command that runs `program` with the Python of this test run."""
    return [sys.executable, str(program), *arguments]
