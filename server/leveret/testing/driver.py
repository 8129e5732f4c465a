"""What a driver is: it runs a broker in a thread or a process, and passes commands to it."""

from typing import Any, Final, Protocol

ANSWER_TIMEOUT_S: Final = 60.0
"""Seconds for the answer to a command: many times what any of them takes on a busy machine."""


class Driver(Protocol):
    """Runs one broker, from its start to its end."""

    def start(self) -> None:
        """Start it, and return when clients can connect.

        :raises BrokerError: if it does not start; the text says why.
        """

    def call(self, name: str, args: tuple[Any, ...]) -> Any:
        """Have a command carried out.

        :param name: of the method of `Commands`.
        :raises BrokerError: if the broker does not answer.
        """

    def pause(self) -> None:
        """Have it do nothing, as a process that is stopped: its sockets stay open."""

    def resume(self) -> None:
        """Have it go on."""

    def stop(self, patient: bool) -> None:
        """Stop it as at SIGTERM.

        :param patient: wait for clients to answer connection.close.
        """

    def kill(self) -> None:
        """End it as at SIGKILL, also while it is paused."""
