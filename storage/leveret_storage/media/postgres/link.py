"""One connection to PostgreSQL, over libpq, whose calls end when it is given up.

A call on a link waits for the server, but no longer than its timeout, and not when the `Interrupt`
of the link is set: from another thread that is the way to end all calls that hang. After LinkBroken
a link is of no use, and the outcome of what was under way is unknown.

A commit that was cancelled while it waited for a standby succeeds, with a warning (SQLSTATE 01000):
it is not durable. `Link.unreplicated` says that such a warning came.
"""

import os
import re
import select
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, TypeAlias

from psycopg import OperationalError, pq
from psycopg.pq.abc import PGconn, PGresult

Parameter: TypeAlias = int | str | bytes | None
Row: TypeAlias = tuple[bytes | None, ...]

BYTEA_OID: Final = 17
WARNING_STATE: Final = "01000"
ADMIN_SHUTDOWN_CLASS: Final = "57P"

PASSWORD_STATE: Final = "28P01"
TRACE_BYTES_MAX: Final = 64 * 1024
_REFUSAL: Final = re.compile(rb'ErrorResponse.* C "([0-9A-Z]{5})"')

_SET_UP: Final = (
    "select set_config('default_transaction_isolation', 'read committed', false),"
    " set_config('statement_timeout', '0', false),"
    " set_config('lock_timeout', '0', false),"
    " set_config('idle_in_transaction_session_timeout', '0', false),"
    " set_config('idle_session_timeout', '0', false),"
    " set_config('client_min_messages', 'warning', false),"
    " set_config('bytea_output', 'hex', false)"
)


class DatabaseError(Exception):
    """The database refused a statement, by an SQLSTATE; the link can be used on."""

    def __init__(self, state: str, text: str) -> None:
        super().__init__(text)
        self.state = state


class LinkBroken(Exception):
    """A connection was lost, or given up. The text says why, in one line."""


class LinkRefused(LinkBroken):
    """A server has answered, and refuses the connection, by an SQLSTATE."""

    def __init__(self, state: str, text: str) -> None:
        super().__init__(text)
        self.state = state


class LinkTimeout(LinkBroken):
    """The database did not answer in time."""


class Interrupt:
    """Ends the calls of all links that have it, from any thread, for good."""

    def __init__(self) -> None:
        self.fd: Final = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._set = False

    def set(self) -> None:
        if not self._set:
            self._set = True
            os.eventfd_write(self.fd, 1)

    @property
    def is_set(self) -> bool:
        return self._set

    def __del__(self) -> None:
        os.close(self.fd)


class _Trace:
    """What libpq and a server say to each other while they connect, in memory: libpq tells the
    SQLSTATE of a refusal in no other way."""

    def __init__(self, connection: PGconn) -> None:
        self._connection = connection
        self._fd = os.memfd_create("leveret")
        connection.trace(self._fd)

    def end(self) -> str:
        """Trace no more. To be called before the connection is closed.

        :returns: the SQLSTATE by which the server has refused; empty if it has said none.
        """
        self._connection.untrace()
        found = _REFUSAL.search(os.pread(self._fd, TRACE_BYTES_MAX, 0))
        os.close(self._fd)
        if self._connection.needs_password:
            return PASSWORD_STATE
        return found[1].decode() if found else ""


class Link:
    """A connection. For one thread at a time."""

    def __init__(self, connection: PGconn, interrupt: Interrupt) -> None:
        self.connection: Final = connection
        self.interrupt: Final = interrupt
        self.unreplicated = False
        """Whether a commit was only local; reset by who reads it."""
        self.ending: Final = Interrupt()
        """Ends the calls of this link alone."""
        self.timeout_s: float | None = None
        """Of calls that have none of their own, in seconds."""
        self._poll = select.poll()
        self._poll.register(interrupt.fd, select.POLLIN)
        self._poll.register(self.ending.fd, select.POLLIN)
        self._polled_fd = -1
        connection.notice_handler = self._notice

    @classmethod
    def connect(
        cls, conninfo: bytes, interrupt: Interrupt, timeout_s: float, *, traced: bool = False
    ) -> "Link":
        """Connect to one host. Resolving its name may take longer than the timeout.

        :param traced: find out by which SQLSTATE a server refuses. Each time costs some kilobytes
            that are not freed, so it is for a start.
        :raises LinkRefused: if a server refuses, and `traced`.
        :raises LinkBroken: if it fails otherwise.
        """
        connection: PGconn = pq.PGconn.connect_start(conninfo)
        link = cls(connection, interrupt)
        trace = _Trace(connection) if traced else None
        failure: LinkBroken | None = None
        try:
            link._begin(timeout_s)
        except LinkBroken as error:
            failure = error
        state = "" if trace is None else trace.end()
        if failure is None:
            return link
        link.close()
        try:
            raise LinkRefused(state, str(failure)) if state else failure
        finally:
            # Its traceback refers to this frame, which would keep the descriptors of the link.
            del failure

    def _begin(self, timeout_s: float) -> None:
        """Wait until the server has let this link in.

        :raises LinkBroken: if it does not.
        """
        deadline = time.monotonic() + timeout_s
        connection = self.connection
        try:
            while True:
                if connection.status == pq.ConnStatus.BAD:
                    raise LinkBroken(_one_line(connection.get_error_message()))
                state = connection.connect_poll()
                if state == pq.PollingStatus.OK:
                    break
                if state == pq.PollingStatus.FAILED:
                    raise LinkBroken(_one_line(connection.get_error_message()))
                self.wait(state == pq.PollingStatus.WRITING, deadline)
            connection.nonblocking = 1
            self.execute(_SET_UP, timeout_s=max(0.1, deadline - time.monotonic()))
        except OperationalError as error:
            raise LinkBroken(_one_line(str(error))) from error
        except DatabaseError as error:
            raise LinkBroken(str(error)) from error

    @property
    def fd(self) -> int:
        return int(self.connection.socket)

    def execute(
        self,
        statement: str,
        parameters: Sequence[Parameter] = (),
        *,
        timeout_s: float | None = None,
        binary: bool = False,
    ) -> list[Row]:
        """Run one statement and return its rows, each value as text, or in binary.

        :raises DatabaseError: if the database refuses it.
        :raises LinkBroken: if there is no answer.
        """
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        result = self._execute(statement, parameters, binary, deadline)
        self.check(result)
        return [
            tuple(result.get_value(row, column) for column in range(result.nfields))
            for row in range(result.ntuples)
        ]

    def _execute(
        self,
        statement: str,
        parameters: Sequence[Parameter],
        binary: bool,
        deadline: float | None,
    ) -> PGresult:
        connection = self.connection
        try:
            self.send(statement.encode(), parameters, binary)
            while connection.flush():
                self.wait(True, deadline)
                connection.consume_input()
            last: PGresult | None = None
            while True:
                while connection.is_busy():
                    self.wait(False, deadline)
                    connection.consume_input()
                result = connection.get_result()
                if result is None:
                    break
                last = result
        except OperationalError as error:
            raise LinkBroken(_one_line(str(error))) from error
        if last is None:
            raise LinkBroken(_one_line(connection.get_error_message()))
        return last

    def await_notification(self, timeout_s: float) -> bool:
        """Wait for a notification; whether one came. All that have come count as one.

        :raises LinkBroken: if the link is lost, or given up.
        """
        try:
            self.wait(False, time.monotonic() + timeout_s)
            self.connection.consume_input()
        except LinkTimeout:
            return False
        except OperationalError as error:
            raise LinkBroken(_one_line(str(error))) from error
        has_come = False
        while self.connection.notifies() is not None:
            has_come = True
        return has_come

    def send(self, statement: bytes, parameters: Sequence[Parameter], binary: bool = False) -> None:
        """Begin a statement. :raises OperationalError: libpq's own."""
        self.connection.send_query_params(
            statement,
            [encoded(each) for each in parameters],
            [BYTEA_OID if isinstance(each, bytes) else 0 for each in parameters],
            [int(isinstance(each, bytes)) for each in parameters],
            int(binary),
        )

    def send_prepared(self, name: bytes, parameters: Sequence[Parameter]) -> None:
        """Begin a prepared statement. :raises OperationalError: libpq's own."""
        self.connection.send_query_prepared(
            name,
            [encoded(each) for each in parameters],
            [int(isinstance(each, bytes)) for each in parameters],
        )

    def check(self, result: PGresult) -> None:
        """Raise what a result says, if it is an error."""
        if result.status in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
            return
        state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        text = _one_line(result.get_error_message())
        if not state or state.startswith(ADMIN_SHUTDOWN_CLASS):
            raise LinkBroken(text)
        raise DatabaseError(state, text)

    def wait(self, for_writing: bool, deadline: float | None) -> None:
        """Wait until the socket is ready.

        :raises LinkBroken: if the link is given up.
        :raises LinkTimeout: after the deadline, of time.monotonic.
        """
        fd = self.fd
        if fd != self._polled_fd:
            # libpq opens another socket for each address of a host.
            self._forget_socket()
            self._polled_fd = fd
        self._poll.register(fd, select.POLLIN | (select.POLLOUT if for_writing else 0))
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready = self._poll.poll(None if left is None else left * 1000)
        if self.interrupt.is_set or self.ending.is_set:
            raise LinkBroken("the connection was given up")
        if not ready:
            raise LinkTimeout("the database does not answer")

    def _forget_socket(self) -> None:
        with suppress(KeyError, ValueError):
            self._poll.unregister(self._polled_fd)

    def _notice(self, result: PGresult) -> None:
        state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        if state == WARNING_STATE:
            self.unreplicated = True

    @contextmanager
    def transaction(self) -> Generator[None, None, None]:
        """A transaction, committed at its end. After a DatabaseError it is rolled back.

        Whether the commit is durable is what `unreplicated` says.
        """
        self.execute("begin")
        has_ended = False
        try:
            yield
            self.execute("commit")
            has_ended = True
        except LinkBroken:
            has_ended = True
            raise
        finally:
            if not has_ended:
                self.execute("rollback")

    def close(self) -> None:
        # Not left to the garbage collector, which may run rarely.
        self.connection.notice_handler = None
        self.connection.finish()


def encoded(parameter: Parameter) -> bytes | None:
    """A parameter as libpq takes it: text, or the bytes themselves."""
    if parameter is None or isinstance(parameter, bytes):
        return parameter
    return str(parameter).encode()


def number(value: bytes | None) -> int:
    """A whole number of a row in text."""
    assert value is not None
    return int(value)


def text(value: bytes | None) -> str:
    """A text of a row."""
    assert value is not None
    return value.decode()


def _one_line(message: str) -> str:
    """The first line of an error of libpq or PostgreSQL, without its severity."""
    lines = message.strip().splitlines() or ["the connection was lost"]
    line = lines[0]
    for severity in ("ERROR:", "FATAL:", "PANIC:"):
        line = line.removeprefix(severity)
    return line.strip()
