"""What one connection holds in memory, in bytes of messages and frames."""

from collections.abc import Iterable
from typing import NamedTuple

from leveret.limits import MESSAGE_OVERHEAD_BYTES
from leveret.protocol.channels.channel import Channel


class HeldMemory(NamedTuple):
    """What one connection holds in memory."""

    incomplete_bytes: int
    """Of messages that have not arrived completely."""
    uncommitted_bytes: int
    """Of messages that were published in transactions."""
    unsent_bytes: int
    """Of frames that wait for the store, or for the peer to read."""
    unacknowledged_messages: int
    """Their bodies may be on disk only."""
    consumes: bool
    """Whether it has a consumer, whose deliveries the unsent frames may be."""

    @property
    def undrained(self) -> int:
        """Bytes that do not become fewer when consumers get messages."""
        unsent = 0 if self.consumes else self.unsent_bytes
        return self.incomplete_bytes + self.uncommitted_bytes + unsent

    @property
    def total(self) -> int:
        """Bytes of all, with an estimate for what is unacknowledged."""
        return (
            self.incomplete_bytes
            + self.uncommitted_bytes
            + self.unsent_bytes
            + self.unacknowledged_messages * MESSAGE_OVERHEAD_BYTES
        )

    def fields(self) -> dict[str, int]:
        """The numbers, as a log line has them."""
        return {
            "incomplete_bytes": self.incomplete_bytes,
            "uncommitted_bytes": self.uncommitted_bytes,
            "unsent_bytes": self.unsent_bytes,
            "unacknowledged_messages": self.unacknowledged_messages,
        }


def held_by(channels: Iterable[Channel], unsent_bytes: int) -> HeldMemory:
    """What a connection with these channels holds in memory."""
    incomplete, uncommitted, unacknowledged, consumes = 0, 0, 0, False
    for channel in channels:
        incomplete += channel.content.incomplete_bytes()
        uncommitted += int(channel.transaction.bytes)
        unacknowledged += len(channel.deliveries.unacknowledged)
        consumes = consumes or bool(channel.deliveries.consumers)
    return HeldMemory(incomplete, uncommitted, unsent_bytes, unacknowledged, consumes)
