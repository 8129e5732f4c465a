"""Who is measured: Leveret, RabbitMQ with its defaults, and the bare relay.

Each measurement starts its contestant afresh and ends it, so that only one runs at a time and none
inherits what another measurement left behind.
"""

import importlib.util
import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.brokers import SOURCE_ROOTS, Leveret, RabbitMQ, rabbitmq_available

LEVERET = "leveret"
RABBITMQ = "rabbitmq"
RELAY = "relay"
LEVERET_COMMAND = [sys.executable, "-m", "leveret"]
RELAY_READY = "relay ready "
STOP_DEADLINE_S = 10.0
OPEN_FILES = 4096  # for 1,000 connections; RabbitMQ keeps a share of its files for its store


class NotMeasured(Exception):
    """A row could not be measured for a contestant; the text says why."""


@dataclass(frozen=True)
class Running:
    """A contestant that listens: where, and as which process."""

    name: str
    host: str
    port: int
    pid: int


def allow_open_files() -> None:
    """Let this process, and the brokers that inherit it, open OPEN_FILES files.

    The usual 1,024 would make RabbitMQ refuse the thousandth connection. Raises NotMeasured when
    the hard limit is lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < OPEN_FILES:
        raise NotMeasured(f"this user may open {hard} files, {OPEN_FILES} are wanted")
    if soft != resource.RLIM_INFINITY and soft < OPEN_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, hard))


@contextmanager
def running(name: str) -> Iterator[Running]:
    """Start the contestant, and end it when the block is left.

    Raises NotMeasured when RabbitMQ is not installed, and BrokerError when a broker does not start.
    """
    if name == RELAY:
        with _relay() as relay:
            yield relay
        return
    if name == RABBITMQ and not rabbitmq_available():
        raise NotMeasured("rabbitmq-server is not installed")
    with Leveret() if name == LEVERET else RabbitMQ() as broker:
        yield Running(name, broker.host, broker.port, broker.pid)


@contextmanager
def _relay() -> Iterator[Running]:
    command = [sys.executable, str(Path(__file__).with_name("relay.py"))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line.startswith(RELAY_READY):
            raise NotMeasured(f"the relay did not start: it said {line!r}")
        yield Running(RELAY, "127.0.0.1", int(line.removeprefix(RELAY_READY)), process.pid)
    finally:
        process.terminate()
        process.wait(STOP_DEADLINE_S)
        process.stdout.close()


def leveret_environment() -> Mapping[str, str]:
    """The environment of LEVERET_COMMAND: with this checkout's sources if none is installed."""
    if importlib.util.find_spec("leveret") is not None:
        return os.environ
    roots = [*SOURCE_ROOTS, os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, roots))}


def leveret_version() -> str:
    """What `leveret --version` says, which names the build, or why it does not."""
    command = [*LEVERET_COMMAND, "--version"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=leveret_environment()
    )
    return done.stdout.strip() or f"did not run: {done.stderr.strip()}"
