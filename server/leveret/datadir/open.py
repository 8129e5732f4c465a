"""Opens the store of a broker on its data directory, supervises it, and closes it.

Opening locks the directory, checks in its head whose data it is, reads everything, and takes the
directory last: where a start is refused, nothing was changed.

When a write or a sync fails, nothing is confirmed any more, and the process ends: only a new one,
which reads what is on the disk, knows what is durable. A full medium is no failure: what it refused
is written again until that succeeds, and the free space counts as 0 meanwhile, as it does while the
medium uses the space that it has set aside for settlements.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

from leveret.config import Config
from leveret.datadir.head import decode_head_data, note_log_end, take
from leveret.datadir.salvage import check_known, salvage_medium, set_head_aside
from leveret.engine.broker import Broker
from leveret.logging import get_logger
from leveret_storage.errors import StorageError
from leveret_storage.media.executor import ThreadExecutor
from leveret_storage.media.locations import directory_of, open_medium
from leveret_storage.medium import Medium
from leveret_storage.recovery.log_end import NOT_NOTED, LogEnd

logger = get_logger()


class StorageRefused(Exception):
    """The data directory cannot be used; the text is one line for the operator."""


class Storage:
    """The store of a broker on its medium, and the threads that wait for the disk."""

    def __init__(
        self,
        config: Config,
        broker: Broker,
        failed: Callable[[], None],
        files_max: int,
        *,
        salvage: bool = False,
        around: Callable[[Medium], Medium] | None = None,
    ) -> None:
        """Open the directory, and restore what it has into the broker.

        :param failed: called once if the storage fails later.
        :param files_max: files that may be open at a time.
        :param salvage: set damaged bytes aside, and start without them.
        :param around: makes a medium around the one that was opened, which is used instead.
        :raises StorageRefused: if the directory is in use or cannot be read, or its data is another
            broker's, damaged, or written by a newer version.
        """
        self.failed = False
        self._loop = asyncio.get_running_loop()
        self._on_failed = failed
        self.full = ""
        """The error of the medium while it is full, else ""."""
        self.after_results: Callable[[], object] = lambda: None
        """Called in the event loop after each result of the threads was handed over."""
        self.measured_free_bytes = 0
        """Free bytes of the disk at the last call of `free_bytes`."""
        self._timer: asyncio.TimerHandle | None = None
        location = config.storage.data_dir
        medium: Medium | None = None
        try:
            self.directory = directory_of(location)
            _check_place(self.directory)
            medium = open_medium(
                location, reserve_bytes=config.storage.disk_reserve, files_max=files_max
            )
            medium = medium if around is None else around(medium)
            node_name = config.server.node_name
            if salvage:
                check_known(medium)
                set_head_aside(medium)
            epoch, log_end = _check_owner(medium, node_name)
            to_take: Callable[[], object] | None = partial(take, medium, epoch, node_name, log_end)
            if salvage:
                take(medium, epoch, node_name, log_end)
                to_take = None
                salvage_medium(medium, log_end)
                log_end = NOT_NOTED
            self._medium = medium
            self._open(config, broker, to_take, log_end)
        except (StorageError, StorageRefused) as error:
            if medium is not None:
                medium.close()
            raise StorageRefused(f"storage.data_dir: {config.storage.data_dir}: {error}") from None

    def _open(
        self, config: Config, broker: Broker, to_take: Callable[[], object] | None, log_end: LogEnd
    ) -> None:
        writing = ThreadExecutor("leveret-write", self._post, self._set_full)
        reading = ThreadExecutor("leveret-read", self._post)
        self._threads = (writing, reading)
        sync = config.storage.sync
        hosted = broker.open_store(
            self._medium,
            writing,
            reading,
            self._fail,
            sync == "commit",
            take=to_take,
            log_end=log_end,
            note_log_end=partial(note_log_end, self._medium, config.server.node_name),
        )
        for line in hosted.torn:
            logger.warning("torn end cut", file=line)
        for name in hosted.foreign:
            logger.warning(
                "ignored: not a file of the storage", file=f"{self.directory / 'blobs' / name}"
            )
        self._hosted = hosted
        self._store = hosted.store
        if sync == "interval":
            self._interval_s = config.storage.sync_interval / 1000
            self._sync()

    def _post(self, hand_over: Callable[[], None]) -> None:
        """Hand over a result from another thread."""
        self._loop.call_soon_threadsafe(self._run_posted, hand_over)

    def _run_posted(self, hand_over: Callable[[], None]) -> None:
        hand_over()
        self.after_results()

    def free_bytes(self) -> int:
        """Free bytes of the disk; 0 while the medium is full, whatever the file system reports."""
        self.measured_free_bytes = 0
        if self.full:
            return 0
        try:
            free = self.measured_free_bytes = self._medium.free_bytes()
        except StorageError as error:
            self._fail(error)
            return 0
        if free == 0:
            self._store.free_space()
        return free

    def is_idle(self) -> bool:
        """Whether no thread has anything to do for it."""
        return all(thread.is_idle() for thread in self._threads)

    def close(self) -> None:
        """Write and sync the open batch, and release the medium."""
        if self._timer is not None:
            self._timer.cancel()
        self._hosted.close()
        self._medium.close()

    def abandon(self) -> None:
        """Release the medium without writing anything more, as if the process was killed."""
        if self._timer is not None:
            self._timer.cancel()
        # What is reported from here on is about a broker that is gone.
        self.failed = True
        for thread in self._threads:
            thread.abandon()
        self._medium.close()

    def _sync(self) -> None:
        self._store.sync_written()
        self._timer = self._loop.call_later(self._interval_s, self._sync)

    def _set_full(self, refusal: str) -> None:
        self.full = refusal
        if refusal:
            logger.warning("disk full: the write is retried", error=refusal)
        else:
            logger.warning("the disk is not full any more")

    def _fail(self, error: StorageError) -> None:
        if not self.failed:
            self.failed = True
            logger.error(
                "storage failed: nothing is confirmed any more",
                error=str(error),
                data_dir=str(self.directory),
            )
            self._on_failed()


def warn_of_unused_data(config: Config) -> None:
    """Warn of data in the data directory that a broker that keeps all in memory does not read."""
    try:
        directory = directory_of(config.storage.data_dir)
        unused = (directory / "head").exists()
    except (StorageError, OSError):
        return
    if unused:
        logger.warning(
            "storage.memory: the data in storage.data_dir are neither read nor changed",
            data_dir=str(directory),
        )


def _check_place(directory: Path) -> None:
    """Check that a directory is there, or can be made where it is to be.

    :raises StorageRefused: if something on its path is no directory.
    """
    for path in (directory, *directory.parents):
        if path.is_dir():
            return
        if path.exists():
            raise StorageRefused(f"{path} is no directory")


def _check_owner(medium: Medium, node_name: str) -> tuple[int, LogEnd]:
    """Check that a medium has the data of this node, or none. Returns the epoch in its head, and
    how much of the log was durable.

    :raises StorageRefused: if it has another node's.
    :raises StorageError: if its head cannot be read.
    """
    epoch, data = medium.read_head()
    head = decode_head_data(data)
    owner = head.node_name
    if owner not in (None, node_name):
        raise StorageRefused(
            f"holds the data of the node {owner!r}, and this one is {node_name!r}"
            " (server.node_name)"
        )
    return epoch, head.log_end
