"""Faults on order, as a test orders them: `broker.faults`.

    broker.faults.refuse_connections(2)
    with broker.faults.blocked("memory"):
        ...

Clients see what they see of a real broker that has this fault, over the wire. Some happen at once,
and the call returns when the broker has done its part. Others wait for their cause, the next
connection or message: `pending` says which of these have not happened. And some last until they are
taken back, at the end of a `with` statement for example. `clear` takes back everything, and so does
a reset. A broker that does not run has no faults, and one that is started again has none.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from leveret import errors
from leveret.errors import ReplyCode
from leveret.testing.asking import Asks
from leveret.testing.commands import Commands
from leveret.testing.errors import BrokerError, UnmetExpectation, is_of_the_test
from leveret.testing.fault_orders import (
    DIRECTIONS,
    REFUSALS,
    RESOURCES,
    Direction,
    PendingFault,
    Refusal,
    Resource,
)
from leveret.testing.waiting import TIMEOUT_S, wait, wait_async

__tracebackhide__: Final = is_of_the_test

NO_ERRORS: Final = {ReplyCode.SUCCESS, ReplyCode.INVALID_PATH}
"""The reply codes that a broker closes nothing with: RabbitMQ never sends the second one."""

CHANNEL_CODES: Final = tuple(sorted(map(int, errors.CHANNEL_CODES)))
"""The reply codes that close a channel alone."""

CONNECTION_CODES: Final = tuple(
    int(code) for code in ReplyCode if code not in errors.CHANNEL_CODES | NO_ERRORS
)
"""The reply codes that close a connection (AMQP 0-9-1, section 1.2)."""


SHORTAGE: Final = ("negative", "not one at least")
"""What a count is that is less than 0, or than 1."""


class Faults:
    """The faults of one broker. Each method raises BrokerError if the broker does not run."""

    def __init__(self, ask: Asks) -> None:
        self._ask = ask

    # --- connections ------------------------------------------------------------------------

    def refuse_connections(self, count: int = 1, how: Refusal = "reset") -> None:
        """Refuse the next connections, each after those of orders before this one.

        :param how: "reset": the socket is reset, as by a broker that has no file descriptor for it.
            "login": the login is refused with 403 (ACCESS_REFUSED), as with a wrong password.
            "limit": connection.open is answered by 530 (NOT_ALLOWED), because the node has as many
            connections as it may have.
        """
        _check_count(f"refuse {count!r} connections", count, 1)
        _check_choice("how", how, REFUSALS)
        self._ask(Commands.refuse_connections, count, how)

    def drop_connections(
        self,
        after_frames: int = 0,
        *,
        direction: Direction = "received",
        answered: bool = True,
        name: str | None = None,
    ) -> int:
        """Close the sockets of open connections without connection.close, as a network that breaks
        or a broker that dies.

        :param after_frames: how many frames of each connection come first, heartbeats aside; a
            publish has two with an empty body, mostly three. What they ask for is done, and
            answered. 0 is at once.
        :param direction: "received" counts the frames from the client, "sent" those to it.
        :param answered: False has it done without an answer: the last frames are received, and
            nothing is sent. That loses a confirm.
        :param name: the name that the client has given the connection (`connection_name`), or its
            HOST:PORT; None for all.
        :returns: how many connections these are.
        :raises BrokerError: if it is none.
        """
        _check_count(f"after {after_frames!r} frames", after_frames, 0)
        _check_choice("direction", direction, DIRECTIONS)
        _check(
            answered or (after_frames > 0 and direction == "received"),
            "only what is received is not answered: give a number of frames from 1",
        )
        count = self._ask(Commands.drop_connections, after_frames, direction, answered, name)
        _check(count > 0, _no_connection(name))
        return count

    def drop_next_connection(
        self, after_frames: int, *, direction: Direction = "received", count: int = 1
    ) -> None:
        """As `drop_connections`, for connections that are made later. Their frames count from the
        first one; a client sends three to log in, and mostly one to open a channel.

        :param count: how many connections, one after the other or at the same time.
        """
        _check_count(f"after {after_frames!r} frames", after_frames, 1)
        _check_count(f"drop {count!r} connections", count, 1)
        _check_choice("direction", direction, DIRECTIONS)
        self._ask(Commands.drop_next_connections, after_frames, direction, count)

    def close_connections(
        self, text: str = errors.SHUTDOWN_REASON, *, code: int = 320, name: str | None = None
    ) -> int:
        """Close open connections by connection.close.

        :param text: the reply text, behind the name of the code.
        :param code: 320 (CONNECTION_FORCED), as when a broker stops or an operator closes them, or
            another code that closes connections.
        :param name: as in `drop_connections`.
        :returns: how many connections these are.
        :raises BrokerError: if it is none.
        """
        _check_choice("code", code, CONNECTION_CODES)
        count = self._ask(Commands.close_connections, code, text, name)
        _check(count > 0, _no_connection(name))
        return count

    def close_channels(self, code: int, text: str, *, name: str | None = None) -> int:
        """Close all open channels by channel.close; their connections go on.

        :param code: for example 404 (NOT_FOUND) or 406 (PRECONDITION_FAILED).
        :param text: the reply text, behind the name of the code.
        :param name: of the connections, as in `drop_connections`.
        :returns: how many channels these are.
        :raises BrokerError: if it is none.
        """
        _check_choice("code", code, CHANNEL_CODES)
        count = self._ask(Commands.close_channels, code, text, name)
        _check(count > 0, "no channel is open")
        return count

    def delay(self, seconds: float) -> None:
        """Have what the broker sends come late on all connections, in order, until this is called
        with 0. Then what waits comes at once. It goes by the time of the machine.

        :param seconds: from 0.
        """
        _check(seconds >= 0, f"a delay of {seconds} s: negative")
        self._ask(Commands.delay, seconds)

    @contextmanager
    def delayed(self, seconds: float) -> Iterator[None]:
        """`delay` for the body of a `with` statement."""
        self.delay(seconds)
        try:
            yield
        finally:
            with suppress(BrokerError):
                self.delay(0)

    # --- publishers -------------------------------------------------------------------------

    def nack(
        self,
        count: int = 1,
        *,
        exchange: str | None = None,
        routing_key: str | None = None,
        queue: str | None = None,
    ) -> None:
        """Answer the next messages of channels with publisher confirms by basic.nack, as a queue
        does that is full and rejects what is published: no queue gets them. Messages that are
        published without confirms are neither refused nor counted.

        :param exchange: only those that are published to it; "" is the default exchange.
        :param routing_key: only those with this one.
        :param queue: only those that would go to it, maybe among others.
        """
        _check_count(f"nack {count!r} messages", count, 1)
        self._ask(Commands.refuse_publishes, count, exchange, routing_key, queue)

    def block(self, resource: Resource = "memory") -> None:
        """Set a resource alarm: connections that publish are not read, and those that understand it
        get connection.blocked, with the reason "low on memory" or "low on disk". As with any alarm,
        a connection is blocked when it publishes next; whether that message is still taken depends
        on how its frames come. Consumers go on.

        :param resource: "memory" or "disk".
        """
        _check_choice("resource", resource, RESOURCES)
        self._ask(Commands.hold_alarm, resource, True)

    def unblock(self) -> None:
        """Undo `block`: connections that were blocked get connection.unblocked."""
        for resource in RESOURCES:
            self._ask(Commands.hold_alarm, resource, False)

    @contextmanager
    def blocked(self, resource: Resource = "memory") -> Iterator[None]:
        """`block` for the body of a `with` statement."""
        self.block(resource)
        try:
            yield
        finally:
            with suppress(BrokerError):
                self.unblock()

    def fill_disk(self) -> None:
        """Have the disk full: the disk alarm is set, as by `block("disk")`. A broker that has a
        directory cannot write to it either: persistent messages are not confirmed, and durable
        queues are not declared, until there is space again."""
        self._ask(Commands.fill_disk, True)

    def free_disk(self) -> None:
        """Undo `fill_disk`. What waits for space is written within a second."""
        self._ask(Commands.fill_disk, False)

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """`fill_disk` for the body of a `with` statement."""
        self.fill_disk()
        try:
            yield
        finally:
            with suppress(BrokerError):
                self.free_disk()

    # --- consumers --------------------------------------------------------------------------

    def cancel_consumers(self, queue: str | None = None, *, vhost: str | None = None) -> int:
        """Cancel consumers: their clients get basic.cancel, as when the queue is deleted. What they
        have not acknowledged stays with their channels.

        :param queue: the name of their queue; None for all.
        :param vhost: the name of its virtual host; None for all.
        :returns: how many consumers these are.
        :raises BrokerError: if it is none.
        """
        count = self._ask(Commands.cancel_consumers, queue, vhost)
        of = "" if queue is None else f" of the queue {queue!r}"
        _check(count > 0, f"there is no consumer{of}")
        return count

    # --- all --------------------------------------------------------------------------------

    def pending(self) -> tuple[PendingFault, ...]:
        """What was ordered and waits for its cause, the oldest order first."""
        return self._ask(Commands.pending_faults)

    def assert_happened(self) -> None:
        """Check that everything that was ordered has happened.

        :raises UnmetExpectation: if something is pending.
        """
        self._expect_none(self.pending())

    def wait_until_happened(self, timeout: float = TIMEOUT_S) -> None:
        """Wait until everything that was ordered has happened.

        :param timeout: seconds.
        :raises UnmetExpectation: if something is pending then.
        """
        if wait(self._nothing_pending, timeout) is None:
            self._expect_none(self.pending())

    async def wait_until_happened_async(self, timeout: float = TIMEOUT_S) -> None:
        """As `wait_until_happened`, in a coroutine."""
        if await wait_async(self._nothing_pending, timeout) is None:
            self._expect_none(self.pending())

    def _nothing_pending(self) -> bool | None:
        """True, or None while something is pending."""
        return None if self.pending() else True

    def _expect_none(self, pending: tuple[PendingFault, ...]) -> None:
        if pending:
            lines = "".join(f"\n  {each}" for each in pending)
            raise UnmetExpectation(f"faults were ordered that did not happen:{lines}")

    def clear(self) -> None:
        """Take back everything that was ordered: what is pending, and what lasts."""
        self._ask(Commands.clear_faults)


def _check(condition: bool, otherwise: str) -> None:
    if not condition:
        raise BrokerError(otherwise)


def _check_count(what: str, count: object, least: int) -> None:
    _check(isinstance(count, int), f"{what}: not a whole number")
    _check(isinstance(count, int) and count >= least, f"{what}: {SHORTAGE[least]}")


def _check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    _check(value in choices, f"{name}={value!r} is none of {', '.join(map(repr, choices))}")


def _no_connection(name: str | None) -> str:
    return "no connection is open" if name is None else f"no connection is open as {name!r}"
