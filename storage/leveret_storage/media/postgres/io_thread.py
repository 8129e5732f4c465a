"""The one thread that drives the pipelines of a broker's stores, and makes them durable.

Each store has a pipeline for its operations. One more carries small commits: each makes durable
what was applied, by every store, before it began. An operation that has company on its pipeline is
committed without waiting, and a small commit follows; the last of a few that find it idle is
committed synchronously itself, which takes less time.

An operation that finds everything idle may be sent by the thread that has it, without a hand-over;
its result is received here. Who sends or receives holds the lock of the pipelines.

The thread never waits for anything but its sockets, what is posted to it, and that lock, which
others hold for moments.
"""

import os
import select
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Lock, Thread
from typing import Final

from leveret_storage.errors import LostEpoch, MediumFull
from leveret_storage.media.postgres.appender import Appender, failure_of
from leveret_storage.media.postgres.link import Interrupt, LinkBroken
from leveret_storage.media.postgres.operations import LATER, Operation, SmallCommit
from leveret_storage.media.postgres.ownership import Fence
from leveret_storage.media.postgres.pipeline import Pipeline, Result
from leveret_storage.media.postgres.schema import LOST_STATE

SENT_OPERATIONS_MAX: Final = 32
SENT_BYTES_MAX: Final = 4 * 1024 * 1024
"""What is sent on one pipeline without a result yet: enough to keep the server busy."""

SYNCHRONOUS_MAX: Final = 3
"""Operations that find their pipeline idle up to which the last one is committed synchronously."""

FULL_STATES: Final = ("53100", "53200")
"""The disk is full; memory is used up."""

REPEATED_STATES: Final = ("57014", "40001", "40P01", "55P03", "26000")
"""A statement was cancelled, lost a race, or was to be prepared by one that was: the same one may
succeed."""


EVENTS_MAX: Final = 64
"""Sockets that one look at them finds ready; others come with the next one."""


@dataclass
class Connections:
    """The pipelines to one server, from a connect until they break."""

    interrupt: Interrupt
    commits: Pipeline
    fence: Fence
    """For small commits: only its durability and its schema count."""
    appends: dict[Appender, Pipeline] = field(default_factory=dict)
    covered: dict[Appender, int] = field(default_factory=dict)
    """What the small commit covers that is under way."""

    def close(self) -> None:
        self.commits.close()
        for pipeline in self.appends.values():
            pipeline.close()


class IoThread:
    """The thread. `broken` is called from it, once for each Connections, which are closed then."""

    def __init__(self, broken: Callable[[Interrupt, str], None]) -> None:
        self._broken = broken
        self._wake_fd: Final = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = Lock()
        """Of all pipelines, and of `_connections`."""
        self._posted: deque[Callable[[], None]] = deque()
        self._connections: Connections | None = None
        self._epoll = select.epoll()
        self._epoll.register(self._wake_fd, select.EPOLLIN)
        self._writing: set[int] = set()
        """Sockets that are polled for writing as well."""
        self._closing = False
        self._appenders: list[Appender] = []
        self._thread = Thread(target=self._run, name="leveret-postgres", daemon=True)
        self._thread.start()

    # --- by any thread ----------------------------------------------------------------------

    def wake(self) -> None:
        """Look for operations to send."""
        os.eventfd_write(self._wake_fd, 1)

    def send_alone(self, appender: Appender, operation: Operation) -> bool:
        """Submit an operation and send it, if its pipeline is idle and nothing has to be waited
        for; whether that was done."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            return self._send_alone(appender, operation)
        finally:
            self._lock.release()

    def _send_alone(self, appender: Appender, operation: Operation) -> bool:
        connections = self._connections
        if connections is None or connections.interrupt.is_set:
            return False
        pipeline = connections.appends.get(appender)
        if pipeline is None or pipeline.sent_count or not appender.submit_alone(operation):
            return False
        try:
            pipeline.send(operation, appender.fence, appender.fence.durability)
            pipeline.flush()
        except LinkBroken as error:
            # It is in the log, and is sent again when there are other connections.
            self._posted.append(partial(self._break, connections, str(error)))
            self.wake()
        if pipeline.wants_to_write:
            self.wake()
        return True

    def connect(self, connections: Connections) -> None:
        """Use these from now on, in place of any others."""
        self._call(lambda: self._use(connections))

    def add(self, interrupt: Interrupt, appender: Appender, pipeline: Pipeline) -> None:
        """Drive one more store, unless the connections with this interrupt are gone."""
        self._call(lambda: self._add(interrupt, appender, pipeline))

    def remove(self, appender: Appender) -> None:
        """Close a store's pipeline."""
        self._call(lambda: self._remove(appender))

    def disconnect(self) -> None:
        """Close all pipelines; returns when that is done."""
        self._call(self._drop)

    def waiting_since(self) -> float | None:
        """When the oldest statement was sent that has no result."""
        connections = self._connections
        if connections is None:
            return None
        pipelines = [connections.commits, *list(connections.appends.values())]
        times = [since for each in pipelines if (since := each.waiting_since) is not None]
        return min(times, default=None)

    def close(self) -> None:
        self._closing = True
        self.wake()
        self._thread.join()
        self._epoll.close()
        os.close(self._wake_fd)

    def _call(self, job: Callable[[], None]) -> None:
        """Run a job in the thread, and wait for it."""
        done = Event()

        def run() -> None:
            job()
            done.set()

        self._posted.append(run)
        self.wake()
        while not done.wait(1.0):
            if not self._thread.is_alive():
                return

    # --- in the thread ----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._closing:
                ready = self._wait()
                with self._lock:
                    while self._posted:
                        self._posted.popleft()()
                    self._work(ready)
        finally:
            with self._lock:
                self._drop()
            for appender in self._appenders:
                appender.fail(failure_of(None))

    def _wait(self) -> set[int]:
        """Wait until something is to be done. Returns the sockets that are ready."""
        timeout: float | None = None
        connections = self._connections
        if connections is not None:
            for appender in connections.appends:
                retry_in = appender.retry_in()
                if retry_in is not None and (timeout is None or retry_in < timeout):
                    timeout = retry_in
        ready = {fd for fd, _ in self._epoll.poll(timeout, EVENTS_MAX)}
        if self._wake_fd in ready:
            os.eventfd_read(self._wake_fd)
        return ready

    def _work(self, ready: set[int]) -> None:
        connections = self._connections
        if connections is None:
            return
        try:
            if connections.interrupt.is_set:
                raise LinkBroken("the connections were given up")
            for appender, pipeline in list(connections.appends.items()):
                if pipeline.fd in ready:
                    self._receive(connections, appender, pipeline)
                if appender in connections.appends:
                    self._send(connections, appender, pipeline)
            commits = connections.commits
            if commits.fd in ready:
                for result in commits.receive():
                    self._finish_commit(connections, result)
            self._commit(connections)
        except LinkBroken as error:
            self._break(connections, str(error))

    def _break(self, connections: Connections, text: str) -> None:
        """Connections were lost."""
        if connections is self._connections:
            self._drop()
            self._broken(connections.interrupt, text)

    def _receive(self, connections: Connections, appender: Appender, pipeline: Pipeline) -> None:
        for result in pipeline.receive():
            self._finish(connections, appender, result)
            if appender not in connections.appends:
                return

    def _send(self, connections: Connections, appender: Appender, pipeline: Pipeline) -> None:
        if not appender.has_to_send and not pipeline.wants_to_write:
            return
        count = SENT_OPERATIONS_MAX - pipeline.sent_count
        is_idle = not pipeline.sent_count
        operations = appender.take_to_send(count, SENT_BYTES_MAX - pipeline.sent_bytes)
        fence = appender.fence
        few = is_idle and len(operations) <= SYNCHRONOUS_MAX
        for place, operation in enumerate(operations, 1):
            waits = few and place == len(operations) and operation.awaits_durability
            pipeline.send(operation, fence, fence.durability if waits else LATER)
        self._flush(pipeline)

    def _flush(self, pipeline: Pipeline) -> None:
        """Write what can be written, and poll the socket for the rest."""
        pipeline.flush()
        fd = pipeline.fd
        if pipeline.wants_to_write != (fd in self._writing):
            if pipeline.wants_to_write:
                self._writing.add(fd)
                self._epoll.modify(fd, select.EPOLLIN | select.EPOLLOUT)
            else:
                self._writing.remove(fd)
                self._epoll.modify(fd, select.EPOLLIN)

    def _finish(self, connections: Connections, appender: Appender, result: Result) -> None:
        """Handle the result of an operation of a store."""
        operation, error = result.operation, result.error
        if error is None:
            is_durable = result.durability != LATER and result.is_replicated
            _answer(appender.applied(operation, is_durable))
        elif error.state == LOST_STATE:
            if connections.interrupt.is_set:
                # This owner may have taken the store again on other connections.
                raise LinkBroken("the connections were given up")
            self._remove(appender)
            appender.fail(LostEpoch(str(error)))
        elif error.state in FULL_STATES:
            if appender.refused_full(operation, str(error)):
                operation.answer(MediumFull(str(error)))
        elif error.state in REPEATED_STATES:
            appender.send_again(operation)
        else:
            raise LinkBroken(f"{error} ({error.state})") from error

    def _commit(self, connections: Connections) -> None:
        """Begin a small commit if none is under way and somebody waits for one."""
        commits = connections.commits
        if commits.wants_to_write:
            self._flush(commits)
        if not commits.sent_count and any(each.wants_durability() for each in connections.appends):
            connections.covered = {each: each.applied_count for each in connections.appends}
            commits.send(SmallCommit(), connections.fence, connections.fence.durability)
            self._flush(commits)

    def _finish_commit(self, connections: Connections, result: Result) -> None:
        if result.error is not None:
            if result.error.state not in (*FULL_STATES, *REPEATED_STATES):
                raise LinkBroken(f"{result.error} ({result.error.state})") from result.error
        elif result.is_replicated:
            for appender, count in connections.covered.items():
                _answer(appender.durable(count))

    def _use(self, connections: Connections) -> None:
        self._drop()
        self._connections = connections
        self._epoll.register(connections.interrupt.fd, select.EPOLLIN)
        self._epoll.register(connections.commits.fd, select.EPOLLIN)
        for appender, pipeline in connections.appends.items():
            self._note(appender)
            self._epoll.register(pipeline.fd, select.EPOLLIN)

    def _note(self, appender: Appender) -> None:
        if appender not in self._appenders:
            self._appenders.append(appender)

    def _add(self, interrupt: Interrupt, appender: Appender, pipeline: Pipeline) -> None:
        self._note(appender)
        connections = self._connections
        if connections is None or connections.interrupt is not interrupt:
            pipeline.close()
            return
        connections.appends[appender] = pipeline
        self._epoll.register(pipeline.fd, select.EPOLLIN)

    def _remove(self, appender: Appender) -> None:
        connections = self._connections
        if connections is not None:
            pipeline = connections.appends.pop(appender, None)
            connections.covered.pop(appender, None)
            if pipeline is not None:
                self._close(pipeline)

    def _close(self, pipeline: Pipeline) -> None:
        # Of a connection that was lost libpq may have closed the socket, which forgets it here.
        with suppress(OSError):
            self._epoll.unregister(pipeline.fd)
        self._writing.discard(pipeline.fd)
        pipeline.close()

    def _drop(self) -> None:
        """Close all pipelines: what is not durable is to be sent again on others."""
        connections, self._connections = self._connections, None
        if connections is None:
            return
        self._epoll.unregister(connections.interrupt.fd)
        for pipeline in (connections.commits, *connections.appends.values()):
            self._close(pipeline)
        for appender in connections.appends:
            for operation in appender.detach():
                operation.answer(None)


def _answer(operations: list[Operation]) -> None:
    for operation in operations:
        operation.answer(None)
