"""Failed logins by address: who fails often is answered late.

A few failures are a typing error and cost nothing. From then on each doubles the time until the
next refusal, so that an address can try a handful of passwords a minute.
"""

from typing import Final

FREE_FAILURES: Final = 3
"""Failures that are answered at once."""

FIRST_DELAY_S: Final = 0.5
DELAY_S_MAX: Final = 8.0
"""Seconds until a refusal: the first that is not sent at once, and the longest."""

FORGOTTEN_S: Final = 60.0
"""Seconds without a failure after which an address is forgotten."""

ADDRESSES_MAX: Final = 4096
"""Addresses that are remembered: the one whose last failure is the oldest goes first."""


class LoginFailures:
    """The addresses from which logins failed lately."""

    def __init__(self) -> None:
        self.count = 0
        """Failures since the start."""
        self._failures: dict[str, tuple[int, float]] = {}
        """How many, and when the last was, by address; the oldest first."""

    def add(self, address: str, now: float) -> float:
        """Note a failure.

        :param address: the host, without the port.
        :param now: a monotonic time in seconds.
        :returns: seconds until the refusal may be sent.
        """
        self.count += 1
        count, last = self._failures.pop(address, (0, now))
        if now - last > FORGOTTEN_S:
            count = 0
        count += 1
        if len(self._failures) >= ADDRESSES_MAX:
            del self._failures[next(iter(self._failures))]
        self._failures[address] = (count, now)
        if count <= FREE_FAILURES:
            return 0.0
        doublings = min(count - FREE_FAILURES - 1, 10)
        return min(FIRST_DELAY_S * 2.0**doublings, DELAY_S_MAX)
