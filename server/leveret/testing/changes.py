"""Calls that change the state of a broker: one at a time, in the process that has started it.

A process that was forked has the handle, and neither the thread of the broker nor the right to tell
the broker's process anything: the answers would go to either of the two.
"""

from collections.abc import Callable
from functools import wraps
from os import getpid
from threading import RLock
from typing import Concatenate, Final, ParamSpec, Protocol, TypeVar

from leveret.testing.errors import BrokerError, is_of_the_test

__tracebackhide__: Final = is_of_the_test

P = ParamSpec("P")


class Changes:
    """Whose turn it is to change the state of one broker."""

    def __init__(self) -> None:
        self.lock = RLock()
        self._process = getpid()

    @property
    def are_elsewhere(self) -> bool:
        """Whether the broker belongs to a process that has forked this one."""
        return self._process != getpid()

    def adopt(self) -> None:
        """The broker does not run: it belongs to this process from here on."""
        if self.are_elsewhere:
            # A thread of the other process may have held the lock.
            self.lock = RLock()
            self._process = getpid()

    def check_process(self) -> None:
        """Check that the broker belongs to this process.

        :raises BrokerError: if it does not.
        """
        if self.are_elsewhere:
            raise BrokerError("the broker runs in the process that forked this one")


class Changing(Protocol):
    """What has a state that is changed."""

    _changes: Changes

    def _may_change(self) -> None:
        """:raises BrokerError: if this process has nothing to say."""


T = TypeVar("T", bound=Changing)


def one_at_a_time(
    change: Callable[Concatenate[T, P], None],
) -> Callable[Concatenate[T, P], None]:
    """Have a change wait until those of other threads are done.

    :raises BrokerError: in a process that was forked by that of the broker.
    """

    @wraps(change)
    def changed(broker: T, /, *args: P.args, **kwargs: P.kwargs) -> None:
        broker._may_change()
        with broker._changes.lock:
            change(broker, *args, **kwargs)

    return changed
