"""A medium that is full when a test says so.

While it is full every call that takes space raises MediumFull without an effect, as on a disk
without space, and free space is 0. Reading and deleting go on. It is put around another medium.
"""

from collections.abc import Callable

from leveret_storage.errors import MediumFull, StorageError
from leveret_storage.medium import Data, Medium


class FillableMedium(Medium):
    """A medium around another one."""

    def __init__(self, inner: Medium) -> None:
        self._inner = inner
        self.commits_in_flight_max = inner.commits_in_flight_max
        self.large_body_bytes = inner.large_body_bytes
        self.bytes_in_flight = inner.bytes_in_flight
        self.full = False
        """Whether it refuses what takes space; set from any thread."""

    def _take_space(self) -> None:
        """Refuse a call that takes space, if the medium is full.

        :raises MediumFull: if it is.
        """
        if self.full:
            raise MediumFull("no space left on device: the test has ordered it")

    def create(self, name: str) -> None:
        self._take_space()
        self._inner.create(name)

    def append(self, name: str, data: Data) -> int:
        self._take_space()
        return self._inner.append(name, data)

    def sync(self, name: str) -> None:
        self._inner.sync(name)

    def append_synced(self, name: str, data: Data) -> int:
        self._take_space()
        return self._inner.append_synced(name, data)

    def append_synced_later(
        self, name: str, data: Data, answer: Callable[[StorageError | None], None]
    ) -> int:
        self._take_space()
        return self._inner.append_synced_later(name, data, answer)

    def preallocate(self, name: str, size: int) -> None:
        if not self.full:
            self._inner.preallocate(name, size)

    def read(self, name: str, offset: int, size: int) -> bytes:
        return self._inner.read(name, offset, size)

    def size(self, name: str) -> int:
        return self._inner.size(name)

    def list(self) -> frozenset[str]:
        return self._inner.list()

    def foreign_names(self) -> frozenset[str]:
        return self._inner.foreign_names()

    def delete(self, name: str) -> None:
        self._inner.delete(name)

    def read_head(self) -> tuple[int, bytes]:
        return self._inner.read_head()

    def write_head(self, expected_epoch: int, epoch: int, data: bytes) -> None:
        self._take_space()
        self._inner.write_head(expected_epoch, epoch, data)

    def set_aside(self, name: str, data: bytes) -> str:
        self._take_space()
        return self._inner.set_aside(name, data)

    def set_head_aside(self, name: str) -> str:
        self._take_space()
        return self._inner.set_head_aside(name)

    def watch(self, changed: Callable[[str], None]) -> None:
        self._inner.watch(changed)

    def free_bytes(self) -> int:
        return 0 if self.full else self._inner.free_bytes()

    def close(self) -> None:
        self._inner.close()
