"""The load program in amqpload/: compiled once a run, started once a measurement."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.contestants import NotMeasured, Running

SOURCES = Path(__file__).with_name("amqpload")
FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-pthread"]
OVERHEAD_S = 90.0
"""Seconds for declaring, closing and deleting, beside warm-up, measurement and draining."""
DISTURBED_CORES = 0.1
"""Cores used by other processes above which the machine was not quiet."""
BUSY_CORES = 0.95
"""Cores used by a load thread above which the load may be the limit."""


@dataclass(frozen=True)
class Timing:
    """Seconds of warm-up, of measurement, and of draining at most."""

    warmup_s: float
    measured_s: float
    drain_s: float


@dataclass(frozen=True)
class LoadResult:
    """The report of one run of the load program; rates a second, latencies in microseconds."""

    published_per_s: float
    received_per_s: float
    due: int
    received: int
    left: int
    confirmed: int
    lost: int | None
    gaps: int
    duplicated: int
    throttled: bool
    p50_us: float
    p99_us: float
    p999_us: float
    max_us: float
    publisher_cpu: float
    consumer_cpu: float
    broker_cpu: float
    other_cpu: float
    seconds: float

    def remarks(self) -> list[str]:
        """What qualifies the figure; empty for a clean run."""
        found = []
        if self.lost is None:
            found.append("messages not counted: the broker did not answer channel.close in time")
        elif self.lost or self.gaps:
            found.append(f"{max(self.lost, self.gaps)} of {self.due} messages LOST")
        if self.duplicated:
            found.append(f"{self.duplicated} messages DUPLICATED")
        if max(self.publisher_cpu, self.consumer_cpu) > BUSY_CORES:
            found.append("a load thread used a whole core and may be the limit")
        if self.other_cpu > DISTURBED_CORES:
            found.append(f"other processes used {self.other_cpu:.1f} cores")
        if self.throttled:
            found.append("publishers waited at the limit of the backlog")
        return found


def compile_load(directory: Path, *, tls: bool = False) -> Path:
    """Build the load program in `directory`.

    :param tls: with TLS, which needs the headers of OpenSSL.
    :returns: the path of the program.
    :raises NotMeasured: if there is no C compiler, or it fails; the text has its messages.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise NotMeasured("no C compiler: the load program cannot be built")
    program = directory / ("amqpload-tls" if tls else "amqpload")
    sources = [str(source) for source in sorted(SOURCES.glob("*.c"))]
    command = [compiler, *FLAGS, "-o", str(program), *sources, "-lm"]
    if tls:
        command += ["-DAMQPLOAD_TLS", "-lssl", "-lcrypto"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMeasured(f"the load program did not compile:\n{done.stderr}")
    return program


def run_load(
    program: Path, arguments: Sequence[str], timing: Timing, broker: Running
) -> LoadResult:
    """Run the load program once.

    :raises NotMeasured: if it fails, with its own message, or does not end.
    """
    command = [str(program), "--host", broker.host, "--port", str(broker.port)]
    command += ["--broker-pid", str(broker.pid), "--warmup", str(timing.warmup_s)]
    command += ["--seconds", str(timing.measured_s), "--drain", str(timing.drain_s), *arguments]
    deadline_s = timing.warmup_s + timing.measured_s + timing.drain_s + OVERHEAD_S
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=deadline_s
        )
    except subprocess.TimeoutExpired as expired:
        raise NotMeasured(f"the load program did not end within {deadline_s:g} s") from expired
    if done.returncode:
        raise NotMeasured(done.stderr.strip() or f"amqpload ended with {done.returncode}")
    return LoadResult(**json.loads(done.stdout))
