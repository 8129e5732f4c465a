"""The numbers of queues and blobs of one store. Each is used once, also across restarts."""

from mypy_extensions import i64


class Numbers:
    """The next numbers to be used."""

    def __init__(self) -> None:
        self.next_queue: i64 = 1
        self.next_blob: i64 = 1

    def take_queue(self, reserved: int = 0) -> int:
        """A number for a queue; the next `reserved` numbers are reserved with it."""
        number = self.next_queue
        self.next_queue += 1 + reserved
        return int(number)

    def take_blob(self) -> int:
        """A number for a blob."""
        number = self.next_blob
        self.next_blob += 1
        return int(number)
