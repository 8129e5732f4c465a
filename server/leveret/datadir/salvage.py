"""What `leveret serve --salvage` does: set damage aside in files, and say what was lost.

A stretch goes to DIRECTORY/salvaged/BLOB-OFFSET.bin, byte for byte; a file that is there already,
from an earlier attempt, is written anew.
"""

import os
from pathlib import Path
from typing import Final

from leveret.datadir.dump import restored
from leveret.logging import get_logger
from leveret_storage.errors import Damaged
from leveret_storage.format.record_reader import Damage
from leveret_storage.media.filesystem import HEAD_NAME
from leveret_storage.medium import Medium
from leveret_storage.recovery.recover import Recovery
from leveret_storage.recovery.salvage import salvage

SALVAGED_NAME: Final = "salvaged"

log = get_logger()


def salvage_directory(medium: Medium, directory: Path) -> None:
    """Make a data directory sound whose `medium` this process has taken.

    :raises StorageError: if the data cannot be read or written.
    :raises OSError: if nothing can be set aside.
    """

    def set_aside(damage: Damage, data: bytes) -> str:
        return str(_write(directory, f"{damage.blob}-{damage.offset}.bin", data))

    done = salvage(medium, set_aside)
    for lost in done.lost:
        log.warning(
            "damage set aside",
            blob=lost.damage.blob,
            offset=lost.damage.offset,
            end=lost.damage.end,
            why=lost.damage.why,
            file=lost.file,
            lost=lost.what,
        )
    if done.lost:
        _tell_orphans(done.found)
    else:
        log.info("nothing to salvage: no damage was found")


def set_head_aside(medium: Medium, directory: Path) -> None:
    """Move a head that cannot be read out of the way of the next one; the medium is not taken yet.

    The directory's lock keeps other owners away, so that counting epochs anew confuses nobody.

    :raises StorageError: UnknownVersion, ReadFailed.
    :raises OSError: if it cannot be moved.
    """
    try:
        medium.read_head()
    except Damaged as error:
        head = directory / HEAD_NAME
        copy = _write(directory, f"{HEAD_NAME}-0.bin", head.read_bytes())
        head.unlink()
        log.warning("damage set aside", why=str(error), file=str(copy), lost="the node's name")


def _write(directory: Path, name: str, data: bytes) -> Path:
    """Write a file of DIRECTORY/salvaged durably, name included."""
    folder = directory / SALVAGED_NAME
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / name
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    for parent in (folder, directory):
        fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    return path


def _tell_orphans(found: Recovery) -> None:
    """Messages whose queue was declared in what is lost are in no queue any more."""
    _, numbers = restored(found.definitions)
    for number, queue in found.queues.items():
        if number not in numbers and queue.count:
            log.warning(
                "messages lost with the declaration of their queue",
                queue=number,
                messages=queue.count,
            )
