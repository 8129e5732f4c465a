"""What operators see of the node: process, machine, alarms, certificates, and whether it is ready.

Nothing here waits for the disk or the network.
"""

import asyncio
import os
import resource
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from leveret.net.alarms import Alarms
from leveret.net.memory_shortage import ResidentMemory
from leveret_storage.histogram import SECONDS, Histogram

LAG_INTERVAL_S: Final = 0.1
"""Seconds between two measurements of the event loop's lag. Each takes some microseconds."""

DESCRIPTORS_DIRECTORY: Final = "/proc/self/fd"


def _never_changed(reason: str) -> None:
    """What alarms call that nobody sets."""


def _no_sockets() -> tuple[int, int]:
    """The default of `sockets`."""
    return 0, 0


def _free_here() -> int:
    """Free bytes of the working directory's file system."""
    status = os.statvfs(".")
    return status.f_bavail * status.f_frsize


def _is_ready() -> str:
    """The default of `not_ready`."""
    return ""


class LoopLag:
    """How late the event loop runs what is due: a sample every `LAG_INTERVAL_S`."""

    def __init__(self) -> None:
        self.seconds = Histogram(SECONDS)
        self._due = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to measure, in the event loop that runs."""
        loop = asyncio.get_running_loop()
        self._due = loop.time() + LAG_INTERVAL_S
        self._handle = loop.call_at(self._due, self._measure, loop)

    def stop(self) -> None:
        """Measure no more."""
        if self._handle is not None:
            self._handle.cancel()

    def _measure(self, loop: asyncio.AbstractEventLoop) -> None:
        self.seconds.add(max(0.0, loop.time() - self._due))
        self.start()


class NodeStatus:
    """The state of this node."""

    def __init__(
        self,
        alarms: Alarms | None = None,
        sockets: Callable[[], tuple[int, int]] = _no_sockets,
        free_bytes: Callable[[], int] | None = None,
        certificates: Callable[[], list[tuple[str, datetime | None]]] = list,
        not_ready: Callable[[], str] = _is_ready,
    ) -> None:
        """
        :param sockets: returns the sockets of clients that are open, and how many may be.
        :param free_bytes: returns the free disk space of the store; None if there is none.
        :param certificates: returns the file of each TLS certificate and when it expires, None if
            it has expired.
        :param not_ready: returns why clients cannot be served, "" if they can.
        """
        self.alarms = alarms or Alarms(_never_changed)
        self.sockets = sockets
        self.free_bytes = free_bytes or _free_here
        self.certificates = certificates
        self.not_ready = not_ready
        self.loop_lag = LoopLag()
        self.started_at = time.time()
        """When the process began to serve, in seconds since the epoch."""
        self._started = time.monotonic()
        self._memory = ResidentMemory()

    @property
    def uptime_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    @property
    def memory_bytes(self) -> int:
        """Resident memory of the process."""
        return self._memory.resident_bytes()

    def values(self) -> list[int]:
        """What is sampled of the node: memory, file descriptors, sockets of clients, free disk
        space; 0 descriptors with a kernel before 6.2, which would have them counted."""
        descriptors = os.stat(DESCRIPTORS_DIRECTORY).st_size
        return [self.memory_bytes, descriptors, self.sockets()[0], self.free_bytes()]

    def descriptors(self) -> tuple[int, int]:
        """File descriptors that are open, and how many may be.

        Linux says how many there are since 6.2; with an older kernel they are counted, some
        milliseconds for ten thousand.
        """
        used = os.stat(DESCRIPTORS_DIRECTORY).st_size or len(os.listdir(DESCRIPTORS_DIRECTORY))
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return used, limit
