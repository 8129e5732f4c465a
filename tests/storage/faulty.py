"""The medium of the tests: in memory, deterministic from its seed, and as bad as POSIX allows.

What it does without being asked, at `crash()`, which is power loss:

- Of the bytes appended to a blob since its last sync any part survives, byte for byte, and any part
  is lost: whole appends, in any order, or torn at any byte, at both ends. POSIX promises nothing
  between write and fsync, file systems write back pages in an order of their own, and sizes apart
  from contents. Where surviving bytes follow lost ones, they read as zeros (a hole); otherwise
  the blob ends before them. Bytes of something never appended there are not made up: file systems
  that show the old contents of a block are not in use under databases.
- An append that was refused with ENOSPC may have left bytes, which lay behind the blob's end and
  are found there, until a later sync of the blob.
- Behind the bytes of a blob with a preallocated tail zeros are found, up to where they were
  written.
- Of several commits in flight those that `answer` was called for are durable, whatever became of
  the ones before them.
- A created blob not synced may be gone. A deleted one may be back, until a head was written. Each
  name stops at any of its changes, whatever the others do: a directory is synced as a whole or its
  entries in any order.
- The head is the last written, always whole: that is what rename is for. If the crash came while
  one was being written, it is that one or the one before.

`kill()` is the death of the process alone: all is as the process saw it, and what was not synced
can still be lost to a later power loss.

What it does on request, through `faults` (number of a call -> what happens in it; `calls` counts,
from 1, every call but free_bytes and close that has not been refused for what it asks):

- CRASH: the call is begun, has any part of its effect, and raises Crashed, as does every later
  call.
- ENOSPC: the call raises MediumFull and has no effect to be seen. A sync that finds no space is a
  failed sync: delayed allocation.
- EIO: reading raises ReadFailed. Writing raises MediumFailed, after any part of the effect. A sync
  that failed is the cruel case: the kernel may drop the pages and call them clean, so the bytes are
  read on, even by the next process, no later sync writes them, and power loss takes them away.

A fault that cannot happen in its call (ENOSPC in one that only reads or deletes) waits for the next
in which it can. `capacity_bytes` makes the medium fill up, of which it sets `reserve_bytes` aside:
while appends use these, `free_bytes` is 0. `flip()` changes a bit, `usurp()` lets
another owner take the medium. It is for one thread at a time: with two there would be no seed.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from enum import Enum
from random import Random
from typing import Final, NamedTuple

from leveret_storage.errors import (
    BlobExists,
    LostEpoch,
    MediumFailed,
    MediumFull,
    NoSuchBlob,
    ReadFailed,
    StorageError,
)
from leveret_storage.medium import Data, Medium, check_head, check_name, check_range, joined

PETABYTE: Final = 10**15


class Fault(Enum):
    """What can be made to happen in a call."""

    CRASH = "crash"
    ENOSPC = "ENOSPC"
    EIO = "EIO"


class Crashed(BaseException):
    """The process is dead: no code of it runs on, so nothing that handles errors may catch this."""


class UnsyncedAppend:
    """Bytes of a blob that no sync has covered."""

    def __init__(self, offset: int, data: bytes) -> None:
        self.offset = offset
        self.data = data
        self.dropped = False
        """After a failed sync: read on, and never written."""

    @property
    def end(self) -> int:
        return self.offset + len(self.data)


class BegunAppend(NamedTuple):
    """An append that is durable when the test says so."""

    name: str
    append: UnsyncedAppend
    answer: Callable[[StorageError | None], None]


class Inode:
    """A blob's bytes, as they are read and as they are on the disk."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.size_synced = 0
        self.zeros_end = 0
        """Up to where zeros were written ahead, and synced."""
        self.unsynced: list[UnsyncedAppend] = []
        self.refused: list[UnsyncedAppend] = []

    def append(self, data: bytes) -> None:
        self.unsynced.append(UnsyncedAppend(len(self.content), data))
        self.content += data

    def sync(self) -> None:
        self.size_synced = len(self.content)
        self.unsynced = [append for append in self.unsynced if append.dropped]
        self.refused = []

    def sync_one(self, append: UnsyncedAppend) -> None:
        """Make one append durable, which says nothing of those before it."""
        if not append.dropped:
            self.size_synced = max(self.size_synced, append.end)
            self.unsynced.remove(append)
            self.refused = [each for each in self.refused if each.offset >= append.end]

    def lose_power(self, random: Random) -> None:
        """Keep what was synced, and any part of what was not."""
        disk = bytearray(self.content)
        for append in self.unsynced:
            disk[append.offset : append.end] = bytes(len(append.data))
        kept_to = self.size_synced
        for append in (*self.refused, *self.unsynced):
            for start, end in _kept_parts(len(append.data), random):
                disk += bytes(max(0, append.offset + end - len(disk)))
                disk[append.offset + start : append.offset + end] = append.data[start:end]
                kept_to = max(kept_to, append.offset + end)
        # The size is one more thing not synced: zeros may follow the bytes that survived.
        if random.random() < 0.3:
            kept_to = random.randint(kept_to, max(kept_to, len(self.content)))
        self.content = disk[:kept_to]
        self.unsynced, self.refused = [], []
        self.size_synced = kept_to
        self.show_zeros()

    def show_zeros(self) -> None:
        """The process has died that knew where the bytes end."""
        self.content += bytes(max(0, self.zeros_end - len(self.content)))


class State:
    """What outlives a process: the disk, and what the kernel holds of it."""

    def __init__(self) -> None:
        self.names: dict[str, Inode] = {}
        self.names_durable: dict[str, Inode] = {}
        self.changes: list[tuple[str, Inode | None]] = []
        """Creations, and deletions (None), that no sync has covered, in order."""
        self.epoch = 0
        self.head = b""
        self.salvaged: dict[str, bytes] = {}
        """What was set aside, durably."""

    def set_name(self, name: str, inode: Inode | None) -> None:
        self.changes.append((name, inode))
        _change(self.names, name, inode)

    def sync_name(self, name: str) -> None:
        _change(self.names_durable, name, self.names.get(name))
        self.changes = [change for change in self.changes if change[0] != name]

    def sync_names(self) -> None:
        self.names_durable = dict(self.names)
        self.changes = []

    def show_zeros(self) -> None:
        for inode in self.names.values():
            inode.show_zeros()

    def lose_power(self, random: Random) -> None:
        for name in sorted({name for name, _ in self.changes}):
            changes = [inode for changed, inode in self.changes if changed == name]
            surviving = random.randint(0, len(changes))
            if surviving:
                _change(self.names_durable, name, changes[surviving - 1])
        self.names = self.names_durable
        self.sync_names()
        for name in sorted(self.names):
            self.names[name].lose_power(random)


class FaultyMedium(Medium):
    """A handle on the simulated disk. The module says what it allows itself."""

    def __init__(
        self,
        seed: int,
        *,
        faults: Mapping[int, Fault] | None = None,
        capacity_bytes: int = PETABYTE,
        state: State | None = None,
        commits_in_flight_max: int = 1,
        begins_at_once: bool | None = None,
        reserve_bytes: int = 0,
    ) -> None:
        """`begins_at_once` is what becomes of `append_synced_at_once` where it can be done; None
        for a different thing each time."""
        self.reserve_bytes = reserve_bytes
        self.commits_in_flight_max = commits_in_flight_max
        self._begins_at_once = begins_at_once
        self._begun: list[BegunAppend] = []
        self.calls = 0
        self.capacity_bytes = capacity_bytes
        self._random = Random(seed)
        self._faults = dict(faults or {})
        self._state = state or State()
        self._owned_epoch = 0
        self._failure = ""
        self._dead = False
        self._closed = False

    # --- what tests do to it ----------------------------------------------------------------

    def crash(self, faults: Mapping[int, Fault] | None = None) -> "FaultyMedium":
        """The power goes, now or in the call that raised Crashed: what the next process finds."""
        self._dead = True
        state = deepcopy(self._state)
        state.lose_power(self._random)
        return self._next(state, faults)

    def kill(self, faults: Mapping[int, Fault] | None = None) -> "FaultyMedium":
        """The process dies, the machine does not: what the next process finds."""
        self._dead = True
        state = deepcopy(self._state)
        state.show_zeros()
        return self._next(state, faults)

    def lose_differently(self) -> None:
        """Have the next crash lose something else than it would have lost."""
        self._random.random()

    def fail_next(self, fault: Fault) -> None:
        """Have the next call fail that can."""
        self._faults[self.calls + 1] = fault

    def begun(self) -> int:
        """How many appends were begun and are not answered."""
        return len(self._begun)

    def answer(self, which: int) -> None:
        """Make one of them durable, and say so; or fail, if that is the fault of this call."""
        begun = self._begun.pop(which)
        if self._failure:
            begun.answer(MediumFailed(self._failure))
            return
        fault = self._fault(Fault.CRASH, Fault.EIO)
        inode = self._state.names[begun.name]
        if fault is Fault.EIO:
            begun.append.dropped = self._random.random() < 0.5
        elif fault is None or self._random.random() < 0.5:
            inode.sync_one(begun.append)
            self._state.sync_name(begun.name)
        try:
            self._end(fault, "sync", begun.name)
        except MediumFailed as error:
            begun.answer(error)
        else:
            begun.answer(None)

    def salvaged(self) -> dict[str, bytes]:
        """What was set aside, by name."""
        return dict(self._state.salvaged)

    def flip(self, name: str, offset: int, bit: int) -> None:
        """Change one bit (0 to 7) of a blob, on the disk and in memory."""
        inode = self._state.names[name]
        inode.content[offset] ^= 1 << bit

    def truncate(self, name: str, size: int) -> None:
        """Cut a blob to its first bytes, as something outside the storage may do."""
        inode = self._state.names[name]
        del inode.content[size:]
        inode.sync()

    def lose(self, name: str) -> None:
        """Remove a blob, as something outside the storage may do."""
        self._state.set_name(name, None)
        self._state.sync_names()

    def usurp(self, epoch: int, data: bytes = b"") -> None:
        """Another owner takes the medium with an epoch above the one that is there."""
        assert epoch > self._state.epoch
        self._state.sync_names()
        self._state.epoch, self._state.head = epoch, data

    # --- the calls --------------------------------------------------------------------------

    def create(self, name: str) -> None:
        check_name(name)
        self._check_writable()
        if name in self._state.names:
            raise BlobExists(f"{name} exists already")
        fault = self._fault(Fault.CRASH, Fault.ENOSPC, Fault.EIO)
        if fault is Fault.ENOSPC:
            raise MediumFull(f"no space to create {name}")
        if fault is None or self._random.random() < 0.5:
            self._state.set_name(name, Inode())
        self._end(fault, "create", name)

    def append(self, name: str, data: Data) -> int:
        data = joined(data)
        check_name(name)
        self._check_writable()
        inode = self._inode(name)
        fault = self._fault(Fault.CRASH, Fault.ENOSPC, Fault.EIO)
        offset = len(inode.content)
        if fault is Fault.ENOSPC or len(data) > self._room():
            inode.refused.append(UnsyncedAppend(offset, data[: self._random.randint(0, len(data))]))
            raise MediumFull(f"no space to append {len(data)} bytes to {name}")
        if fault is Fault.EIO:
            data = data[: self._random.randint(0, len(data))]
        inode.append(data)
        self._end(fault, "append to", name)
        return offset

    def sync(self, name: str) -> None:
        check_name(name)
        self._check_writable()
        inode = self._inode(name)
        while name in (names := [begun.name for begun in self._begun]):
            self.answer(names.index(name))
            self._check_writable()
        fault = self._fault(Fault.CRASH, Fault.ENOSPC, Fault.EIO)
        if fault in (Fault.ENOSPC, Fault.EIO):
            for append in inode.unsynced:
                append.dropped = append.dropped or self._random.random() < 0.5
        elif fault is None or self._random.random() < 0.5:
            inode.sync()
            if fault is None or self._random.random() < 0.5:
                self._state.sync_name(name)
        self._end(fault, "sync", name)

    def append_synced(self, name: str, data: Data) -> int:
        offset = self.append(name, data)
        self.sync(name)
        return offset

    def append_synced_later(
        self, name: str, data: Data, answer: Callable[[StorageError | None], None]
    ) -> int:
        assert len(self._begun) < self.commits_in_flight_max
        offset = self.append(name, data)
        self._begun.append(BegunAppend(name, self._inode(name).unsynced[-1], answer))
        return offset

    def append_synced_at_once(
        self, name: str, data: Data, answer: Callable[[StorageError | None], None]
    ) -> bool:
        if self.commits_in_flight_max == 1 or self._begun:
            return False
        begins = self._begins_at_once
        if not (self._random.random() < 0.5 if begins is None else begins):
            return False
        try:
            self.append_synced_later(name, data, answer)
        except StorageError:
            return False
        return True

    def preallocate(self, name: str, size: int) -> None:
        check_name(name)
        self._check_writable()
        inode = self._inode(name)
        fault = self._fault(Fault.CRASH, Fault.EIO)
        wanted = len(inode.content) + size
        if fault is not None:
            wanted = self._random.randint(len(inode.content), wanted)
        inode.zeros_end = max(inode.zeros_end, wanted)
        self._end(fault, "write ahead in", name)

    def read(self, name: str, offset: int, size: int) -> bytes:
        check_name(name)
        check_range(offset, size)
        self._check_alive()
        inode = self._inode(name)
        self._end_read(self._fault(Fault.CRASH, Fault.EIO), name)
        return bytes(inode.content[offset : offset + size])

    def size(self, name: str) -> int:
        check_name(name)
        self._check_alive()
        inode = self._inode(name)
        self._end_read(self._fault(Fault.CRASH, Fault.EIO), name)
        return len(inode.content)

    def list(self) -> frozenset[str]:
        self._check_alive()
        self._end_read(self._fault(Fault.CRASH, Fault.EIO), "the names")
        return frozenset(self._state.names)

    def delete(self, name: str) -> None:
        check_name(name)
        self._check_writable()
        self._inode(name)
        fault = self._fault(Fault.CRASH, Fault.EIO)
        if fault is None or self._random.random() < 0.5:
            self._state.set_name(name, None)
        self._end(fault, "delete", name)

    def read_head(self) -> tuple[int, bytes]:
        self._check_alive()
        self._end_read(self._fault(Fault.CRASH, Fault.EIO), "the head")
        return self._state.epoch, self._state.head

    def write_head(self, expected_epoch: int, epoch: int, data: bytes) -> None:
        check_head(expected_epoch, epoch, data)
        self._check_not_failed()
        if epoch == expected_epoch != self._owned_epoch:
            raise LostEpoch("not taken by this owner, or lost")
        if self._state.epoch != expected_epoch:
            self._owned_epoch = 0
            raise LostEpoch(f"the owner has epoch {self._state.epoch}, not {expected_epoch}")
        fault = self._fault(Fault.CRASH, Fault.ENOSPC, Fault.EIO)
        if fault is Fault.ENOSPC:
            raise MediumFull("no space to write the head")
        if fault is None or self._random.random() < 0.5:
            self._state.sync_names()
            if fault is None or self._random.random() < 0.5:
                self._state.epoch, self._state.head = epoch, data
        self._end(fault, "write", "the head")
        self._owned_epoch = epoch

    def set_aside(self, name: str, data: bytes) -> str:
        check_name(name)
        self._check_writable()
        return self._set_aside(name, data)

    def set_head_aside(self, name: str) -> str:
        check_name(name)
        self._check_not_failed()
        where = self._set_aside(name, self._state.head)
        self._owned_epoch = 0
        self._state.epoch, self._state.head = 0, b""
        return where

    def _set_aside(self, name: str, data: bytes) -> str:
        fault = self._fault(Fault.CRASH, Fault.ENOSPC, Fault.EIO)
        if fault is Fault.ENOSPC:
            raise MediumFull(f"no space to set {name} aside")
        if fault is None or self._random.random() < 0.5:
            self._state.salvaged[name] = data
        self._end(fault, "set aside", name)
        return name

    def free_bytes(self) -> int:
        return max(0, self._room() - self.reserve_bytes)

    def _room(self) -> int:
        used = sum(len(inode.content) for inode in self._state.names.values())
        return max(0, self.capacity_bytes - used)

    def close(self) -> None:
        self._closed = True

    # --- faults -----------------------------------------------------------------------------

    def _next(self, state: State, faults: Mapping[int, Fault] | None) -> "FaultyMedium":
        seed = self._random.getrandbits(64)
        return FaultyMedium(
            seed,
            faults=faults,
            capacity_bytes=self.capacity_bytes,
            state=state,
            commits_in_flight_max=self.commits_in_flight_max,
            begins_at_once=self._begins_at_once,
            reserve_bytes=self.reserve_bytes,
        )

    def _fault(self, *possible: Fault) -> Fault | None:
        """Count a call, and say what is to happen in it."""
        self.calls += 1
        fault = self._faults.pop(self.calls, None)
        if fault is not None and fault not in possible:
            later = self.calls + 1
            while later in self._faults:
                later += 1
            self._faults[later] = fault
            return None
        return fault

    def _end(self, fault: Fault | None, verb: str, name: str) -> None:
        """The end of a call that writes, with its effect as far as it got."""
        if fault is Fault.CRASH:
            self._dead = True
            raise Crashed(f"in call {self.calls}, to {verb} {name}")
        if fault is not None:
            self._failure = f"cannot {verb} {name}: {fault.value} in call {self.calls}"
            raise MediumFailed(self._failure)

    def _end_read(self, fault: Fault | None, name: str) -> None:
        if fault is Fault.CRASH:
            self._dead = True
            raise Crashed(f"in call {self.calls}, to read {name}")
        if fault is not None:
            raise ReadFailed(f"cannot read {name}: {fault.value} in call {self.calls}")

    def _inode(self, name: str) -> Inode:
        inode = self._state.names.get(name)
        if inode is None:
            raise NoSuchBlob(f"{name} does not exist")
        return inode

    def _check_alive(self) -> None:
        if self._dead:
            raise Crashed("the process died before")
        if self._closed:
            raise ValueError("the medium was closed")

    def _check_not_failed(self) -> None:
        self._check_alive()
        if self._failure:
            raise MediumFailed(self._failure)

    def _check_writable(self) -> None:
        self._check_not_failed()
        if self._owned_epoch == 0 or self._owned_epoch != self._state.epoch:
            raise LostEpoch("not taken by this owner, or lost")


def _change(names: dict[str, Inode], name: str, inode: Inode | None) -> None:
    if inode is None:
        names.pop(name, None)
    else:
        names[name] = inode


def _kept_parts(size: int, random: Random) -> list[tuple[int, int]]:
    """Which bytes of an append survive: all, none, or what some cuts leave."""
    fate = random.randrange(6)
    if fate == 0 or size == 0:
        return [(0, size)] if size else []
    if fate == 1:
        return []
    first, second = sorted((random.randint(0, size), random.randint(0, size)))
    parts = {
        2: [(0, first)],
        3: [(first, size)],
        4: [(first, second)],
        5: [(0, first), (second, size)],
    }
    return [(start, end) for start, end in parts[fate] if start < end]
