"""A queue as a test looks at it: `broker.queue("orders")`.

Nothing that it does changes the queue: no message is taken, marked as delivered, or counted. What
waits for the application has a twin for coroutines, with `_async` behind its name.
"""

from typing import Final

from leveret.testing.asking import Asks
from leveret.testing.commands import Commands
from leveret.testing.errors import BrokerError, UnmetExpectation, is_of_the_test
from leveret.testing.values import Binding, Consumer, Message, QueueStatus
from leveret.testing.waiting import TIMEOUT_S, wait, wait_async
from leveret.testing.words import counted

__tracebackhide__: Final = is_of_the_test

MESSAGES: Final = 100
"""Messages that a look shows if nothing else is said."""


class Queue:
    """A queue of a name, whether it is there yet or not."""

    def __init__(self, ask: Asks, name: str, vhost: str) -> None:
        self.name = name
        self.vhost = vhost
        """The name of its virtual host."""
        self._ask = ask

    def __repr__(self) -> str:
        return f"<Queue {self.name!r} of virtual host {self.vhost!r}>"

    # --- what is there ------------------------------------------------------------------------

    @property
    def exists(self) -> bool:
        """Whether the queue is declared."""
        return self._look() is not None

    @property
    def ready(self) -> int:
        """Messages that wait for a consumer.

        :raises UnmetExpectation: if there is no such queue, as all that looks into it.
        """
        return self.status().ready

    @property
    def unacknowledged(self) -> int:
        """Messages that consumers, or basic.get, have and did not settle."""
        return self.status().unacknowledged

    @property
    def acknowledged(self) -> int:
        """Messages that were acknowledged since the broker began."""
        return self.status().acknowledged

    def status(self) -> QueueStatus:
        """All figures of the queue at one moment."""
        status = self._look()
        if status is None:
            raise self._is_missing()
        return status

    def messages(self, count: int = MESSAGES) -> list[Message]:
        """The ready messages, the one that is delivered next first.

        :param count: how many at most.
        """
        if count < 0:
            raise BrokerError(f"{count} messages: negative")
        found = self._ask(Commands.messages, self.vhost, self.name, count)
        if found is None:
            raise self._is_missing()
        return found

    def consumers(self) -> list[Consumer]:
        """The consumers of the queue."""
        self.status()
        return self._ask(Commands.consumers, self.vhost, self.name)

    def bindings(self) -> list[Binding]:
        """The bindings of the queue to exchanges other than the default exchange."""
        self.status()
        return self._ask(Commands.bindings, self.vhost, self.name)

    # --- waiting ------------------------------------------------------------------------------

    def wait_for(self, count: int = 1, timeout: float = TIMEOUT_S) -> list[Message]:
        """Wait until there are so many ready messages at least, and return them all.

        :param timeout: seconds.
        :raises UnmetExpectation: if there are fewer then; the text says what there was.
        """
        return self._arrived(wait(lambda: self._has(count), timeout), count, timeout)

    async def wait_for_async(self, count: int = 1, timeout: float = TIMEOUT_S) -> list[Message]:
        """As `wait_for`, in a coroutine."""
        return self._arrived(await wait_async(lambda: self._has(count), timeout), count, timeout)

    def wait_for_acknowledged(self, count: int = 1, timeout: float = TIMEOUT_S) -> None:
        """Wait until so many messages were acknowledged at least, since the broker began.

        :param timeout: seconds.
        :raises UnmetExpectation: if there are fewer then.
        """
        self._check_acknowledged(
            wait(lambda: self._has_acknowledged(count), timeout), count, timeout
        )

    async def wait_for_acknowledged_async(self, count: int = 1, timeout: float = TIMEOUT_S) -> None:
        """As `wait_for_acknowledged`, in a coroutine."""
        done = await wait_async(lambda: self._has_acknowledged(count), timeout)
        self._check_acknowledged(done, count, timeout)

    def wait_until_empty(self, timeout: float = TIMEOUT_S) -> None:
        """Wait until all messages are consumed: none is ready, and none unacknowledged. That is so
        before the first one arrives, too: see `wait_for_acknowledged`.

        :param timeout: seconds.
        :raises UnmetExpectation: if there are some then, or there is no such queue.
        """
        self._check_empty(wait(self._is_empty, timeout), timeout)

    async def wait_until_empty_async(self, timeout: float = TIMEOUT_S) -> None:
        """As `wait_until_empty`, in a coroutine."""
        self._check_empty(await wait_async(self._is_empty, timeout), timeout)

    def wait_for_consumers(self, count: int = 1, timeout: float = TIMEOUT_S) -> list[Consumer]:
        """Wait until the queue has so many consumers at least, and return them.

        :param timeout: seconds.
        :raises UnmetExpectation: if there are fewer then.
        """
        return self._consumed(wait(lambda: self._consumers(count), timeout), count, timeout)

    async def wait_for_consumers_async(
        self, count: int = 1, timeout: float = TIMEOUT_S
    ) -> list[Consumer]:
        """As `wait_for_consumers`, in a coroutine."""
        found = await wait_async(lambda: self._consumers(count), timeout)
        return self._consumed(found, count, timeout)

    # --- looks that are repeated --------------------------------------------------------------

    def _look(self) -> QueueStatus | None:
        return self._ask(Commands.queue_status, self.vhost, self.name)

    def _has(self, count: int) -> list[Message] | None:
        status = self._look()
        if status is None or status.ready < count:
            return None
        found = self._ask(Commands.messages, self.vhost, self.name, max(status.ready, MESSAGES))
        # Some may have been consumed between the two looks.
        return None if found is None or len(found) < count else found

    def _has_acknowledged(self, count: int) -> bool | None:
        status = self._look()
        return (status is not None and status.acknowledged >= count) or None

    def _is_empty(self) -> bool | None:
        status = self._look()
        return (status is not None and status.ready + status.unacknowledged == 0) or None

    def _consumers(self, count: int) -> list[Consumer] | None:
        found = self._ask(Commands.consumers, self.vhost, self.name)
        return None if len(found) < count else found

    # --- what was not there -------------------------------------------------------------------

    def _arrived(self, found: list[Message] | None, count: int, timeout: float) -> list[Message]:
        if found is not None:
            return found
        raise self._unmet(timeout, f"{count} {'was' if count == 1 else 'were'} expected")

    def _check_acknowledged(self, done: bool | None, count: int, timeout: float) -> None:
        if not done:
            number = counted(count, "acknowledged one was", "acknowledged ones were")
            raise self._unmet(timeout, f"{number} expected", to_be_consumed=True)

    def _check_empty(self, is_empty: bool | None, timeout: float) -> None:
        if not is_empty:
            raise self._unmet(timeout, "none was expected", to_be_consumed=True)

    def _consumed(self, found: list[Consumer] | None, count: int, timeout: float) -> list[Consumer]:
        if found is not None:
            return found
        status = self._look()
        if status is None:
            raise self._is_missing(timeout)
        there = self._ask(Commands.consumers, self.vhost, self.name)
        tags = f" ({', '.join(repr(each.tag) for each in there)})" if there else ""
        raise UnmetExpectation(
            f"queue {self.name!r} had {counted(len(there), 'consumer', 'consumers')}{tags} after"
            f" {timeout:g} s, {count} {'was' if count == 1 else 'were'} expected"
        )

    def _unmet(
        self, timeout: float, expected: str, *, to_be_consumed: bool = False
    ) -> UnmetExpectation:
        status = self._look()
        if status is None:
            return self._is_missing(timeout)
        ready = counted(status.ready, "ready message", "ready messages")
        taken = counted(status.unacknowledged, "unacknowledged one", "unacknowledged ones")
        text = f"queue {self.name!r} had {ready} and {taken} after {timeout:g} s, {expected}"
        if status.consumers or to_be_consumed:
            text += f"; it has {counted(status.consumers, 'consumer', 'consumers')}"
        return UnmetExpectation("; ".join([text, *self._explained()]))

    def _is_missing(self, timeout: float | None = None) -> UnmetExpectation:
        after = "" if timeout is None else f" after {timeout:g} s"
        there = self._ask(Commands.missing_queue, self.vhost, self.name)
        text = f"there was no queue {self.name!r}{after}; {there}"
        return UnmetExpectation("; ".join([text, *self._explained()]))

    def _explained(self) -> list[str]:
        return self._ask(Commands.explained, self.vhost, self.name)
