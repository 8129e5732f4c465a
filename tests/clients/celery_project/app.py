"""The application: where broker and results are comes from the environment, as in a deployment.

Variables: AMQP_URL, RESULT_BACKEND (a Celery backend URL), TASK_QUEUE (the queue tasks go to), and
TASK_PRIORITY_MAX for a queue with priorities whose tasks are acknowledged late, or TASK_QUEUE_TYPE
for a queue of that type, where the broker delays what has a countdown.
"""

# mypy: disable-error-code="untyped-decorator"
# (Celery is not typed.)

import os
import signal
import time
from pathlib import Path
from typing import Any

from celery import Celery

POLL_INTERVAL_S = 0.02
HOLD_MAX_S = 120.0

app = Celery("warren", broker=os.environ["AMQP_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.update(
    task_default_queue=os.environ["TASK_QUEUE"],
    broker_connection_retry_on_startup=True,
    broker_connection_timeout=60,
    result_chord_retry_interval=0.1,
    worker_hijack_root_logger=False,
)
if "TASK_QUEUE_TYPE" in os.environ:
    app.conf.update(
        task_default_queue_type=os.environ["TASK_QUEUE_TYPE"], task_default_exchange_type="topic"
    )
if "TASK_PRIORITY_MAX" in os.environ:
    app.conf.update(
        task_queue_max_priority=int(os.environ["TASK_PRIORITY_MAX"]),
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
    )


@app.task(name="warren.add")
def add(x: int, y: int) -> int:
    """The sum of two numbers."""
    return x + y


@app.task(name="warren.total")
def total(numbers: list[int]) -> int:
    """The sum of many numbers."""
    return sum(numbers)


@app.task(name="warren.now")
def now() -> float:
    """The wall-clock time at which the task ran, in seconds since the epoch."""
    return time.time()


@app.task(name="warren.stubborn", bind=True, max_retries=5)
def stubborn(self: Any, failures: int) -> int:
    """Fail `failures` times, then return how often the task was retried."""
    if self.request.retries < failures:
        raise self.retry(countdown=0)
    retries: int = self.request.retries
    return retries


@app.task(name="warren.hold", bind=True, acks_late=True)
def hold(self: Any, directory: str) -> bool:
    """Create `started` in a directory, wait for `go` there; return whether it was redelivered."""
    (Path(directory) / "started").touch()
    deadline = time.monotonic() + HOLD_MAX_S
    while not (Path(directory) / "go").exists():
        if time.monotonic() > deadline:
            raise TimeoutError("was never released")
        time.sleep(POLL_INTERVAL_S)
    return bool(self.request.delivery_info["redelivered"])


@app.task(name="warren.note")
def note(path: str, text: str) -> None:
    """Add a line to a file."""
    with Path(path).open("a") as file:
        print(text, file=file)


@app.task(name="warren.die_once", bind=True)
def die_once(self: Any, path: str, text: str) -> None:
    """Kill the process that runs it; when it comes back, add a line to a file."""
    if not self.request.delivery_info["redelivered"]:
        os.kill(os.getpid(), signal.SIGKILL)
    note(path, text)
