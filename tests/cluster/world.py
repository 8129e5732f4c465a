"""A database, brokers, and clients that work: what every test of a cluster begins and ends with."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType
from typing import Final, Self

from pamqp import commands

from tests.cluster.account import Account
from tests.cluster.balancer import Balancer
from tests.cluster.epochs import SETTINGS, double_owners
from tests.cluster.load import (
    AioConsumer,
    AioPublisher,
    Client,
    PikaConsumer,
    PikaPublisher,
    Publisher,
)
from tests.support.brokers import HOST, wait_until
from tests.support.cluster import BrokerCluster, Node
from tests.support.postgres import PostgresCluster
from tests.support.tcp_proxy import TcpProxy
from tests.support.wire import Wire

STORES: Final = 4
LEASE_MS: Final = 2000
WARM_MESSAGES: Final = 20
SERVED_S: Final = 5.0
"""Seconds after a fault within which clients are to be served again, on a machine that is not
busy."""

BUSY: Final = 6
"""How many times longer everything may take on a machine that is."""

LOG_LINES: Final = 40
QUIET_S: Final = 0.5
QUEUES: Final = count(1)


@dataclass
class Load:
    """Clients of one virtual host, with the accounts of the queues that they use."""

    vhost: str = "/"
    accounts: list[Account] = field(default_factory=list)
    publishers: list[Client] = field(default_factory=list)
    consumers: list[Client] = field(default_factory=list)
    balancer: Balancer | None = None
    _fault_at: float = 0.0

    def await_confirmed(self, more: int = WARM_MESSAGES) -> None:
        for account in self.accounts:
            account.await_confirmed(more, SERVED_S * BUSY)

    def pause(self, node: Node) -> None:
        """Have a broker stand still, which a balancer notices."""
        assert self.balancer is not None
        self.balancer.pause(node)

    def fault(self) -> None:
        """Something fails now."""
        self._fault_at = time.monotonic()

    def served_again(self, what: str) -> float:
        """Wait until all clients are, after a fault. Returns the seconds that one was not, at most;
        they have to be within a bound."""
        self.await_confirmed()
        seconds = max(account.not_served_s(self._fault_at) for account in self.accounts)
        print(f"{what}: clients were not served for {seconds:.2f} s")
        assert seconds < SERVED_S * BUSY
        return seconds

    def await_blocked(self, reason: str) -> None:
        """Wait until a publisher that was blocked was told so."""
        raw = [each for each in self.publishers if isinstance(each, Publisher)]
        wait_until(
            lambda: any(reason in text for each in raw for text in each.blocked_for),
            what=f"connection.blocked with {reason!r}",
        )

    def end(self) -> None:
        """Stop, and check that everything confirmed has arrived."""
        for publisher in self.publishers:
            publisher.stop()
        for account in self.accounts:
            account.await_received(SERVED_S * BUSY)
        for consumer in self.consumers:
            consumer.stop()

    def describe(self) -> str:
        """What clients have seen."""
        lines = [f"{each.name}: {each.losses[-5:]}" for each in (*self.publishers, *self.consumers)]
        return "\n".join(lines)


def await_quiet(accounts: Iterable[Account]) -> int:
    """Wait until nothing is confirmed any more; how many messages are."""
    before = -1
    while before != (confirmed := sum(account.confirmed for account in accounts)):
        before = confirmed
        time.sleep(QUIET_S)
    return before


class Network:
    """What one broker has between it and the database: a proxy for each server."""

    def __init__(self, database: PostgresCluster) -> None:
        self.proxies = [TcpProxy(server.port) for server in database.servers]
        self.location = database.url_of([proxy.port for proxy in self.proxies])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for proxy in self.proxies:
            proxy.__exit__(kind, error, traceback)

    def cut(self) -> None:
        """End all connections; new ones work."""
        for proxy in self.proxies:
            proxy.cut()

    def close(self) -> None:
        """End all connections, and refuse new ones."""
        for proxy in self.proxies:
            proxy.refuses = True
        self.cut()

    def open(self) -> None:
        for proxy in self.proxies:
            proxy.refuses = False

    def hold_answers(self) -> None:
        for proxy in self.proxies:
            proxy.hold_answers()

    def pass_answers(self) -> None:
        for proxy in self.proxies:
            proxy.pass_answers()

    def lose_answers_and_cut(self) -> None:
        for proxy in self.proxies:
            proxy.lose_answers_and_cut()


class World:
    """A database and its brokers, which tests harm and mend."""

    def __init__(self, names: Sequence[str] = ("one", "two", "three"), **variables: str) -> None:
        """`variables` are of all brokers."""
        self._stack = ExitStack()
        try:
            self.database = self._stack.enter_context(PostgresCluster(None, **SETTINGS))
            self.networks: dict[str, Network] = {}
            self.brokers = self._stack.enter_context(
                BrokerCluster(
                    self.database.url(),
                    names,
                    {
                        "LEVERET_CLUSTER_STORES": str(STORES),
                        "LEVERET_CLUSTER_LEASE": str(LEASE_MS),
                        **variables,
                    },
                    management=True,
                )
            )
            for node in self.brokers.nodes.values():
                network = self._stack.enter_context(Network(self.database))
                self.networks[node.name] = network
                node.location = network.location
            self.brokers.start()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        self._stack.close()

    def owner(self, vhost: str = "/") -> Node:
        """The broker that serves a virtual host."""
        return self.brokers.await_owner(vhost)

    def others(self, node: Node) -> list[Node]:
        return [each for each in self.brokers.nodes.values() if each is not node]

    def declare(self, vhost: str = "/") -> Account:
        """A durable queue that nobody has used, and its account."""
        account = Account(f"queue-{next(QUEUES)}")
        with Wire(HOST, self.owner(vhost).port) as wire:
            wire.negotiate(vhost=vhost)
            wire.open_channel()
            declare = commands.Queue.Declare(queue=account.queue, durable=True)
            wire.call(declare, commands.Queue.DeclareOk)
        return account

    def publisher(self, account: Account, vhost: str = "/") -> Publisher:
        """A client that publishes to one queue."""
        return Publisher(account, self.brokers.ports, vhost)

    @contextmanager
    def load(self, vhost: str = "/", *, balanced: bool = False) -> Iterator[Load]:
        """Clients of each kind that publish and consume, and at the end the audit of everything.

        :param balanced: pika's connections go through the balancer, too. Of itself pika notices
            after 7 to 14 s that a broker stands still.
        """
        load = Load(vhost)
        raw, with_pika, with_aio = (self.declare(vhost) for _ in range(3))
        load.accounts = [raw, with_pika, with_aio]
        ports = self.brokers.ports
        with Balancer(self.brokers.nodes.values()) as balancer:
            load.balancer = balancer
            of_pika = [balancer.port] if balanced else ports
            load.publishers = [
                Publisher(raw, ports, vhost),
                Publisher(raw, ports[1:] + ports[:1], vhost),
                PikaPublisher(with_pika, of_pika, vhost),
                AioPublisher(with_aio, balancer.port, vhost),
            ]
            load.consumers = [
                PikaConsumer(raw, of_pika, vhost),
                AioConsumer(with_pika, balancer.port, vhost),
                PikaConsumer(with_aio, of_pika[1:] + of_pika[:1], vhost),
            ]
            for client in (*load.publishers, *load.consumers):
                client.start()
            try:
                load.await_confirmed()
                load.fault()
                yield load
                load.end()
            except BaseException:
                print(load.describe())
                self.describe()
                for client in (*load.publishers, *load.consumers):
                    client.abandon()
                raise
        self.audit()

    def audit(self) -> None:
        """No store had two owners at once."""
        assert not double_owners(self.database)

    def mend(self) -> None:
        """Have all servers and all brokers again. If that fails, print why."""
        try:
            self._mend()
        except BaseException:
            self.describe()
            raise

    def _mend(self) -> None:
        for network in self.networks.values():
            network.open()
            network.pass_answers()
        for server in self.database.servers:
            if server.is_paused:
                server.resume()
        for server in self.database.servers:
            if not server.running:
                self.database.replace(server)
        wait_until(lambda: self.database.count_streaming() == 2, 60.0, "both standbys follow")
        for node in self.brokers.nodes.values():
            if node.is_paused:
                node.resume()
            if node.broker is None:
                node.start()
        self.brokers.await_served()

    def describe(self) -> None:
        """Print who owns what, and what the brokers and the servers have logged last."""
        view = self.brokers.look()
        print("--- leases", *(view.leases if view else ()), sep="\n")
        for node in self.brokers.nodes.values():
            if node.broker is not None:
                lines = [
                    line for line in node.broker.log_text().splitlines() if " peer=" not in line
                ]
                print(f"--- {node.name}", *lines[-LOG_LINES:], sep="\n")
        for server in self.database.servers:
            print(f"--- {server.name}\n{server.log_end()}")
