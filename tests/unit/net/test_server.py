"""The server, without clients."""

import asyncio

from leveret.config import Amqp, Config, Memory
from leveret.engine.broker import Broker
from leveret.net.alarms import Resource
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


def test_the_guards_do_not_clear_an_alarm_that_is_held() -> None:
    reasons: list[str] = []

    async def run() -> None:
        free = [2**40]
        config = Config(amqp=Amqp(listen=("127.0.0.1:0",)), memory=Memory(limit="90%"))
        broker = Broker(config)
        server = AmqpServer(broker, config, lambda: free[-1], SOCKETS_MAX)
        await server.start()
        server.alarms.hold(Resource.DISK, True)
        for measured in (2**40, 0, 2**40, 0):
            free.append(measured)
            server.check_resources()
            reasons.append(broker.alarm)
        server.alarms.hold(Resource.DISK, False)
        reasons.append(broker.alarm)
        free.append(2**40)
        server.check_resources()
        reasons.append(broker.alarm)
        await server.stop("")

    asyncio.run(run())
    assert reasons == ["low on disk"] * 5 + [""]
