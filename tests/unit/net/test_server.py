"""The server, without clients."""

import asyncio

from leveret.config import Amqp, Config
from leveret.engine.broker import Broker
from leveret.net.server import AmqpServer

SOCKETS_MAX = 100


def test_a_tick_that_has_begun_does_not_use_the_store_once_the_broker_stops() -> None:
    faults: list[dict[str, object]] = []
    looked_at: list[bool] = []
    closed = False

    def free_bytes() -> int:
        looked_at.append(closed)
        return 2**40

    async def run() -> None:
        nonlocal closed
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        config = Config(amqp=Amqp(listen=("127.0.0.1:0",)))
        server = AmqpServer(Broker(config), config, free_bytes, SOCKETS_MAX)
        await server.start()
        # The parts of the first tick wait for the next iteration.
        await server.stop("")
        closed = True
        await asyncio.sleep(0)

    asyncio.run(run())
    assert True not in looked_at
    assert faults == []
