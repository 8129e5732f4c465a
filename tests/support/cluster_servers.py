"""Several brokers in one thread, each with listeners for clients and for the other brokers, and a
placement that a test decides. They keep everything in memory."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import uvloop

from leveret.addresses import parse_address
from leveret.config import Amqp, Auth, Config, Server
from leveret.config_storage import Cluster
from leveret.engine.broker import Broker
from leveret.engine.metadata.entities import VirtualHostEntity
from leveret.engine.placement import Placement, ServedBy
from leveret.net.server import AmqpServer

T = TypeVar("T")

SECRET = "the secret of the tests"
SOCKETS_MAX = 1000
TIMEOUT_S = 60.0


class DecidedPlacement(Placement):
    """Says what the test has decided."""

    def __init__(self, node: str, owners: Mapping[str, str], addresses: Mapping[str, str]) -> None:
        self._node = node
        self._owners = owners
        self._addresses = addresses

    def store_of(self, vhost: str) -> int:
        return 0

    def served_by(self, vhost: str) -> ServedBy | None:
        owner = self._owners.get(vhost)
        if owner is None:
            return None
        return ServedBy(owner, self._addresses[owner], owner == self._node)


class ClusterServers:
    """Brokers that know the same virtual hosts, each of which is served by one of them."""

    def __init__(
        self,
        *nodes: str,
        vhosts: tuple[str, ...] = ("/",),
        secrets: Mapping[str, str] | None = None,
        **cluster: Any,
    ) -> None:
        """
        :param nodes: their names.
        :param secrets: of brokers that have another one.
        :param cluster: keys of the section `cluster`.
        """
        self.owners: dict[str, str] = {}
        """The broker that serves each virtual host; change it by `own`."""
        self.addresses: dict[str, str] = {}
        """Where each broker listens for the others."""
        self.servers: dict[str, AmqpServer] = {}
        self._nodes = nodes
        self._vhosts = vhosts
        self._secrets = secrets or {}
        self._cluster = {"secret": SECRET, "listen": ("127.0.0.1:0",)} | cluster
        self.amqp: dict[str, Any] = {"listen": ("127.0.0.1:0",), "handshake_timeout": 60}
        """Keys of the section `amqp`, before the start."""
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.at_exit: list[Callable[[], Any]] = []
        """What is called among the brokers before they stop."""
        self.faults: list[dict[str, Any]] = []
        """What callbacks of the event loop raised."""

    def __enter__(self) -> Self:
        self._loop.set_exception_handler(lambda _, fault: self.faults.append(fault))
        self._thread.start()
        for node in self._nodes:
            self.call(self._start, node)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for function in self.at_exit:
            self.call(function)
        for node in list(self.servers):
            self.stop(node)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if error is None:
            assert self.faults == []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine among the brokers."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(2 * TIMEOUT_S)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function among the brokers; its result, or that of the coroutine it returns."""

        async def called() -> Any:
            result = function(*arguments)
            return await result if asyncio.iscoroutine(result) else result

        return self.run(called())

    async def _start(self, node: str) -> None:
        settings = self._cluster
        if node in self._secrets:
            settings = settings | {"secret": self._secrets[node]}
        config = Config(
            server=Server(node_name=node),
            amqp=Amqp(**self.amqp),
            auth=Auth(loopback_users=()),
            cluster=Cluster(**settings),
        )
        broker = Broker(config)
        for vhost in self._vhosts:
            broker.metadata.put(VirtualHostEntity(vhost))
        for vhost in self._vhosts:
            if self.owners.get(vhost) != node:
                broker.drop_vhost(vhost)
        broker.placement = DecidedPlacement(node, self.owners, self.addresses)
        server = AmqpServer(broker, config, None, SOCKETS_MAX)
        bound = await server.start()
        found = dict(each.split("=", 1) for each in bound)
        self.addresses[node] = found.get("cluster", "")
        self.servers[node] = server

    def port(self, node: str) -> int:
        """Where a broker listens for clients."""
        return self.servers[node].listeners()[0][1].port

    def cluster_port(self, node: str) -> int:
        """Where it listens for the others."""
        return parse_address(self.addresses[node]).port

    def own(self, vhost: str, node: str | None, *, known: bool = True) -> None:
        """Have a broker serve a virtual host, or none.

        :param known: whether the placement says so.
        """
        self.call(self._own, vhost, node, known)

    def _own(self, vhost: str, node: str | None, known: bool) -> None:
        for name, server in self.servers.items():
            if name == node:
                server.broker.create_vhost(vhost)
            else:
                server.broker.drop_vhost(vhost)
        if known and node is not None:
            self.owners[vhost] = node
        else:
            self.owners.pop(vhost, None)

    def limit_connections(self, node: str, vhost: str, most: int) -> None:
        """Have a broker allow so many connections to a virtual host."""
        entity = VirtualHostEntity(vhost, limits={"max-connections": most})
        self.servers[node].broker.metadata.put(entity)

    def stop(self, node: str, clients_s: float = 0.1) -> None:
        """Stop a broker as an operator does; clients have some seconds to answer."""
        self.call(self.servers.pop(node).stop, "shutdown", clients_s)

    def kill(self, node: str) -> None:
        """Close the sockets of a broker without a word."""
        self.call(self.servers.pop(node).kill)
