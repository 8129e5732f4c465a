"""The table of what a handle can ask of a broker.

The broker runs in another thread, or in another process. So each command is a coroutine that its
event loop runs, with arguments and a result that can be pickled. `control.py` implements them.
"""

from abc import ABC, abstractmethod

from leveret.testing.activity import Activity
from leveret.testing.fault_orders import Direction, PendingFault, Refusal, Resource
from leveret.testing.values import (
    Binding,
    Connection,
    Consumer,
    Message,
    QueueStatus,
    Recording,
)


class Commands(ABC):
    """The commands."""

    @abstractmethod
    async def reset(self) -> None:
        """Begin anew, with nothing but what a fresh broker has, at the same port: connections are
        closed, and the clock is that of the machine."""

    @abstractmethod
    async def advance(self, milliseconds: int) -> None:
        """Have time pass at once.

        :raises BrokerError: if what became due did not end.
        """

    @abstractmethod
    async def advanced_ms(self) -> int:
        """By how many milliseconds time was advanced since the last reset."""

    @abstractmethod
    async def stop(self, patient: bool) -> None:
        """Stop as at SIGTERM: what was confirmed is on disk.

        :param patient: wait for clients to answer connection.close.
        """

    @abstractmethod
    async def kill(self) -> None:
        """End as at SIGKILL."""

    @abstractmethod
    async def log(self) -> list[str]:
        """The latest events of the log, a line each, the oldest first."""

    @abstractmethod
    async def activity(self) -> Activity:
        """How much happened in it."""

    # --- faults on order: what they do is in `faults.py` --------------------------------------

    @abstractmethod
    async def refuse_connections(self, count: int, how: Refusal) -> None:
        """Refuse the next connections."""

    @abstractmethod
    async def drop_connections(
        self, after_frames: int, direction: Direction, answered: bool, name: str | None
    ) -> int:
        """Drop open connections after some frames of each; how many."""

    @abstractmethod
    async def drop_next_connections(
        self, after_frames: int, direction: Direction, count: int
    ) -> None:
        """Drop connections that are made later after some frames of each."""

    @abstractmethod
    async def delay(self, seconds: float) -> None:
        """Have all that is sent come late."""

    @abstractmethod
    async def refuse_publishes(
        self, count: int, exchange: str | None, routing_key: str | None, queue: str | None
    ) -> None:
        """Refuse the next messages that have all of these, where they are not None."""

    @abstractmethod
    async def hold_alarm(self, resource: Resource, held: bool) -> None:
        """Have the alarm of a resource set, or have it as it is measured."""

    @abstractmethod
    async def fill_disk(self, full: bool) -> None:
        """Have the disk full, or have it as it is measured."""

    @abstractmethod
    async def cancel_consumers(self, queue: str | None, vhost: str | None) -> int:
        """Cancel consumers; how many."""

    @abstractmethod
    async def close_connections(self, code: int, text: str, name: str | None) -> int:
        """Close open connections with an error; how many."""

    @abstractmethod
    async def close_channels(self, code: int, text: str, name: str | None) -> int:
        """Close the channels of open connections with an error; how many."""

    @abstractmethod
    async def pending_faults(self) -> tuple[PendingFault, ...]:
        """What was ordered and has not happened yet, the oldest order first."""

    @abstractmethod
    async def clear_faults(self) -> None:
        """Take back all that was ordered."""

    # --- looks: what they find is in `values.py` ----------------------------------------------

    @abstractmethod
    async def queue_status(self, vhost: str, name: str) -> QueueStatus | None:
        """A queue; None if there is none.

        :raises BrokerError: if there is no such virtual host, as in all that name one.
        """

    @abstractmethod
    async def queues(self, vhost: str | None) -> list[QueueStatus]:
        """The queues of a virtual host, or of all, by name."""

    @abstractmethod
    async def exchanges(self, vhost: str) -> list[str]:
        """The names of the exchanges, without the default exchange."""

    @abstractmethod
    async def bindings(self, vhost: str, queue: str) -> list[Binding]:
        """The bindings of a queue to exchanges other than the default exchange."""

    @abstractmethod
    async def messages(self, vhost: str, queue: str, count: int) -> list[Message] | None:
        """The next ready messages of a queue, so many at most; None if there is no such queue."""

    @abstractmethod
    async def consumers(self, vhost: str | None, queue: str | None) -> list[Consumer]:
        """The consumers of a queue or of all, of a virtual host or of all."""

    @abstractmethod
    async def connections(self) -> list[Connection]:
        """The open connections, the oldest first."""

    @abstractmethod
    async def missing_queue(self, vhost: str, name: str) -> str:
        """What is there in place of a queue, in words."""

    @abstractmethod
    async def explained(self, vhost: str, queue: str) -> list[str]:
        """What may explain what a queue has, in words."""

    @abstractmethod
    async def explained_publishes(self, exchange: str | None) -> list[str]:
        """What may explain what was recorded of an exchange, or of all, in words."""

    @abstractmethod
    async def record(self, messages_max: int, bytes_max: int) -> None:
        """Record publishes from now on, and forget what was recorded before."""

    @abstractmethod
    async def end_recording(self) -> None:
        """Record no further publishes; what was recorded is kept."""

    @abstractmethod
    async def recorded_count(self, exchange: str | None, routing_key: str | None) -> int:
        """How many publishes were recorded of an exchange and a routing key, or of any.

        :raises BrokerError: if recording was not asked for.
        """

    @abstractmethod
    async def recording(
        self, exchange: str | None, routing_key: str | None, unroutable_only: bool
    ) -> Recording:
        """The publishes that were recorded of an exchange and a routing key, or of any.

        :raises BrokerError: if recording was not asked for.
        """
