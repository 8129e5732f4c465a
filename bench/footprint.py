"""What an idle broker costs: time to start, memory, processor time."""

import os
import re
import subprocess
import tempfile
import time
from pathlib import Path
from socket import create_connection

from bench.contestants import LEVERET, Contestant, NotMeasured, Running, running
from bench.quiet import Quiet
from tests.support.brokers import leveret_command

WARM_CONNECTIONS = 10
"""Connections opened before memory is measured: the first ones load modules, once."""
CONNECTIONS = 1000
SETTLE_S = 2.0
IDLE_S = 20.0
CONNECT_DEADLINE_S = 5.0
STOP_DEADLINE_S = 15.0
READY = re.compile(r"^leveret ready\b.*?\bamqp=(\S+):(\d+)")


def start_seconds(contestant: Contestant) -> float:
    """Seconds from the start of the process to its first accepted TCP connection.

    Leveret is connected to after its ready line. RabbitMQ is polled every 20 ms until it answers a
    protocol header, which is exact enough for a start of seconds.
    """
    begun = time.perf_counter()
    if contestant.kind == LEVERET.kind:
        return _leveret_start_seconds(contestant)
    with running(contestant):
        return time.perf_counter() - begun


def _leveret_start_seconds(contestant: Contestant) -> float:
    command, environment = leveret_command(contestant.executable)
    command += ["serve", "--listen", "127.0.0.1:0"]
    with tempfile.TemporaryDirectory(prefix="leveret-") as directory:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, cwd=directory, env=environment
        )
        try:
            host, port = _ready_address(process)
            with create_connection((host, port), CONNECT_DEADLINE_S):
                return time.perf_counter() - begun
        finally:
            process.terminate()
            process.communicate(timeout=STOP_DEADLINE_S)


def _ready_address(process: subprocess.Popen[str]) -> tuple[str, int]:
    assert process.stderr is not None
    for line in process.stderr:
        if found := READY.match(line):
            return found[1], int(found[2])
    raise NotMeasured("leveret ended before it was ready")


def resident_bytes(pid: int) -> int:
    """The resident set of a process (VmRSS of proc(5)), in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise NotMeasured(f"process {pid} has no resident set")


def cpu_seconds(pid: int) -> float:
    """User and system time a process has used (fields 14 and 15 of its stat file, proc(5))."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def idle_megabytes(broker: Running) -> float:
    """The resident set of an unused broker, in millions of bytes."""
    time.sleep(SETTLE_S)
    return resident_bytes(broker.pid) / 1e6


def kilobytes_per_connection(broker: Running) -> float:
    """Growth of the resident set for each of 1,000 idle connections, in thousands of bytes."""
    quiet = Quiet(broker)
    try:
        quiet.open(WARM_CONNECTIONS)
        quiet.keep(SETTLE_S)
        before = resident_bytes(broker.pid)
        quiet.open(CONNECTIONS)
        quiet.keep(SETTLE_S)
        return (resident_bytes(broker.pid) - before) / CONNECTIONS / 1e3
    finally:
        quiet.close()


def idle_cpu_percent(broker: Running) -> float:
    """Per cent of a core used during 20 s with 1,000 idle connections, heartbeats every 5 s."""
    quiet = Quiet(broker)
    try:
        quiet.open(CONNECTIONS)
        quiet.keep(SETTLE_S)
        before, begun = cpu_seconds(broker.pid), time.perf_counter()
        quiet.keep(IDLE_S)
        used = cpu_seconds(broker.pid) - before
        return 100 * used / (time.perf_counter() - begun)
    finally:
        quiet.close()
