"""Publisher confirms of one channel (RabbitMQ: Consumer Acknowledgements and Publisher Confirms).

Publishes are counted from 1. A message that some queue persists is confirmed when the batch that
has it is synced, any other one at the next flush; both as far as all publishes before it are. Many
are confirmed by one basic.ack with `multiple`.

A nack may overtake the acks of earlier publishes that still wait for their batch: it names one
publish only and promises nothing, so it has nothing to wait for.
"""

from collections import deque

from mypy_extensions import i16, i64

from leveret.engine.values.counters import ChannelCounters
from leveret.protocol.channels.session import ConfirmWriter, Session
from leveret.protocol.wire.frames import write_ack, write_nack


class PublisherConfirms(ConfirmWriter):
    """Counts the publishes of one channel, and writes their acks and nacks."""

    def __init__(self, session: Session, wire_number: i16, counters: ChannelCounters) -> None:
        self.enabled = False
        """Whether confirm.select came."""
        self.closed = False
        """Whether the channel is closed, so that nothing may be written any more."""
        self._session = session
        self._counters = counters
        self._store = session.store
        self._wire_number: i16 = wire_number
        self.published_count: i64 = 0
        """Publishes that had to be confirmed. Read-only for others."""
        self.confirmed_count: i64 = 0
        """Publishes up to this one are acked or nacked. Read-only for others."""
        self._last_batch: i64 = 0
        """The batch that the latest publishes wait for; 0 if none ever had to wait."""
        self._unsynced: deque[tuple[int, int]] = deque()
        """Publishes up to a number, and the batch they wait for, in order; or the last of them is a
        large message, whose ticket is there, negative. Those behind the last pair wait for
        `_last_batch`."""
        self._large: i64 = 0
        """How many large messages are in `_unsynced`."""
        self._refused: set[int] = set()
        """Publishes that were nacked while earlier ones were not confirmed yet."""
        self._awaits_flush = False
        """Whether the session will call `write_confirms` before the next flush."""
        self._awaits_sync = False
        """Whether the session will do so before the first flush after the next commit. Publishes
        that follow meanwhile are confirmed then, too, since none is confirmed before an earlier
        one; so no flush is requested for them."""

    def published(self, awaits_commit: bool) -> None:
        """Count a publish that no queue refused.

        :param awaits_commit: whether the confirm has to wait for the batch that is open.
        """
        if awaits_commit:
            self._await_batch()
        self.published_count += 1
        if not self._awaits_flush and not self._awaits_sync:
            self._awaits_flush = True
            self._session.confirm_at_flush(self)

    def _await_batch(self) -> None:
        """Have the publish that is not counted yet, and those that follow, wait for the open batch.

        Earlier publishes wait for the batch that they waited for.
        """
        store = self._store
        if store is not None and store.batch != self._last_batch:
            if self._last_batch != 0:
                self._unsynced.append((int(self.published_count), int(self._last_batch)))
            self._last_batch = store.batch

    def published_large(self, ticket: i64) -> None:
        """Count a publish that waits for the disk beside the open batch, with its ticket in the
        store."""
        if self._last_batch != 0:
            self._unsynced.append((int(self.published_count), int(self._last_batch)))
            self._last_batch = 0
        self.published(False)
        self._unsynced.append((int(self.published_count), int(-ticket)))
        self._large += 1

    def refused(self) -> None:
        """Count a publish that a queue refused, and nack it at once.

        The acks of earlier publishes are written before it, as far as their batches are synced.
        """
        self.flush()
        self.published_count += 1
        if self.confirmed_count == self.published_count - 1:
            self.confirmed_count = self.published_count
        else:
            self._refused.add(int(self.published_count))
        write_nack(self._session.output, self._wire_number, self.published_count)
        self._session.request_flush()

    def _take_synced(self, synced: i64) -> i64:
        """Forget the pairs that need not wait any more, in order.

        :returns: up to which publish that is so.
        """
        upto = self.confirmed_count
        unsynced, store = self._unsynced, self._store
        while unsynced:
            end, waits_for = unsynced[0]
            if waits_for < 0:
                if store is not None and store.large.awaits(-waits_for):
                    return upto
                self._large -= 1
            elif waits_for > synced:
                return upto
            unsynced.popleft()
            upto = end
        return upto if self._last_batch > synced else self.published_count

    def flush(self) -> None:
        """Write the confirms that are due, before another frame of the channel is written."""
        if self._awaits_flush or self._awaits_sync:
            self._write()

    def write_confirms(self) -> None:
        self._awaits_flush = False
        self._write()

    def _write(self) -> None:
        upto = self.published_count
        store = self._store
        synced: i64 = 0 if store is None else store.synced
        if self._last_batch > synced or self._large != 0:
            upto = self._take_synced(synced)
        if self._last_batch > synced or self._large != 0:
            self._awaits_sync = True
            self._session.confirm_at_sync(self)
        else:
            self._awaits_sync = False
            self._unsynced.clear()
        last = upto
        refused: i64 = 0
        if self._refused:
            # A refused publish is not the one that an ack names.
            while last > self.confirmed_count and int(last) in self._refused:
                last -= 1
            refused = len(self._refused)
            self._refused = {tag for tag in self._refused if tag > upto}
            refused -= len(self._refused)
        count = last - self.confirmed_count
        if not self.closed:
            if count != 0:
                write_ack(self._session.output, self._wire_number, last, count != 1)
            acked = upto - self.confirmed_count - refused
            self._counters.confirm += acked
            self._session.vhost.counters.confirm += acked
            self.confirmed_count = upto
