"""Reading the metadata of a cluster once more, before a request is refused by what is known."""

import asyncio

from leveret.engine.broker import Broker


async def read_again(broker: Broker) -> bool:
    """Read the metadata that there are at this moment, or wait in vain for a second or so.

    :returns: whether it is of use to look at them again; not at those of a broker that shares them
        with no other.
    """
    reader = broker.metadata_reader
    if reader is None:
        return False
    read: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    reader.request(lambda: None if read.done() else read.set_result(None))
    await read
    return True
