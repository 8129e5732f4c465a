"""Brokers in tests: what a suite waits for them.

What concerns Leveret alone is measured by processes of its interpreter (`testing_probe.py`).
RabbitMQ is measured where a suite does the same with it: a start to the first delivered message,
and as a reset the deletion of a virtual host, which is made again; its maker may do everything.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from bench.contestants import LEVERET, RABBITMQ, Contestant, NotMeasured, running
from bench.row import Measure, Row, Sample, Tool
from bench.testing_probe import CONNECTIONS, QUEUES, connect, deliver
from tests.parity.http.client import Answer, Api
from tests.support.brokers import (
    HOST,
    RabbitMQ,
    free_port,
    leveret_command,
    rabbitmq_available,
)
from tests.testing.projects import plugin_arguments
from tests.unit.source_tree import ROOT

PROBE = Path(__file__).with_name("testing_probe.py")
DEADLINE_S = 300.0
TESTS = 100
RABBITMQ_RESETS = 5
VHOST = "bench"
THREAD_MS_MAX = 50
PROCESS_MS_MAX = 200
RESET_MS_MAX = 5
SUITE_S_MAX = 3
IMPORT_MS_MAX = 100

TEST_FILE = """
import pika
import pytest

@pytest.mark.parametrize("number", range({tests}))
def test_a_message(leveret, number):
    connection = pika.BlockingConnection(pika.URLParameters(leveret.url))
    channel = connection.channel()
    channel.queue_declare("orders")
    channel.basic_publish("", "orders", str(number).encode())
    for _, _, body in channel.consume("orders", auto_ack=True):
        assert body == str(number).encode()
        break
    channel.cancel()
    connection.close()
"""


def _python(contestant: Contestant) -> tuple[str, dict[str, str]]:
    """The interpreter of a build of Leveret, and the environment in which it finds that build."""
    _, environment = leveret_command(contestant.executable)
    # An installed package has its bytecode beside it.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if contestant.executable is None:
        # What a build leaves in this directory is not installed.
        roots = environment["PYTHONPATH"].split(os.pathsep)
        environment["PYTHONPATH"] = os.pathsep.join(root for root in roots if Path(root) != ROOT)
        return sys.executable, environment
    return str(contestant.executable.absolute().with_name("python")), environment


def _run(contestant: Contestant, *arguments: str, directory: str | None = None) -> str:
    python, environment = _python(contestant)
    done = subprocess.run(
        [python, *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    if done.returncode != 0:
        raise NotMeasured(f"{' '.join(arguments)} failed: {done.stdout}{done.stderr}")
    return done.stdout


def _probe(what: str) -> Measure:
    def measure(_tool: Tool, contestant: Contestant) -> Sample:
        return Sample(float(_run(contestant, "-P", str(PROBE), what)) * 1000)

    return measure


def _start(what: str) -> Measure:
    """A start to the first delivered message, of RabbitMQ as a process."""
    probe = _probe(what)

    def measure(tool: Tool, contestant: Contestant) -> Sample:
        if contestant != RABBITMQ:
            return probe(tool, contestant)
        began = time.perf_counter()
        with running(contestant) as broker:
            deliver(broker.host, broker.port)
            return Sample((time.perf_counter() - began) * 1000)

    return measure


def _reset(what: str, queues: int, connections: int) -> Measure:
    probe = _probe(what)

    def measure(tool: Tool, contestant: Contestant) -> Sample:
        if contestant != RABBITMQ:
            return probe(tool, contestant)
        return _rabbitmq_reset(queues, connections)

    return measure


def _rabbitmq_reset(queues: int, connections: int) -> Sample:
    """A virtual host is deleted, which closes its connections, and made again."""
    if not rabbitmq_available():
        raise NotMeasured("rabbitmq-server is not installed")
    taken = []
    port = free_port()
    lines = (f"management.tcp.port = {port}", f"management.tcp.ip = {HOST}")
    with RabbitMQ(*lines, plugins=["rabbitmq_management"]) as broker:
        broker.control("await_startup")
        api = Api(HOST, port)
        _expect(api.ask("PUT", f"/api/vhosts/{VHOST}"), 201)
        for _ in range(RABBITMQ_RESETS):
            opened = [connect(broker.host, broker.port, VHOST) for _ in range(connections + 1)]
            channel = opened[0].channel()
            for number in range(queues):
                channel.queue_declare(f"queue-{number}")
            began = time.perf_counter()
            _expect(api.ask("DELETE", f"/api/vhosts/{VHOST}"), 204)
            _expect(api.ask("PUT", f"/api/vhosts/{VHOST}"), 201)
            taken.append(time.perf_counter() - began)
    return Sample(median(taken) * 1000)


def _expect(answer: Answer, status: int) -> None:
    if answer.status != status:
        raise NotMeasured(f"RabbitMQ answered {answer.status}: {answer.body!r}")


def _plugin(contestant: Contestant) -> list[str]:
    """What loads the plugin: nothing where Leveret is installed, its name where it is not."""
    return [] if contestant.executable else plugin_arguments()


def _hundred_tests(_tool: Tool, contestant: Contestant) -> Sample:
    """A run of pytest, from the start of its process to its end."""
    with tempfile.TemporaryDirectory(prefix="bench-testing-") as directory:
        Path(directory, "test_messages.py").write_text(TEST_FILE.format(tests=TESTS))
        began = time.perf_counter()
        output = _run(contestant, "-m", "pytest", "-q", *_plugin(contestant), directory=directory)
        took = time.perf_counter() - began
    if f"{TESTS} passed" not in output:
        raise NotMeasured(output)
    return Sample(took)


def _row(
    key: str, title: str, unit: str, measure: Measure, most: float | None, *, alone: bool = False
) -> Row:
    contestants = (LEVERET,) if alone else (LEVERET, RABBITMQ)
    return Row(
        key, title, unit, measure, None, most, None, lower_is_better=True, contestants=contestants
    )


TESTING_ROWS = (
    _row(
        "testing-thread-first",
        "the first broker of a process, in a thread, to its first delivered message, with imports",
        "ms",
        _start("thread-first"),
        None,
        alone=True,
    ),
    _row(
        "testing-thread",
        "a broker in a thread, to its first delivered message",
        "ms",
        _start("thread"),
        THREAD_MS_MAX,
    ),
    _row(
        "testing-process-first",
        "the first broker of a process, in a process of its own",
        "ms",
        _start("process-first"),
        None,
        alone=True,
    ),
    _row(
        "testing-process",
        "a broker in a process of its own",
        "ms",
        _start("process"),
        PROCESS_MS_MAX,
        alone=True,
    ),
    _row(
        "testing-reset",
        "a reset of an empty broker (RabbitMQ: of a virtual host)",
        "ms",
        _reset("reset", 0, 0),
        RESET_MS_MAX,
    ),
    _row(
        "testing-reset-full",
        f"the same with {QUEUES} queues and {CONNECTIONS} connections",
        "ms",
        _reset("reset-full", QUEUES, CONNECTIONS),
        RESET_MS_MAX,
    ),
    _row(
        "testing-suite",
        f"{TESTS} tests with a message each, in all",
        "s",
        _hundred_tests,
        SUITE_S_MAX,
        alone=True,
    ),
    _row(
        "testing-import",
        "import leveret.testing",
        "ms",
        _probe("import"),
        IMPORT_MS_MAX,
        alone=True,
    ),
    _row(
        "testing-plugin",
        "the plugin's share of any run of pytest",
        "ms",
        _probe("plugin"),
        IMPORT_MS_MAX,
        alone=True,
    ),
)
