"""What goes wrong in a test: the broker is misused, or something expected did not come about."""


class BrokerError(Exception):
    """The broker cannot do what was asked for; the text says why."""


class UnmetExpectation(AssertionError):
    """What a test expected did not come about; the text says what was there instead."""


class BrokerWarning(UserWarning):
    """Something is wrong with the broker itself, not with what a test does."""
