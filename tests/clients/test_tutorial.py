"""The classic tutorial's lessons as real programs against the broker.

Each lesson runs once with today's pika and once as written for pika 0.12. The old pika lies in a
directory of its own: the one LEVERET_TEST_PIKA_012 names, or one filled here from pika-0.12.txt
with pip and kept in pytest's cache.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.processes import Program
from tests.clients.tutorial.spelling import Spelling
from tests.support.brokers import Broker

PIKA_DIRECTORY_VARIABLE = "LEVERET_TEST_PIKA_012"
REQUIREMENTS = Path(__file__).parent / "pika-0.12.txt"
SLOW_TASK_S = "60"

Start = Callable[..., Program]


def pika_of_2016(config: pytest.Config) -> Path:
    """A directory with pika 0.12 in it, filled if need be; the test is skipped where pip cannot."""
    named = os.environ.get(PIKA_DIRECTORY_VARIABLE)
    directory = Path(named) if named else config.cache.mkdir("pika-0.12")
    if not (directory / "pika").is_dir():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        installed = subprocess.run(
            [*pip, "--target", str(directory), "-r", str(REQUIREMENTS)],
            capture_output=True,
            text=True,
            check=False,
        )
        if installed.returncode != 0:
            pytest.skip(f"pika 0.12 cannot be installed: {installed.stderr.strip()}")
    return directory


def is_ready(line: str) -> bool:
    """Whether a program says with `line` that it consumes."""
    return line.startswith("ready")


class Lessons:
    """Starts the programs of one spelling against the broker."""

    def __init__(self, spelling: Spelling, broker: Broker, start_program: Start) -> None:
        self._spelling = spelling
        self._environment = spelling.environment(broker.url)
        self._start_program = start_program

    def start(self, program: str, *arguments: str) -> Program:
        """Start a program without waiting for anything."""
        return self._start_program(self._spelling.command(program, *arguments), self._environment)

    def start_ready(self, program: str, *arguments: str) -> Program:
        """Start a consuming program and return once it consumes."""
        started = self.start(program, *arguments)
        started.next_line(is_ready)
        return started

    def run(self, program: str, *arguments: str) -> list[str]:
        """Run a program to its end and return what it printed."""
        started = self.start(program, *arguments)
        assert started.wait() == 0, str(started)
        return started.lines


@pytest.fixture(params=["pika of today", "pika of 2016"])
def lessons(request: pytest.FixtureRequest, broker: Broker, start_program: Start) -> Lessons:
    """The lessons in one spelling."""
    if request.param == "pika of today":
        return Lessons(Spelling("today"), broker, start_program)
    directory = pika_of_2016(request.config)
    return Lessons(Spelling("of_2016", directory), broker, start_program)


def test_hello_arrives(lessons: Lessons, name: str) -> None:
    receiver = lessons.start_ready("receive", name)

    assert lessons.run("send", name, "Hello, hare") == ["sent Hello, hare"]

    assert receiver.next_line() == "received Hello, hare"


def test_hello_waits_in_the_queue_for_a_later_receiver(lessons: Lessons, name: str) -> None:
    lessons.run("send", name, "early")

    receiver = lessons.start("receive", name)

    assert receiver.next_line(lambda line: line.startswith("received")) == "received early"


def test_the_task_of_a_killed_worker_moves_on_redelivered(lessons: Lessons, name: str) -> None:
    victim = lessons.start_ready("worker", name, SLOW_TASK_S)
    lessons.run("new_task", name, "dig")
    assert victim.next_line() == "got dig"
    heir = lessons.start_ready("worker", name, "0")

    victim.kill()

    assert heir.next_lines(2) == ["redelivered dig", "done dig"]


def test_a_busy_worker_is_passed_over(lessons: Lessons, name: str) -> None:
    busy = lessons.start_ready("worker", name, SLOW_TASK_S)
    idle = lessons.start_ready("worker", name, "0")
    tasks = [f"task {number}" for number in range(6)]

    lessons.run("new_task", name, *tasks)

    first = busy.next_line().removeprefix("got ")
    done = [line.removeprefix("done ") for line in idle.next_lines(10) if line.startswith("done")]
    assert sorted([first, *done]) == tasks
    assert busy.lines == ["ready", f"got {first}"]


def test_fanout_reaches_every_server_named_queue(lessons: Lessons, name: str) -> None:
    first = lessons.start("receive_logs", name)
    second = lessons.start("receive_logs", name)
    queues = {program.next_line(is_ready) for program in (first, second)}

    lessons.run("emit_log", name, "burrow flooded")

    assert len(queues) == 2
    assert all(queue.startswith("ready amq.gen-") for queue in queues)
    assert first.next_line() == "log burrow flooded"
    assert second.next_line() == "log burrow flooded"


def test_direct_delivers_by_severity(lessons: Lessons, name: str) -> None:
    errors = lessons.start_ready("receive_logs_keyed", name, "direct", "error")
    severities = ("info", "warning", "error")
    everything = lessons.start_ready("receive_logs_keyed", name, "direct", *severities)

    for severity in severities:
        lessons.run("emit_log_keyed", name, "direct", severity, "fox")

    assert everything.next_lines(3) == ["info fox", "warning fox", "error fox"]
    assert errors.next_line() == "error fox"


def test_topic_delivers_by_pattern(lessons: Lessons, name: str) -> None:
    patterns = {"#": 4, "kern.*": 2, "*.critical": 2}
    receivers = {
        pattern: lessons.start_ready("receive_logs_keyed", name, "topic", pattern)
        for pattern in patterns
    }

    for key in ("kern.info", "cron.critical", "kern.critical", "kern.disk.full"):
        lessons.run("emit_log_keyed", name, "topic", key, "sent")

    received = {pattern: receivers[pattern].next_lines(n) for pattern, n in patterns.items()}
    assert received == {
        "#": ["kern.info sent", "cron.critical sent", "kern.critical sent", "kern.disk.full sent"],
        "kern.*": ["kern.info sent", "kern.critical sent"],
        "*.critical": ["cron.critical sent", "kern.critical sent"],
    }


def test_rpc_answers_each_caller_with_its_own_result(lessons: Lessons, name: str) -> None:
    lessons.start_ready("rpc_server", name)

    first = lessons.start("rpc_client", name, "0", "1", "30")
    second = lessons.start("rpc_client", name, "10", "20")

    assert (first.wait(), second.wait()) == (0, 0)
    assert first.lines == ["0 0", "1 1", "30 832040"]
    assert second.lines == ["10 55", "20 6765"]
