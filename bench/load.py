"""The load program of amqpload/: compiled once a run, started once a measurement."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.contestants import NotMeasured, Running

SOURCES = Path(__file__).with_name("amqpload")
FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-pthread"]
OVERHEAD_S = 90.0  # beyond warm-up, measuring and draining: declaring, closing, deleting
DISTURBED = 0.1  # cores; more than the machine's own housekeeping takes
BUSY = 0.95  # of a core; a load thread above it may be what limits


@dataclass(frozen=True)
class Timing:
    """How long a load runs, in seconds: before it is measured, measured, and at most to drain."""

    warmup_s: float
    measured_s: float
    drain_s: float


@dataclass(frozen=True)
class LoadResult:
    """What one run of the load program reported; rates a second, latencies in microseconds."""

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
        """What a reader must know to believe the figure; empty when nothing stands against it."""
        found = []
        if self.lost is None:
            found.append("not accounted for: the broker did not answer the closing in time")
        elif self.lost or self.gaps:
            found.append(f"{max(self.lost, self.gaps)} of {self.due} messages LOST")
        if self.duplicated:
            found.append(f"{self.duplicated} messages DUPLICATED")
        if max(self.publisher_cpu, self.consumer_cpu) > BUSY:
            found.append("a load thread used a whole core and may be the limit")
        if self.other_cpu > DISTURBED:
            found.append(f"other processes used {self.other_cpu:.1f} cores meanwhile")
        if self.throttled:
            found.append("publishers waited at the bound of the backlog")
        return found


def compile_load(directory: Path) -> Path:
    """Build the load program in `directory` and return its path.

    Raises NotMeasured when there is no gcc, or with its messages when it fails.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise NotMeasured("no C compiler: the load program cannot be built")
    program = directory / "amqpload"
    sources = [str(source) for source in sorted(SOURCES.glob("*.c"))]
    command = [compiler, *FLAGS, "-o", str(program), *sources, "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMeasured(f"the load program did not compile:\n{done.stderr}")
    return program


def run_load(
    program: Path, arguments: Sequence[str], timing: Timing, contestant: Running
) -> LoadResult:
    """Load the contestant once.

    Raises NotMeasured with the load program's own message when it ends without a result, or does
    not end.
    """
    command = [str(program), "--host", contestant.host, "--port", str(contestant.port)]
    command += ["--broker-pid", str(contestant.pid), "--warmup", str(timing.warmup_s)]
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
