"""A shared log in memory: what several brokers of one process share, and its faults on order."""

from collections.abc import Callable, Sequence
from threading import Lock

from leveret_storage.errors import DataLost, MediumFailed, StorageError
from leveret_storage.shared_log import Reading, SharedLog, SharedRecord


class LogContents:
    """What all handles of a log see."""

    def __init__(self, deletions_max: int = 3) -> None:
        self.lock = Lock()
        """Of everything here: each handle is used by a thread of its own."""
        self.version = 0
        self.oldest = 0
        self.records: dict[bytes, tuple[int, bytes | None]] = {}
        self.handles: list[MemorySharedLog] = []
        self._deletions_max = deletions_max

    def append(self, records: Sequence[SharedRecord]) -> None:
        for key, data in records:
            self.version += 1
            self.records.pop(key, None)
            self.records[key] = (self.version, data)
        deleted = [(at, key) for key, (at, data) in self.records.items() if data is None]
        for at, key in sorted(deleted)[: -self._deletions_max]:
            self.oldest = at
            del self.records[key]

    def tell(self) -> None:
        """Tell all brokers of a change."""
        for handle in self.handles:
            handle.tell()


class MemorySharedLog(SharedLog):
    """A handle of one broker."""

    def __init__(self, contents: LogContents) -> None:
        self.contents = contents
        contents.handles.append(self)
        self.away = ""
        self.append_errors: list[StorageError] = []
        """What the next appends end with."""
        self._seen = 0
        self._closed = False
        self._watchers: list[Callable[[], None]] = []

    @property
    def reason(self) -> str:
        return self.away

    def read(self, after_version: int) -> Reading:
        with self.contents.lock:
            return self._read(after_version)

    def _read(self, after_version: int) -> Reading:
        self._check()
        contents = self.contents
        is_everything = after_version == 0 or after_version < contents.oldest
        found = sorted(
            (at, SharedRecord(key, data))
            for key, (at, data) in contents.records.items()
            if at > after_version or is_everything
        )
        return Reading(contents.version, tuple(record for _, record in found), is_everything)

    def append(self, expected_version: int, records: Sequence[SharedRecord]) -> int | None:
        with self.contents.lock:
            self._check()
            if self.append_errors:
                raise self.append_errors.pop(0)
            if self.contents.version != expected_version:
                return None
            self.contents.append(list({record.key: record for record in records}.values()))
            self._seen = version = self.contents.version
        self.contents.tell()
        return version

    def _check(self) -> None:
        if self._closed:
            raise MediumFailed("the shared log was closed")
        if self.contents.version < self._seen:
            raise DataLost(f"the shared log has version {self.contents.version}")
        self._seen = self.contents.version

    def watch(self, changed: Callable[[], None]) -> None:
        self._watchers.append(changed)
        changed()

    def tell(self) -> None:
        for changed in self._watchers:
            changed()

    def close(self) -> None:
        self._closed = True
