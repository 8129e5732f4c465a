"""What `leveret serve --salvage` does: set damaged bytes aside, and log what was lost.

On a local directory they go to DIRECTORY/salvaged/BLOB-OFFSET.bin, byte for byte; a file of an
earlier attempt is replaced.
"""

from typing import Final

from leveret.datadir.dump import restored
from leveret.datadir.head import check_head
from leveret.engine.restore import rewritten
from leveret.logging import get_logger
from leveret_storage.errors import Damaged
from leveret_storage.medium import Medium
from leveret_storage.recovery.inspection import inspect
from leveret_storage.recovery.log_end import LogEnd
from leveret_storage.recovery.recover import Recovery, recover
from leveret_storage.recovery.salvage import salvage

HEAD_SET_ASIDE: Final = "head-0.bin"
"""The name of the file with a damaged head."""

logger = get_logger()


def check_known(medium: Medium) -> None:
    """Check that this program knows everything that can be read of a medium. A salvage would throw
    away what it does not know.

    :raises UnknownFormat: if a newer program wrote any of it.
    :raises StorageError: if it cannot be read.
    """
    inspect(medium)
    check_head(medium)
    restored(recover(medium, lambda damage: None).definitions)


def salvage_medium(medium: Medium, log_end: LogEnd) -> None:
    """Repair a medium that this process has taken.

    :param log_end: what its head noted of the end of the log.
    :raises StorageError: if the data cannot be read or written.
    """
    done = salvage(medium, rewritten, log_end)
    for lost in done.lost:
        logger.warning(
            "damage set aside",
            blob=lost.damage.blob,
            offset=lost.damage.offset,
            end=lost.damage.end,
            why=lost.damage.why,
            file=lost.file,
            lost=lost.what,
        )
    if done.lost:
        _log_orphans(done.found)
    else:
        logger.info("nothing to salvage: no damage was found")


def set_head_aside(medium: Medium) -> None:
    """Set a damaged head aside, so that the next one can be written. The medium is not taken yet.

    The directory's lock keeps other owners away, so that epochs can be counted anew.

    :raises StorageError: UnknownFormat, ReadFailed, or why it cannot be set aside.
    """
    try:
        medium.read_head()
    except Damaged as error:
        file = medium.set_head_aside(HEAD_SET_ASIDE)
        logger.warning("damage set aside", why=str(error), file=file, lost="the node's name")


def _log_orphans(found: Recovery) -> None:
    """Log the messages that are lost because the declaration of their queue is."""
    _, numbers = restored(found.definitions)
    for number, queue in found.queues.items():
        if number not in numbers and queue.count:
            logger.warning(
                "messages lost with the declaration of their queue",
                queue=number,
                messages=queue.count,
            )
