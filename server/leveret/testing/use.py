"""What a test has of a broker, from its beginning to its end, and what its report says of it."""

import warnings
from contextlib import ExitStack
from enum import Enum, auto
from typing import Final

from leveret.testing.activity import INTERNAL_ERROR, Activity
from leveret.testing.broker import Broker
from leveret.testing.broker_pool import close
from leveret.testing.errors import BrokerError, BrokerWarning
from leveret.testing.state_in_words import state_in_words
from leveret.testing.variables import Variable, variables_set

LOG_LINES_MAX: Final = 200
"""Lines of the log that a report has: the last ones."""

BEGAN_EMPTY: Final = (
    "it was started again during the test, and began empty: it has no directory, in which durable"
    " queues survive (directory=True)"
)

Section = tuple[str, str]
"""Title and text of a part of a report."""


class Reset(Enum):
    """When a broker is reset at the end of a test."""

    ALWAYS = auto()
    IF_CONNECTED = auto()
    """If there was a connection: the test has no handle, so it changed nothing without one."""
    NEVER = auto()


class Use:
    """One broker in one test."""

    def __init__(self, broker: Broker, reset: Reset) -> None:
        self.broker = broker
        self.reset = reset
        self._before = broker.activity()
        self._starts_before = broker.starts
        self._undo = ExitStack()

    def set_variables(self, *variables: Variable) -> None:
        """Set environment variables until the end."""
        self._undo.enter_context(variables_set(variables, self.broker))

    def end(self) -> None:
        """The test has ended: reset the broker, and warn of its errors. One that the test has
        stopped or killed stays down, until another test wants it."""
        self._undo.close()
        broker = self.broker
        if not (broker.is_running or broker.is_paused):
            return
        try:
            if broker.is_paused:
                broker.resume()
            now = broker.activity()
            errors = self._internal_errors(now)
            if self.reset is Reset.ALWAYS or (self.reset is Reset.IF_CONNECTED and now.connections):
                broker.reset()
        except BrokerError as error:
            close(broker)
            errors = f"the broker was lost: {error}"
        if errors:
            warnings.warn(BrokerWarning(errors), stacklevel=1)

    def sections(self, *, has_failed: bool, with_log: bool) -> list[Section]:
        """What the report of the test says of the broker."""
        try:
            now = self.broker.activity()
            if self.reset is Reset.IF_CONNECTED and not now.connections:
                return []
            found: list[Section] = []
            if has_failed:
                found.append(("state", self._state()))
                found.append(("internal error", self._internal_errors(now)))
            if with_log:
                found.append(("log", "\n".join(self._log(now)[-LOG_LINES_MAX:])))
        except BrokerError as error:
            return [("state", str(error))]
        return [(title, text) for title, text in found if text]

    def _state(self) -> str:
        state = state_in_words(self.broker)
        if self.broker.directory is None and self.broker.starts != self._starts_before:
            return f"{state}\n{BEGAN_EMPTY}"
        return state

    def _log(self, now: Activity) -> list[str]:
        """What the broker has logged since the test began."""
        if self.broker.starts != self._starts_before:
            return self.broker.log()
        count = now.events - self._before.events
        return self.broker.log()[-count:] if count else []

    def _internal_errors(self, now: Activity) -> str:
        """What the log says of errors of the broker itself since the test began; "" if there was
        none."""
        same_start = self.broker.starts == self._starts_before
        if now.internal_errors == (self._before.internal_errors if same_start else 0):
            return ""
        lines = [line for line in self._log(now) if INTERNAL_ERROR in line]
        return "\n".join(lines) or "an internal error, which the log does not have any more"
