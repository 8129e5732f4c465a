"""One process works on a directory; the error of a second one names it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from leveret_storage.errors import DirectoryLocked
from leveret_storage.media.filesystem import FilesystemMedium

HOLD = """
import sys
from pathlib import Path
from leveret_storage.errors import DirectoryLocked
from leveret_storage.media.filesystem import FilesystemMedium

try:
    medium = FilesystemMedium(Path(sys.argv[1]))
except DirectoryLocked as error:
    print(error, flush=True)
    sys.exit(1)
print("held", flush=True)
sys.stdin.readline()
medium.close()
print("closed", flush=True)
sys.stdin.readline()
"""


@contextmanager
def process(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that opens the directory, prints the result, and waits for input."""
    started = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def line(started: subprocess.Popen[str]) -> str:
    assert started.stdout is not None
    return started.stdout.readline().strip()


def go_on(started: subprocess.Popen[str]) -> None:
    assert started.stdin is not None
    started.stdin.write("\n")
    started.stdin.flush()


def test_the_second_process_is_told_who_holds_the_directory(tmp_path: Path) -> None:
    with process(tmp_path) as holder:
        assert line(holder) == "held"
        with process(tmp_path) as second:
            assert line(second) == f"{tmp_path} is in use by process {holder.pid} on {HOST}"
            assert second.wait() == 1


def test_of_many_processes_at_once_one_gets_the_directory(tmp_path: Path) -> None:
    with process(tmp_path) as a, process(tmp_path) as b, process(tmp_path) as c:
        said = [line(each) for each in (a, b, c)]
    assert said.count("held") == 1
    assert len([text for text in said if f"{tmp_path} is in use by " in text]) == 2


def test_a_directory_is_free_when_its_holder_closes_it(tmp_path: Path) -> None:
    with process(tmp_path) as holder:
        assert line(holder) == "held"
        go_on(holder)
        assert line(holder) == "closed"
        FilesystemMedium(tmp_path).close()


def test_a_directory_is_free_when_its_holder_is_killed(tmp_path: Path) -> None:
    with process(tmp_path) as holder:
        assert line(holder) == "held"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        medium = FilesystemMedium(tmp_path)
        with pytest.raises(DirectoryLocked, match=f"process {os.getpid()} on {HOST}"):
            FilesystemMedium(tmp_path)
        medium.close()


@pytest.mark.parametrize("stale", ["", "4000000 elsewhere\n", "nonsense", "\0" * 500])
def test_what_the_lock_file_says_locks_nobody_out(tmp_path: Path, stale: str) -> None:
    (tmp_path / "lock").write_text(stale)
    medium = FilesystemMedium(tmp_path)
    assert (tmp_path / "lock").read_text() == f"{os.getpid()} {HOST}\n"
    medium.close()


@pytest.mark.parametrize("unfinished", ["", "nonsense", " host\n"])
def test_a_holder_that_has_not_written_its_name_still_holds(
    tmp_path: Path, unfinished: str
) -> None:
    medium = FilesystemMedium(tmp_path)
    (tmp_path / "lock").write_text(unfinished)
    with pytest.raises(DirectoryLocked, match=f"{tmp_path} is in use by another process"):
        FilesystemMedium(tmp_path)
    medium.close()


HOST = os.uname().nodename
