"""The start of a broker whose data are in a database, which may not be there yet.

After the power of all machines was lost, say, brokers are there before the database is.
"""

import asyncio
import time
from typing import Final

from leveret.cluster.membership import Membership
from leveret.config import Config
from leveret.logging import get_logger
from leveret_storage.errors import ReadFailed

WAIT_S: Final = 60.0
"""Seconds for which a start waits for the database."""

RETRY_S: Final = 0.5

logger = get_logger()


async def connect(config: Config) -> Membership:
    """Connect to the database of the configuration, and read the definitions of the cluster.

    :raises ReadFailed: if it does not answer for WAIT_S.
    :raises StorageError: as `Membership`.
    """
    deadline = time.monotonic() + WAIT_S
    loop = asyncio.get_running_loop()
    is_told = False
    while True:
        try:
            return await loop.run_in_executor(None, Membership, config)
        except ReadFailed as error:
            if time.monotonic() > deadline:
                raise
            if not is_told:
                logger.warning("waiting for the database", reason=str(error))
                is_told = True
        await asyncio.sleep(RETRY_S)
