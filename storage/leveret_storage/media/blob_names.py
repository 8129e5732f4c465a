"""Which names in blobs/ are durable: syncing a file says nothing of its name in the directory."""

from threading import Lock
from typing import Final

from leveret_storage.media.io_errors import IoErrors

BLOBS_NAME: Final = "blobs"


class BlobNames:
    """Counts creations and deletions in blobs/, and syncs the directory where that is needed."""

    def __init__(self, blobs_fd: int, errors: IoErrors) -> None:
        self._blobs_fd = blobs_fd
        self._errors = errors
        self._mutex = Lock()
        # The process before may have left a change that is not synced.
        self._changes = 1
        self._changes_synced = 0
        self._created_at: dict[str, int] = {}
        """By name that may not be durable, the number of the change that created it."""

    def created(self, name: str) -> None:
        """A blob was created."""
        with self._mutex:
            self._changes += 1
            self._created_at[name] = self._changes

    def deleted(self, name: str) -> None:
        """A blob was deleted."""
        with self._mutex:
            self._changes += 1
            self._created_at.pop(name, None)

    def is_durable(self, name: str) -> bool:
        """Whether the name of a blob that this process created was synced since."""
        return name not in self._created_at

    def sync(self, name: str) -> None:
        """Make the name of one blob durable.

        :raises MediumFailed:
        """
        with self._mutex:
            created_at = self._created_at.get(name, 1)
        if created_at > self._changes_synced:
            self._sync()

    def sync_all(self) -> None:
        """Make all creations and deletions durable.

        :raises MediumFailed:
        """
        if self._changes > self._changes_synced:
            self._sync()

    def _sync(self) -> None:
        with self._mutex:
            changes = self._changes
        self._errors.sync_directory(BLOBS_NAME, self._blobs_fd)
        with self._mutex:
            self._changes_synced = max(self._changes_synced, changes)
            for name in [name for name, at in self._created_at.items() if at <= changes]:
                del self._created_at[name]
