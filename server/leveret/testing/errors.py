"""What goes wrong in a test: the broker is misused, or something expected did not come about."""

from typing import Protocol


class BrokerError(Exception):
    """The broker cannot do what was asked for; the text says why."""


class UnmetExpectation(AssertionError):
    """What a test expected did not come about; the text says what was there instead."""


class BrokerWarning(UserWarning):
    """Something is wrong with the broker itself, not with what a test does."""


class Raised(Protocol):
    """An exception as pytest asks about it: `pytest.ExceptionInfo`."""

    @property
    def value(self) -> BaseException: ...


def is_of_the_test(raised: Raised) -> bool:
    """Whether an exception tells what the test is about, so that pytest need not show where in the
    handle it was raised. Modules have it as `__tracebackhide__`, which pytest calls."""
    return isinstance(raised.value, (BrokerError, UnmetExpectation))
