"""The errors of the storage, one class for each thing that a caller does about it.

An error of the calling code (a name outside the alphabet, a negative offset, a closed medium) is a
ValueError, not one of these.
"""

import errno
from typing import Final

FULL_ERRNOS: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
)
"""Errors of the operating system that mean that a resource is used up. They say nothing about the
data that were written before."""


class StorageError(Exception):
    """An error of the disk, or of the data on it. Its text is one line for the log."""


class MediumFull(StorageError):
    """The medium is full. The call had no effect, and may be repeated later."""


class MediumFailed(StorageError):
    """A write or a sync failed, so it is unknown what is durable.

    The medium refuses every further change. Only another process can recover, from what it finds:
    the kernel drops what it could not write and reports that once, so a second sync of the same
    bytes succeeds and proves nothing.
    """


class DataLost(MediumFailed):
    """What was durable is not there any more: a replica that had not got it took over, or an older
    copy was restored. The text says what is missing."""


class ReadFailed(StorageError):
    """Bytes could not be read. The medium can still be used."""


class LostEpoch(StorageError):
    """This owner may not write: another one has taken the medium, or it never took it itself."""


class NoSuchBlob(StorageError):
    """There is no blob of this name."""


class BlobExists(StorageError):
    """There is a blob of this name already."""


class DirectoryLocked(StorageError):
    """Another process uses this directory. The text names it."""


class Damaged(StorageError):
    """Bytes are not what was written: a wrong CRC, or impossible fields."""


class UnknownMedium(StorageError):
    """A URL that names no medium of this program."""


class UnsuitableMedium(StorageError):
    """What a medium lies on cannot keep what it promises. The text says what to change."""


class ReplicasAway(UnsuitableMedium):
    """What a medium lies on would suit, if its replicas were there: they may come."""


class UnknownFormat(StorageError):
    """The bytes are what was written (their CRC is right), but this program does not know them: a
    format version, a kind, a flag or a field. A newer program wrote them.

    It is no damage, and nothing can be set aside: the caller stops before it changes anything.
    """

    def at(self, blob: str, offset: int) -> "UnknownFormat":
        """The same error, with the blob, and the offset at which the unknown bytes, or their
        record, begin."""
        return UnknownFormat(f"{blob}: offset {offset}: {self}")


def not_known(what: str) -> str:
    """The text of an UnknownFormat, before it says where."""
    return f"{what}, which this program does not know: a newer one wrote it"
