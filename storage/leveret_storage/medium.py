"""The medium: the interface to where a store's data lie.

A medium holds **blobs**, which only grow at their end, and one **head**, a small record that is
replaced as a whole. Nothing is written in place, nothing live is renamed, the order of names means
nothing. The local directory (media/filesystem.py) and the faulty medium of the tests implement it.
A replicated engine can, too: the rules are no stronger than a store needs.

Everything of a store on disk goes through this interface, also what a salvage sets aside.

What is durable, that is, present after power loss at any instant:

- Of a blob: the bytes, and the existence, that a later `sync` of this blob covered. Nothing else.
  Of the bytes appended since, any part may be present or lost: later ones where earlier ones are
  lost, cut at any byte. Where bytes are lost before others that are present, zeros are read.
- Behind the bytes of a blob with a preallocated tail (`preallocate`) the next process may find
  zeros: at most as many as were preallocated, whether power was lost or not.
- Of names: a blob created and never synced may be lost. A deleted one may be present again, until
  a later `write_head` returned. So a name is used once: what is found under a name used twice may
  be the first blob.
- The head: the last one that `write_head` returned for, or the one it was writing. A process that
  finds a head does not find any blob that was deleted before that head was written.
- The death of the process alone loses nothing, and makes nothing durable: what is read after a
  start has to be synced before anything depends on it.

Owners and epochs: a medium is written by one owner, known by its epoch, a number that only grows. A
handle takes the medium with its first `write_head` (expected: the epoch read; new: a larger one)
and may write nothing before. After another owner has taken it, every call that writes raises
LostEpoch, and has no effect.

After MediumFailed every call that writes raises MediumFailed. Calls that read still work, but bytes
that they return and that were not synced may not be on the disk. MediumFull is no failure.

Several commits in flight: `append_synced_later` begins an append and returns; up to
`commits_in_flight_max` of them may be under way. What is appended lies in the order in which the
calls began. The medium answers them in any order, and each answer is about its own bytes alone, as
if each were the only one a `sync` covered: a crash may keep a later append and lose an earlier one.
`sync` of a blob returns when all appends to it that began before are answered and durable.

Calls block, and may be made from any thread. Of those that change one blob (append, append_synced,
sync, delete) one at a time; on different blobs at the same time. `preallocate` runs beside all but
`delete`. `write_head` one at a time. Calls that read run beside everything; they see each append
that returned before, and any part of one under way.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, TypeAlias

from leveret_storage.errors import StorageError

NAME_BYTES_MAX: Final = 100
"""Bytes of a blob's name: enough for two numbers of 20 digits and words around them, and far below
the 255 of any file system."""

HEAD_BYTES_MAX: Final = 4000
"""Bytes of the head's data: framed it fits into one 4 KiB block. Larger data belong in a blob that
the head names."""

LARGE_BODY_BYTES: Final = 256 * 1024
"""Bytes of a body from which on a message may wait for a disk of this machine: smaller ones are
written as fast as they are delivered."""

BYTES_IN_FLIGHT: Final = 2 * 1024 * 1024
"""Bytes that wait to be written to a disk of this machine, above which publishers should be
throttled: the confirms of others wait behind them, and behind as many that are being written, some
4 ms each on a disk that writes 500 MB a second."""

EPOCH_MAX: Final = 2**63 - 1
"""The largest epoch: what a signed column of 64 bits holds."""

# No capitals: some file systems do not distinguish them from small letters. No leading dot or dash:
# tools treat such names specially.
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")


Data: TypeAlias = bytes | list[bytes]
"""Bytes, or their parts in order: so long ones are not joined before they are written."""


class Medium(ABC):
    """A handle of one owner, or of a reader. The rules for all calls are in the module
    docstring."""

    commits_in_flight_max: int = 1
    """Calls of `append_synced_later` that may be under way at one time, from 1. Where it is 1, a
    caller does as well with `append_synced`."""

    large_body_bytes: int = LARGE_BODY_BYTES
    """Bytes of a body from which on a message may wait for the medium beside smaller ones, as long
    as there are many: its consumer may acknowledge it before it is written."""

    bytes_in_flight: int = BYTES_IN_FLIGHT
    """Bytes that wait to be written, above which publishers should be throttled. The longer the
    medium takes to answer, the more of them keep it busy."""

    may_be_away: bool = False
    """Whether calls may wait for long, because the medium is elsewhere."""

    @abstractmethod
    def create(self, name: str) -> None:
        """Create an empty blob.

        Not durable before the first `sync` of it. Raises BlobExists, MediumFull (no blob was made),
        MediumFailed, LostEpoch.
        """

    @abstractmethod
    def append(self, name: str, data: Data) -> int:
        """Append all of `data` to the blob, and return the offset it begins at.

        Not durable before a later `sync`. Raises NoSuchBlob, LostEpoch, MediumFailed, and
        MediumFull: then the blob is as it was before and the append may be tried again. After power
        loss bytes of the refused data may be found where they would have been, as of any append not
        synced.
        """

    @abstractmethod
    def sync(self, name: str) -> None:
        """Make durable what was appended before this call, by any owner, and the blob's existence.

        Raises NoSuchBlob, LostEpoch, and MediumFailed for every failure, a full disk included: some
        of the bytes may be durable, any may be lost, and no later call can tell.
        """

    @abstractmethod
    def append_synced(self, name: str, data: Data) -> int:
        """`append`, then `sync`, in less time than two calls take. Raises what they raise."""

    def append_synced_later(
        self, name: str, data: Data, answer: Callable[[StorageError | None], None]
    ) -> int:
        """Begin `append_synced` of `data`, and return the offset it begins at.

        `answer` is called once, from any thread, possibly before this returns: with None when the
        bytes are durable, or with MediumFailed or LostEpoch. Raises what `append` raises; then
        nothing was begun, and `answer` is not called.
        """
        offset = self.append_synced(name, data)
        answer(None)
        return offset

    def append_synced_at_once(
        self, name: str, data: Data, answer: Callable[[StorageError | None], None]
    ) -> bool:
        """Do what `append_synced_later` does, if nothing is in flight and nothing has to be waited
        for; whether it was done.

        For the event loop: where an answer is awaited before the next append begins, handing the
        append to a thread takes longer than beginning it. Waits for nothing, and raises nothing. If
        it was not done, it had no effect, and `answer` is not called.
        """
        return False

    @abstractmethod
    def preallocate(self, name: str, size: int) -> None:
        """Preallocate the next `size` bytes behind the end, where that makes it quicker to sync
        them.

        What the blob holds does not change. On a full medium this does nothing. Raises NoSuchBlob,
        LostEpoch, MediumFailed.
        """

    @abstractmethod
    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`: fewer where the blob ends, none behind its end.

        Raises NoSuchBlob, ReadFailed.
        """

    @abstractmethod
    def size(self, name: str) -> int:
        """Return the bytes in the blob. Raises NoSuchBlob, ReadFailed."""

    @abstractmethod
    def list(self) -> frozenset[str]:
        """Return the names of all blobs. Raises ReadFailed."""

    def foreign_names(self) -> frozenset[str]:
        """Return what is found beside the blobs and is none, for a warning. Raises ReadFailed."""
        return frozenset()

    @abstractmethod
    def delete(self, name: str) -> None:
        """Delete the blob. A `read` of it that has begun is not affected.

        Not durable before a later `write_head`: until then power loss may restore the blob, with
        all that was synced of it. Raises NoSuchBlob, LostEpoch, MediumFailed.
        """

    @abstractmethod
    def read_head(self) -> tuple[int, bytes]:
        """Return the head's epoch and data; (0, b"") if there is none.

        Raises ReadFailed, Damaged, UnknownFormat.
        """

    @abstractmethod
    def write_head(self, expected_epoch: int, epoch: int, data: bytes) -> None:
        """Replace the head if its epoch is the expected one, and become the owner.

        `epoch` is `expected_epoch` if this handle is the owner already, else larger; `data` has at
        most HEAD_BYTES_MAX bytes. Durable when it returns, as is every creation and deletion before
        it. Raises LostEpoch (the head has another epoch, and is unchanged), MediumFull
        (unchanged, may be tried again), Damaged, UnknownFormat, and MediumFailed: then power loss
        leaves either the old head or the new one.
        """

    @abstractmethod
    def set_aside(self, name: str, data: bytes) -> str:
        """Store damaged bytes that a salvage takes out of a blob, durably; what has the same name
        is replaced. Returns where an operator finds them.

        They are no blob: no other call sees them. Raises MediumFull, MediumFailed, LostEpoch.
        """

    @abstractmethod
    def set_head_aside(self, name: str) -> str:
        """Do the same with the bytes of a head that is Damaged, and remove the head, durably.

        Afterwards the medium has no head, epoch 0, and no owner. Counting epochs anew is safe only
        while no other owner can have it open: the caller has to ensure that, as the holder of a
        directory's lock does. Raises MediumFull (the head is still there),
        ReadFailed, MediumFailed, and LostEpoch if the medium was opened for reading only.
        """

    def watch(self, changed: Callable[[str], None]) -> None:  # noqa: B027 (most cannot go away)
        """Have `changed` called whenever the medium goes away, or comes back: with the reason, or
        with "".

        From any thread; at once if it is away. While it is, no call fails for that: calls wait, and
        appends are not answered. A medium that cannot go away calls nothing.
        """

    def watch_owner(self, ended: Callable[[StorageError], None]) -> None:  # noqa: B027 (most end with a call)
        """Have `ended` called once when the owner of this medium has ended, also while it calls
        nothing: with LostEpoch, DataLost, or why it failed.

        From any thread; at once if it has. Where nothing ends an owner that calls nothing, it is
        never called, nor for a handle that is no owner.
        """

    def give_up(self, error: StorageError) -> None:  # noqa: B027 (most calls end by themselves)
        """End every call that waits because the medium is away, and every later one, with an error,
        from any thread. Nothing is answered as durable after this has returned.

        For an owner that may not go on, or that ends while the medium is away.
        """

    @abstractmethod
    def free_bytes(self) -> int:
        """Return how many bytes can still be appended, as far as is known. Raises ReadFailed.

        A medium may set space aside, for settlements on a full medium. While appends use it, this
        is 0.
        """

    @abstractmethod
    def close(self) -> None:
        """Release all resources. Makes nothing durable; every later call raises ValueError."""


def parts_of(data: Data) -> list[bytes]:
    """The parts of what an append gets."""
    return [data] if isinstance(data, bytes) else data


def joined(data: Data) -> bytes:
    """All bytes of what an append gets."""
    return data if isinstance(data, bytes) else b"".join(data)


def check_name(name: str) -> None:
    """Raise ValueError if `name` is not a valid name of a blob."""
    if not is_name(name):
        raise ValueError(f"not the name of a blob: {name!r}")


def is_name(name: str) -> bool:
    """Whether a name is valid: a-z, 0-9, behind the first also . _ -, at most NAME_BYTES_MAX."""
    return len(name) <= NAME_BYTES_MAX and _NAME.fullmatch(name) is not None


def check_range(offset: int, size: int) -> None:
    """Raise ValueError if `offset` or `size` is negative."""
    if offset < 0 or size < 0:
        raise ValueError(f"no range of a blob: {size} bytes from {offset}")


def check_head(expected_epoch: int, epoch: int, data: bytes) -> None:
    """Raise ValueError if these are no valid arguments of `write_head`."""
    if not 0 <= expected_epoch <= epoch <= EPOCH_MAX or epoch == 0:
        raise ValueError(f"epochs only grow: {epoch} after {expected_epoch}")
    if len(data) > HEAD_BYTES_MAX:
        raise ValueError(f"a head of {len(data)} bytes; at most {HEAD_BYTES_MAX}")
