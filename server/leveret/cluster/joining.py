"""The start of a broker whose data are in a database, which may not be there yet.

After the power of all machines was lost, say, brokers are there before the database is.
"""

import asyncio
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from leveret.cluster.membership import Membership
from leveret.config import Config
from leveret.control_address import local_directory
from leveret.logging import get_logger
from leveret_storage.errors import MediumFailed, ReadFailed, ReplicasAway
from leveret_storage.media.lock import DirectoryLock

WAIT_S: Final = 60.0
"""Seconds for which a start waits for the database."""

RETRY_S: Final = 0.5

logger = get_logger()


async def connect(config: Config) -> Membership:
    """Connect to the database of the configuration, and read the definitions of the cluster.

    :raises DirectoryLocked: if another broker uses the local directory.
    :raises ReadFailed: if the database does not answer for WAIT_S.
    :raises ReplicasAway: if too few standbys follow it for WAIT_S.
    :raises StorageError: as `Membership`.
    """
    lock = _lock(local_directory(config))
    with ExitStack() as on_failure:
        on_failure.callback(lock.close)
        membership = await _connect(config)
        on_failure.pop_all()
    membership.at_close(lock.close)
    return membership


def _lock(directory: Path) -> DirectoryLock:
    """Lock a directory, which is made if it is missing."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise MediumFailed(f"storage.local_dir: {directory}: {error.strerror}") from error
    try:
        return DirectoryLock(descriptor, f"storage.local_dir: {directory}")
    finally:
        os.close(descriptor)


async def _connect(config: Config) -> Membership:
    deadline = time.monotonic() + WAIT_S
    loop = asyncio.get_running_loop()
    is_told = False
    while True:
        try:
            return await loop.run_in_executor(None, Membership, config)
        except (ReadFailed, ReplicasAway) as error:
            if time.monotonic() > deadline:
                raise
            if not is_told:
                logger.warning("waiting for the database", reason=str(error))
                is_told = True
        await asyncio.sleep(RETRY_S)
