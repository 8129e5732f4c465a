"""The record of publishes as a test reads it: `broker.record()`, `broker.published(...)`.

Recording is asked for, because the broker does more for each message then. It begins with `record`
and ends with the `with` statement, with a reset and with the broker.
"""

import warnings
from collections import Counter
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from leveret.testing.asking import Asks
from leveret.testing.commands import Commands
from leveret.testing.errors import BrokerError, UnmetExpectation, is_of_the_test
from leveret.testing.values import Published, Recording, exchange_in_words
from leveret.testing.waiting import TIMEOUT_S, wait, wait_async
from leveret.testing.words import counted

__tracebackhide__: Final = is_of_the_test

MESSAGES_MAX: Final = 10_000
BYTES_MAX: Final = 64 * 1024 * 1024
"""Messages, and bytes of their bodies, that are kept if nothing else is said."""

OTHERS_SHOWN: Final = 5
"""Exchanges and routing keys that a text lists."""


class RecordingDropped(UserWarning):
    """The record of publishes is not complete: there was no room for its oldest messages."""


class Publishes:
    """The record of one broker."""

    def __init__(self, ask: Asks) -> None:
        self._ask = ask

    def record(self, messages_max: int = MESSAGES_MAX, bytes_max: int = BYTES_MAX) -> Self:
        """Record publishes from now on, and forget those of before.

        :param messages_max: how many are kept; there is a warning when older ones were dropped.
        :param bytes_max: bytes of their bodies together.
        """
        if messages_max < 1 or bytes_max < 1:
            raise BrokerError("record one message and one byte at least")
        self._ask(Commands.record, messages_max, bytes_max)
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A broker that does not run records nothing.
        with suppress(BrokerError):
            self._ask(Commands.end_recording)

    def published(
        self, exchange: str | None = None, routing_key: str | None = None
    ) -> list[Published]:
        """The messages that went through exchanges, the oldest first: those of clients, and dead
        letters and delayed messages that the broker has published again.

        :param exchange: the one they were published to, "" for the default exchange; None for any.
        :param routing_key: theirs, or one in their headers CC and BCC; None for any.
        :raises BrokerError: if publishes are not recorded.
        """
        return self._messages(self._ask(Commands.recording, exchange, routing_key, False))

    def unroutable(self) -> list[Published]:
        """The messages that no queue matched, so that they were dropped or returned.

        :raises BrokerError: if publishes are not recorded.
        """
        return self._messages(self._ask(Commands.recording, None, None, True))

    def wait_for_published(
        self,
        count: int = 1,
        exchange: str | None = None,
        routing_key: str | None = None,
        timeout: float = TIMEOUT_S,
    ) -> list[Published]:
        """Wait until so many messages were published at least, and return them all.

        :param timeout: seconds.
        :raises UnmetExpectation: if there are fewer then; the text says what was published.
        :raises BrokerError: if publishes are not recorded.
        """
        found = wait(lambda: self._has(count, exchange, routing_key), timeout)
        return self._arrived(found, count, exchange, routing_key, timeout)

    async def wait_for_published_async(
        self,
        count: int = 1,
        exchange: str | None = None,
        routing_key: str | None = None,
        timeout: float = TIMEOUT_S,
    ) -> list[Published]:
        """As `wait_for_published`, in a coroutine."""
        found = await wait_async(lambda: self._has(count, exchange, routing_key), timeout)
        return self._arrived(found, count, exchange, routing_key, timeout)

    def _has(
        self, count: int, exchange: str | None, routing_key: str | None
    ) -> list[Published] | None:
        if self._ask(Commands.recorded_count, exchange, routing_key) < count:
            return None
        return self.published(exchange, routing_key)

    def _arrived(
        self,
        found: list[Published] | None,
        count: int,
        exchange: str | None,
        routing_key: str | None,
        timeout: float,
    ) -> list[Published]:
        if found is not None:
            return found
        there = self._ask(Commands.recorded_count, exchange, routing_key)
        wanted = "" if exchange is None else f" to {exchange_in_words(exchange)}"
        if routing_key is not None:
            wanted += f" with routing key {routing_key!r}"
        text = (
            f"{counted(there, 'message was', 'messages were')} published{wanted} after"
            f" {timeout:g} s, {count} {'was' if count == 1 else 'were'} expected"
        )
        others = [] if exchange is None and routing_key is None else self._others()
        explained = self._ask(Commands.explained_publishes, exchange)
        raise UnmetExpectation("; ".join([text, *others, *explained]))

    def _others(self) -> list[str]:
        """What was published at all, in words."""
        recorded = self._ask(Commands.recording, None, None, False).messages
        if not recorded:
            return ["nothing was published at all"]
        numbers = Counter((each.exchange, each.routing_key) for each in recorded)
        shown = [
            f"{number} to {exchange_in_words(exchange)} with routing key {key!r}"
            for (exchange, key), number in numbers.most_common(OTHERS_SHOWN)
        ]
        if len(numbers) > len(shown):
            shown.append(f"and to {len(numbers) - len(shown)} more")
        return [f"published were {', '.join(shown)}"]

    def _messages(self, recording: Recording) -> list[Published]:
        if recording.dropped:
            dropped = counted(recording.dropped, "message was", "messages were")
            warnings.warn(
                f"the oldest {dropped} dropped from the record of publishes:"
                " broker.record(messages_max=..., bytes_max=...) has room for more",
                RecordingDropped,
                stacklevel=4,
            )
        return recording.messages
