"""The contestants: Leveret, another build of it, RabbitMQ and LavinMQ with their defaults, and the
bare relay.

Each measurement starts its contestant and ends it. So only one runs at a time, and none inherits
the state of an earlier measurement.
"""

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.lavinmq import LavinMQ
from tests.support.brokers import Broker, Leveret, RabbitMQ, leveret_command, rabbitmq_available

RELAY_READY = "relay ready "
STOP_DEADLINE_S = 10.0

OPEN_FILES = 12_288
"""Files that this process and the brokers may open: 10,000 connections and some spare; RabbitMQ
reserves a part of its files for its store."""
OPEN_FILES_MIN = 4096
"""Without so many no row runs: 1,000 connections, and RabbitMQ's own files."""


class NotMeasured(Exception):
    """A row could not be measured for a contestant; the text says why."""


@dataclass(frozen=True)
class Contestant:
    """What is measured. All builds of Leveret have the same `kind`."""

    name: str
    kind: str
    executable: Path | None = None
    """The `leveret` of another environment; None for this checkout's."""


LEVERET = Contestant("leveret", "leveret")
RABBITMQ = Contestant("rabbitmq", "rabbitmq")
RELAY = Contestant("relay", "relay")
LAVINMQ_NAME = "lavinmq"


def lavinmq(executable: Path) -> Contestant:
    """LavinMQ, by its binary."""
    return Contestant(LAVINMQ_NAME, LAVINMQ_NAME, executable)


OTHER_NAME = "other"


def other_leveret(executable: Path) -> Contestant:
    """Another build of Leveret."""
    return Contestant(OTHER_NAME, LEVERET.kind, executable)


@dataclass(frozen=True)
class Running:
    """A contestant that listens: its address and its process."""

    kind: str
    host: str
    port: int
    pid: int


def allow_open_files() -> None:
    """Raise the limit of open files to OPEN_FILES, for this process and the brokers it starts.

    With the usual 1,024 RabbitMQ refuses the thousandth connection.

    :raises NotMeasured: if the hard limit is below OPEN_FILES_MIN.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    infinite = resource.RLIM_INFINITY
    if hard != infinite and hard < OPEN_FILES_MIN:
        raise NotMeasured(f"this user may open {hard} files; {OPEN_FILES_MIN} are necessary")
    wanted = OPEN_FILES if hard == infinite else min(OPEN_FILES, hard)
    if soft != infinite and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def check_open_files(connections: int) -> None:
    """Check that this process may open so many connections.

    :raises NotMeasured: if it may not.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = OPEN_FILES - 10_000
    if soft != resource.RLIM_INFINITY and soft < connections + spare:
        raise NotMeasured(f"this user may open {soft} files; {connections + spare} are necessary")


@contextmanager
def running(contestant: Contestant) -> Iterator[Running]:
    """Run the contestant while the block is executed.

    :raises NotMeasured: if RabbitMQ is not installed.
    :raises BrokerError: if a broker does not start.
    """
    if contestant.kind == RELAY.kind:
        with _relay() as relay:
            yield relay
        return
    if contestant == RABBITMQ and not rabbitmq_available():
        raise NotMeasured("rabbitmq-server is not installed")
    with _start(contestant) as broker:
        yield Running(contestant.kind, broker.host, broker.port, broker.pid)


def _start(contestant: Contestant) -> Broker:
    if contestant == RABBITMQ:
        return RabbitMQ()
    if contestant.kind == LAVINMQ_NAME and contestant.executable is not None:
        return LavinMQ(contestant.executable)
    return start_leveret(contestant)


def start_leveret(contestant: Contestant, data_dir: Path | None = None) -> Leveret:
    """Start a build of Leveret on a free port.

    :raises BrokerError: if it does not start.
    """
    return Leveret(data_dir=data_dir, executable=contestant.executable)


@contextmanager
def _relay() -> Iterator[Running]:
    command = [sys.executable, str(Path(__file__).with_name("relay.py"))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line.startswith(RELAY_READY):
            raise NotMeasured(f"the relay did not start: it printed {line!r}")
        port = int(line.removeprefix(RELAY_READY))
        yield Running(RELAY.kind, "127.0.0.1", port, process.pid)
    finally:
        process.terminate()
        process.wait(STOP_DEADLINE_S)
        process.stdout.close()


def leveret_version(contestant: Contestant) -> str:
    """The output of `leveret --version`, which names the build, or the error it ended with."""
    command, environment = leveret_command(contestant.executable)
    done = subprocess.run(
        [*command, "--version"], capture_output=True, text=True, check=False, env=environment
    )
    return done.stdout.strip() or f"did not run: {done.stderr.strip()}"
