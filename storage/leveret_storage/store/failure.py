"""The first failure of a store. After it nothing more is written or reported as durable."""

from collections.abc import Callable
from typing import Any

from leveret_storage.errors import StorageError


class StoreFailure:
    """Remembers the first failure and reports it, once."""

    def __init__(self, on_failed: Callable[[StorageError], None]) -> None:
        self.failed = False
        self._on_failed = on_failed

    def fail(self, error: StorageError) -> None:
        """Note a failure, and report it if it is the first."""
        if not self.failed:
            self.failed = True
            self._on_failed(error)

    def check(self, result: Any) -> None:
        """Fail if the result of an executor's job is a StorageError."""
        if isinstance(result, StorageError):
            self.fail(result)
