"""The one thread that drives the pipelines of a broker's stores, and makes them durable.

Each store has a pipeline for its operations. One more carries small commits: each makes durable
what was applied, by every store, before it began. An operation that has company on its pipeline is
committed without waiting, and a small commit follows; the last of a few that find it idle is
committed synchronously itself, which takes less time.

The thread never waits for anything but its sockets and what is posted to it.
"""

import os
import select
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Thread
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
        self._posted: deque[Callable[[], None]] = deque()
        self._connections: Connections | None = None
        self._closing = False
        self._appenders: list[Appender] = []
        self._thread = Thread(target=self._run, name="leveret-postgres", daemon=True)
        self._thread.start()

    # --- by any thread ----------------------------------------------------------------------

    def wake(self) -> None:
        """Look for operations to send."""
        os.eventfd_write(self._wake_fd, 1)

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
                self._wait()
                while self._posted:
                    self._posted.popleft()()
                self._work()
        finally:
            self._drop()
            for appender in self._appenders:
                appender.fail(failure_of(None))

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._wake_fd, select.POLLIN)
        timeout: float | None = None
        connections = self._connections
        if connections is not None:
            poll.register(connections.interrupt.fd, select.POLLIN)
            for pipeline in (connections.commits, *connections.appends.values()):
                writing = select.POLLOUT if pipeline.wants_to_write else 0
                poll.register(pipeline.link.fd, select.POLLIN | writing)
            retries = [each.retry_in() for each in connections.appends]
            timeout = min((each for each in retries if each is not None), default=None)
        for fd, _ in poll.poll(None if timeout is None else timeout * 1000 + 1):
            if fd == self._wake_fd:
                os.eventfd_read(fd)

    def _work(self) -> None:
        connections = self._connections
        if connections is None:
            return
        try:
            if connections.interrupt.is_set:
                raise LinkBroken("the connections were given up")
            for appender, pipeline in list(connections.appends.items()):
                for result in pipeline.receive():
                    self._finish(connections, appender, result)
                    if appender not in connections.appends:
                        break
                else:
                    self._send(connections, appender, pipeline)
            for result in connections.commits.receive():
                self._finish_commit(connections, result)
            self._commit(connections)
        except LinkBroken as error:
            interrupt = connections.interrupt
            self._drop()
            self._broken(interrupt, str(error))

    def _send(self, connections: Connections, appender: Appender, pipeline: Pipeline) -> None:
        count = SENT_OPERATIONS_MAX - pipeline.sent_count
        is_idle = not pipeline.sent_count
        operations = appender.take_to_send(count, SENT_BYTES_MAX - pipeline.sent_bytes)
        fence = appender.fence
        few = is_idle and len(operations) <= SYNCHRONOUS_MAX
        for place, operation in enumerate(operations, 1):
            waits = few and place == len(operations) and operation.awaits_durability
            pipeline.send(operation, fence, fence.durability if waits else LATER)
        if operations or pipeline.wants_to_write:
            pipeline.flush()

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
        if not commits.sent_count and any(each.wants_durability() for each in connections.appends):
            connections.covered = {each: each.applied_count for each in connections.appends}
            commits.send(SmallCommit(), connections.fence, connections.fence.durability)
            commits.flush()

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
        for appender in connections.appends:
            self._note(appender)

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

    def _remove(self, appender: Appender) -> None:
        connections = self._connections
        if connections is not None:
            pipeline = connections.appends.pop(appender, None)
            connections.covered.pop(appender, None)
            if pipeline is not None:
                pipeline.close()

    def _drop(self) -> None:
        """Close all pipelines: what is not durable is to be sent again on others."""
        connections, self._connections = self._connections, None
        if connections is None:
            return
        connections.close()
        for appender in connections.appends:
            for operation in appender.detach():
                operation.answer(None)


def _answer(operations: list[Operation]) -> None:
    for operation in operations:
        operation.answer(None)
