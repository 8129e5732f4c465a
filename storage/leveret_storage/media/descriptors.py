"""A bounded cache of the open descriptors of a directory's files, least recently used first out.

A descriptor with unsynced bytes is synced before it is evicted. The kernel reports an error in
writing those bytes back to the descriptors that are open when it happens; if none is open the error
is lost, and a later sync through a new descriptor succeeds.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import Condition


class Descriptor:
    """One open file."""

    def __init__(self, name: str, fd: int) -> None:
        self.name = name
        self.fd = fd
        self.users = 1
        self.unsynced = False
        self.dropped = False


class Descriptors:
    """Descriptors by name, for any number of threads; each thread borrows one at a time.

    `sync` makes a descriptor's bytes durable, or remembers that it could not. It is called outside
    the lock, and does not raise, as the thread that evicts may only want to read.
    """

    def __init__(
        self, directory_fd: int, flags: int, limit: int, sync: Callable[[Descriptor], None]
    ) -> None:
        if limit < 1:
            raise ValueError(f"at least one descriptor is needed, not {limit}")
        self._directory_fd = directory_fd
        self._flags = flags | os.O_CLOEXEC
        self._limit = limit
        self._sync = sync
        self._changed = Condition()
        self._by_name: OrderedDict[str, Descriptor] = OrderedDict()
        self._open = 0

    @contextmanager
    def borrow(self, name: str, *, create: bool = False) -> Generator[Descriptor, None, None]:
        """The descriptor of a file, opened if necessary; with `create` the file is created.

        Waits while all descriptors are in use. Raises OSError as open does.
        """
        descriptor = self._acquire(name, create)
        try:
            yield descriptor
        finally:
            self._release(descriptor)

    def drop(self, name: str) -> None:
        """Close the descriptor of a file that was deleted, after its users have released it."""
        with self._changed:
            descriptor = self._by_name.pop(name, None)
            if descriptor is not None:
                descriptor.dropped = True
                if descriptor.users == 0:
                    self._close(descriptor)

    def close(self) -> None:
        """Close all, syncing nothing. None may be in use."""
        with self._changed:
            while self._by_name:
                self._close(self._by_name.popitem()[1])

    def _acquire(self, name: str, create: bool) -> Descriptor:
        with self._changed:
            while True:
                found = self._by_name.get(name)
                if found is not None and not create:
                    self._by_name.move_to_end(name)
                    found.users += 1
                    return found
                if self._open < self._limit:
                    return self._open_file(name, create)
                self._evict_one()

    def _open_file(self, name: str, create: bool) -> Descriptor:
        flags = self._flags | (os.O_CREAT | os.O_EXCL if create else 0)
        fd = os.open(name, flags, 0o600, dir_fd=self._directory_fd)
        descriptor = Descriptor(name, fd)
        self._by_name[name] = descriptor
        self._open += 1
        return descriptor

    def _evict_one(self) -> None:
        """Close or sync the idle descriptor used longest ago, or wait; the caller tries again."""
        unused = [each for each in self._by_name.values() if each.users == 0]
        idle = next((each for each in unused if not each.unsynced), unused[0] if unused else None)
        if idle is None:
            self._changed.wait()
        elif idle.unsynced:
            idle.users += 1
            self._changed.release()
            try:
                self._sync(idle)
            finally:
                self._changed.acquire()
                idle.unsynced = False
                self._end_use(idle)
        else:
            del self._by_name[idle.name]
            self._close(idle)

    def _release(self, descriptor: Descriptor) -> None:
        with self._changed:
            self._end_use(descriptor)

    def _end_use(self, descriptor: Descriptor) -> None:
        descriptor.users -= 1
        if descriptor.users == 0:
            if descriptor.dropped:
                self._close(descriptor)
            self._changed.notify()

    def _close(self, descriptor: Descriptor) -> None:
        os.close(descriptor.fd)
        self._open -= 1
        self._changed.notify()
