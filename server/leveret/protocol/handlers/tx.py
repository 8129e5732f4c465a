"""The class tx (AMQP 0-9-1, section 1.9): publishes and acknowledgements at one commit."""

from collections.abc import Callable
from typing import Any, Final

from pamqp.base import Frame
from pamqp.commands import Tx

from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.errors import AmqpError, ReplyCode
from leveret.protocol.channels.channel import Channel
from leveret.protocol.channels.transaction_commit import TransactionCommit


def select(channel: Channel, method: Tx.Select) -> Frame:
    """tx.select: publishes and acknowledgements wait for tx.commit from here on."""
    if channel.confirms.enabled:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, "cannot switch from confirm to tx mode")
    channel.transaction.selected = True
    return Tx.SelectOk()


class _CommitReply(Work):
    """Waits for the commit of a transaction, and sends the reply."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._commit = TransactionCommit(channel)

    def waits(self) -> bool:
        return self._commit.waits()

    def run(self, time_slice: TimeSlice) -> bool:
        channel, commit = self._channel, self._commit
        if not commit.run(time_slice):
            return False
        if commit.failed:
            raise RuntimeError("the commit of a transaction failed")
        channel.hold_until_durable(commit.batch)
        if commit.is_refused():
            raise AmqpError(ReplyCode.PRECONDITION_FAILED, "partial tx completion")
        channel.send(Tx.CommitOk())
        return True


def commit(channel: Channel, method: Tx.Commit) -> None:
    """tx.commit: publish and settle all that waits, and begin a new transaction."""
    _check_transactional(channel)
    channel.session.begin(_CommitReply(channel))


class _Rollback(Work):
    """Rolls back the transaction of a channel, and sends the reply."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def run(self, time_slice: TimeSlice) -> bool:
        channel = self._channel
        if not channel.transaction.roll_back(channel.deliveries, time_slice):
            return False
        channel.send(Tx.RollbackOk())
        return True


def rollback(channel: Channel, method: Tx.Rollback) -> None:
    """tx.rollback: forget all that waits, and begin a new transaction."""
    _check_transactional(channel)
    channel.session.begin(_Rollback(channel))


def _check_transactional(channel: Channel) -> None:
    """Check that the channel has a transaction.

    :raises AmqpError: PRECONDITION_FAILED without tx.select.
    """
    if not channel.transaction.selected:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, "channel is not transactional")


HANDLERS: Final[dict[type[Frame], Callable[[Any, Any], Frame | None]]] = {
    Tx.Select: select,
    Tx.Commit: commit,
    Tx.Rollback: rollback,
}
