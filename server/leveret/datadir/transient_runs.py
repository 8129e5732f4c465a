"""Where a broker whose data are in a database has what need not survive it: a local directory.

Messages that do not fit into memory and are lost at a restart anyway go there: those of queues that
are not durable, and transient ones. Each store has a directory of its own in `storage.local_dir`,
which is emptied when the broker takes the store, and when it releases it; and at a start, for what
a killed process has left.
"""

from contextlib import ExitStack, suppress
from pathlib import Path

from leveret_storage.errors import DirectoryLocked, MediumFailed
from leveret_storage.media.blob_names import BLOBS_NAME
from leveret_storage.media.executor import OnFull, Post, ThreadExecutor
from leveret_storage.media.filesystem import DESCRIPTORS_MAX, FilesystemMedium
from leveret_storage.media.head_file import HEAD_NAME
from leveret_storage.store.context import RunMedium


def transient_directory(local_dir: Path, store: int) -> Path:
    """The directory of a store, by its number."""
    return local_dir / f"transient-{store}"


def remove_transient(local_dir: Path) -> None:
    """Delete what processes have left in the directories of all stores, but for those in use.

    :raises StorageError: if it cannot be deleted.
    """
    for directory in local_dir.glob("transient-*"):
        try:
            medium = FilesystemMedium(directory)
        except DirectoryLocked:
            continue
        try:
            _empty(directory)
        finally:
            medium.close()


class TransientRuns:
    """The directory of one store, and the threads that wait for its disk."""

    def __init__(
        self,
        local_dir: Path,
        store: int,
        post: Post,
        on_full: OnFull,
        files_max: int = DESCRIPTORS_MAX,
    ) -> None:
        """Make the directory if it is missing, and empty it.

        :param post: runs a callable where the store lives, from any thread.
        :param on_full: as in `ThreadExecutor`.
        :param files_max: files that may be open at a time.
        :raises StorageError: if another process uses it, or it cannot be written to.
        """
        directory = self._directory = transient_directory(local_dir, store)
        self._medium = FilesystemMedium(directory, descriptors_max=files_max)
        with ExitStack() as on_failure:
            on_failure.callback(self._medium.close)
            _empty(directory)
            self._medium.write_head(0, 1, b"")
            on_failure.pop_all()
        self._writing = ThreadExecutor(f"leveret-transient-write-{store}", post, on_full)
        self._reading = ThreadExecutor(f"leveret-transient-read-{store}", post)
        self.runs = RunMedium(self._medium, self._writing, self._reading)
        """What the store is given, which closes the threads with its own."""

    def free_bytes(self) -> int:
        """Free bytes of its file system. Raises ReadFailed."""
        return self._medium.free_bytes()

    def is_idle(self) -> bool:
        """Whether no thread has anything to do."""
        return self._writing.is_idle() and self._reading.is_idle()

    def close(self) -> None:
        """Empty the directory and release it, after the store was closed."""
        # If it cannot be emptied, whoever uses it next says so.
        with suppress(MediumFailed):
            _empty(self._directory)
        self._medium.close()

    def abandon(self) -> None:
        """End the threads without writing anything more, and release the directory, empty."""
        self._writing.abandon()
        self._reading.abandon()
        self.close()


def _empty(directory: Path) -> None:
    """Delete what an earlier process has left, whatever it is. The directory is locked."""
    try:
        for file in (directory / BLOBS_NAME).iterdir():
            file.unlink()
        (directory / HEAD_NAME).unlink(missing_ok=True)
    except OSError as error:
        raise MediumFailed(f"{directory} cannot be emptied: {error.strerror}") from error
