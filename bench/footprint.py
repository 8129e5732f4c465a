"""What a broker costs when nothing happens: time to start, memory, processor time."""

import os
import re
import subprocess
import tempfile
import time
from pathlib import Path
from socket import create_connection

from bench.contestants import (
    LEVERET,
    LEVERET_COMMAND,
    NotMeasured,
    Running,
    leveret_environment,
    running,
)
from bench.quiet import Quiet

WARM_CONNECTIONS = (
    10  # opened before memory is compared: what the first ones load is no one's share
)
CONNECTIONS = 1000
SETTLE_S = 2.0
IDLE_S = 20.0
CONNECT_DEADLINE_S = 5.0
STOP_DEADLINE_S = 15.0
READY = re.compile(r"^leveret ready\b.*?\bamqp=(\S+):(\d+)")


def start_seconds(name: str) -> float:
    """Seconds from starting the process to its accepting a TCP connection.

    Leveret is taken at its ready line and connected to. RabbitMQ is asked every 20 ms until it
    answers a protocol header, which its seconds make exact enough.
    """
    begun = time.perf_counter()
    if name == LEVERET:
        return _leveret_start_seconds()
    with running(name):
        return time.perf_counter() - begun


def _leveret_start_seconds() -> float:
    command = [*LEVERET_COMMAND, "serve", "--listen", "127.0.0.1:0"]
    with tempfile.TemporaryDirectory(prefix="leveret-") as directory:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, cwd=directory, env=leveret_environment()
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
    """The resident set, in millions of bytes, of a broker nobody has used."""
    time.sleep(SETTLE_S)
    return resident_bytes(broker.pid) / 1e6


def kilobytes_per_connection(broker: Running) -> float:
    """What the resident set grew, in thousands of bytes, for each of 1,000 quiet connections."""
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
    """Per cent of a core used during 20 s with 1,000 quiet connections, heartbeats every 5 s."""
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
