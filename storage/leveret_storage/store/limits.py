"""Sizes at which a store begins new segments, empties old ones, and needs backpressure."""

from typing import Final, NamedTuple

from leveret_storage.segments.body_segment import SHARED_BODY_BYTES
from leveret_storage.segments.log_segment import PREALLOCATION_BYTES
from leveret_storage.segments.queue_journal import QUEUE_SEGMENT_BYTES

LOG_SEGMENT_BYTES: Final = 32 * 1024 * 1024
"""Bytes of a log segment after which the next one begins."""

LOG_SEGMENTS_MAX: Final = 3
"""Log segments beyond which the oldest is emptied. A start reads about so many times the size of
one."""

BODY_SEGMENT_BYTES: Final = 32 * 1024 * 1024
"""Bytes of a body segment after which the next one begins: disk space that one body can occupy
which some queue never settles."""

COMPACTION_SHARE: Final = 64
"""The smallest segment that is compacted is this part of a full one: a file costs more than a chunk
of a backlog, which has this size."""

RUNS_SHARE: Final = 2
"""The bytes of runs that are given to the writing executor before one of them is written, or one
run, are this part of the medium's `bytes_in_flight`: the batches of clients wait behind them."""

UNWRITTEN_SEGMENTS_MAX: Final = 4
"""Runs that begin a segment and wait to be written, from which on no more are written only to make
room in memory. Each may cost a sync, where thousands of files are written to in turn, and commits
wait behind them."""

THROTTLED_SEGMENTS: Final = 16
"""Such runs that wait to be written, above which publishers should be throttled."""

SEGMENTS_SYNCED_AT_ONCE: Final = 1
"""Segments that are synced between two commits, which wait some 4 ms for each."""

SEGMENTS_SYNCED_AT_STOP: Final = 64
"""Segments of queues that are synced when the store is closed, some 4 ms each: a stop does not take
longer because of thousands of queues. A start reads again what the log has of the others."""

LARGE_WAITING_BYTES_MAX: Final = 128 * 1024 * 1024
"""Bytes of large messages that wait for the disk beside the open batch. They are in memory for
their consumers anyway: a hundred of a megabyte are unacknowledged at a time where clients confirm
and acknowledge by the hundred."""

LARGE_BYTES_AT_ONCE: Final = 2 * 1024 * 1024
"""Bytes of large messages, or one of them, that join a batch: the confirms of small messages wait
behind them, as behind the bytes in flight."""

TRANSACTION_BATCH_BYTES: Final = 1024 * 1024
"""Bytes of the open batch from which on a transaction waits for its commit: a batch that takes
longer to write than to sync would hold up the confirms of others."""

CHANGED_QUEUES_MAX: Final = 256
"""Queues with settlements that wait for the next batch, from which on they are added to it before
it is committed: some 0.3 ms of work, which a hundred thousand queues must not add up to one
commit."""


CHECKPOINT_RECORD_BYTES: Final = 256 * 1024
"""Bytes of a record of a checkpoint segment: short enough to be appended beside commits."""

CHECKPOINT_GROWTH_BYTES: Final = 4 * 1024 * 1024
"""Bytes by which a checkpoint may grow, and as much again as it had when it was rewritten, before
it is rewritten: so what is written is in proportion to what changes."""

CHECKPOINT_RANGES_AT_ONCE: Final = 256
"""Settled ranges that are encoded for a checkpoint between two looks at the clock, some 20 us."""


class StoreLimits(NamedTuple):
    """The sizes that tests make small."""

    log_segment_bytes: int = LOG_SEGMENT_BYTES
    queue_segment_bytes: int = QUEUE_SEGMENT_BYTES
    log_segments_max: int = LOG_SEGMENTS_MAX
    """From 2."""
    preallocation_bytes: int = PREALLOCATION_BYTES
    body_segment_bytes: int = BODY_SEGMENT_BYTES
    shared_body_bytes: int = SHARED_BODY_BYTES
    checkpoint_record_bytes: int = CHECKPOINT_RECORD_BYTES
    checkpoint_growth_bytes: int = CHECKPOINT_GROWTH_BYTES
    checkpoint_ranges_at_once: int = CHECKPOINT_RANGES_AT_ONCE
    large_waiting_bytes: int = LARGE_WAITING_BYTES_MAX
    large_bytes_at_once: int = LARGE_BYTES_AT_ONCE


DEFAULT_LIMITS: Final = StoreLimits()
"""The limits of a broker's store."""
