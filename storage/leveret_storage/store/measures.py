"""What a store measures of itself, for whoever monitors it: a few additions a batch.

Each histogram is written by one thread, and read by another one.
"""

from leveret_storage.histogram import BYTES, SECONDS, Histogram


class StoreMeasures:
    """Counts since the store was opened."""

    def __init__(self) -> None:
        self.batch_bytes = Histogram(BYTES)
        """Bytes of each batch."""
        self.sync_seconds = Histogram(SECONDS)
        """Seconds of each sync of the commit log, with the write of the batch if they are one
        call."""
        self.write_seconds = Histogram(SECONDS)
        """Seconds of each write of a batch that no sync follows at once."""
        self.read_seconds = Histogram(SECONDS)
        """Seconds of each read of messages from disk that the store does beside its owner."""
