"""The brokers that a run of tests keeps, so that each test gets one within a millisecond.

A kept broker is reset when a test begins, unless nobody has used it since its last reset, and when
the test has ended. If environment variables say where the default broker is, the others take its
place: they have its port, and one of them runs at a time, as an application may have read the
variables long before. A process that was forked by the one that keeps them has none of them: their
threads are not in it.
"""

import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Final

from leveret.testing.broker import LOCALHOST, Broker
from leveret.testing.errors import BrokerError
from leveret.testing.marker import ANY, Wanted
from leveret.testing.ports import ReservedPort
from leveret.testing.variables import Variable, variables_set

KINDS_MAX: Final = 4
"""Kept brokers of different kinds; the one unused for longest is closed for another."""


class BrokerPool:
    """The brokers of one run of pytest, in one process."""

    def __init__(self, log_level: str, variables: Sequence[Variable]) -> None:
        """:param variables: that say where the broker is that tests have by default."""
        self._log_level = log_level
        self.variables = variables
        self._brokers: dict[str, Broker] = {}
        """By kind, the one used last at the end."""
        self._announced: Broker | None = None
        """The default broker, if variables say where it is."""
        self._port = 0
        """The port of kept brokers; 0 is a free one for each."""
        self._session: Broker | None = None
        self._undo = ExitStack()
        self._process = os.getpid()
        self._inherited: list[object] = []
        """What belongs to the process that forked this one: it is left alone."""

    # --- the broker of environment variables --------------------------------------------------

    def announce(self) -> None:
        """Set the environment variables to where the default broker will be.

        :raises BrokerError: if there is no free port.
        """
        # Reserved for the whole run, also if a test closes the broker.
        reserved = ReservedPort(LOCALHOST)
        self._undo.callback(reserved.close)
        self._port = reserved.port
        self._announced = Broker(port=reserved.port, log_level=self._log_level)
        self._announced.reserve_port()
        self._undo.callback(close, self._announced)
        self._brokers[ANY.kind] = self._announced
        self._undo.enter_context(variables_set(self.variables, self._announced))

    @property
    def is_announced(self) -> bool:
        """Whether environment variables say where the default broker is, so that any test may
        use it."""
        return self._announced is not None

    @property
    def is_elsewhere(self) -> bool:
        """Whether a broker at the port of the environment variables runs in the process that forked
        this one."""
        brokers = self._brokers.values()
        return self._is_forked and self.is_announced and any(each.is_running for each in brokers)

    # --- brokers of tests ---------------------------------------------------------------------

    def fresh(self, wanted: Wanted) -> Broker:
        """A broker that runs, and that nobody has used.

        :raises BrokerError: if it does not start.
        """
        self._leave_inherited()
        kind = wanted.kind
        broker = self._brokers.pop(kind, None)
        if broker is None:
            if len(self._brokers) >= KINDS_MAX:
                self._drop_one()
            broker = self.make(wanted, self._undo, self._port)
        if self._announced is not None:
            for other in self._brokers.values():
                close(other)
        self._brokers[kind] = broker
        _freshen(broker)
        return broker

    def make(self, wanted: Wanted, undo: ExitStack, port: int = 0) -> Broker:
        """A broker, not started, that is closed with `undo`, and its directory removed.

        :param port: 0 for a free one.
        """
        directory = None
        if wanted.directory:
            directory = undo.enter_context(tempfile.TemporaryDirectory(prefix="leveret-"))
        broker = Broker(
            directory,
            process=wanted.process,
            port=port,
            management=wanted.management,
            settings=wanted.settings,
            log_level=self._log_level,
        )
        undo.callback(close, broker)
        return broker

    def session(self) -> Broker:
        """The broker that is never reset. It begins empty if a test has stopped it.

        :raises BrokerError: if it does not start.
        """
        self._leave_inherited()
        if self._session is None:
            self._session = self.make(ANY, self._undo)
        if not self._session.is_running:
            self._session.restart()
        return self._session

    def close(self) -> None:
        """Close them, and set the environment variables to what they were."""
        if not self._is_forked:
            self._undo.close()

    # ------------------------------------------------------------------------------------------

    @property
    def _is_forked(self) -> bool:
        return os.getpid() != self._process

    def _leave_inherited(self) -> None:
        if not self._is_forked:
            return
        if self.is_elsewhere:
            raise BrokerError(
                "the broker of the environment variables runs in the process that forked this one"
            )
        self._inherited += [self._undo, *self._brokers.values(), self._session]
        self._brokers = {}
        if self._announced is not None:
            self._brokers[ANY.kind] = self._announced
        self._session = None
        self._undo = ExitStack()
        self._process = os.getpid()

    def _drop_one(self) -> None:
        kind = next(kind for kind, each in self._brokers.items() if each is not self._announced)
        close(self._brokers.pop(kind))


def _freshen(broker: Broker) -> None:
    try:
        if not broker.is_running or broker.activity().connections:
            broker.reset()
    except BrokerError:
        close(broker)
        broker.start()


def close(broker: Broker) -> None:
    """Close a broker, also one whose process has ended, or that does not answer."""
    with suppress(BrokerError):
        broker.close()
