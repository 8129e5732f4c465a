"""A cluster of brokers for tests and measurements: processes of Leveret that share a database.

Rules:
- The brokers run on 127.0.0.1, each on a port that it keeps when it is started again.
- They have one secret, and the password of the database comes from a variable.
- The database is not a part of it: several clusters may share one, each in a schema of its own.
"""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from leveret.cluster.placement import hashed_store
from leveret_storage.coordination import ClusterView, Unreachable
from leveret_storage.media.postgres.coordination import PostgresCoordination
from leveret_storage.media.postgres.location import PASSWORD_VARIABLE, parse_location
from tests.parity.http.client import Api
from tests.support.brokers import HOST, Leveret, free_port, wait_until
from tests.support.postgres import PASSWORD

SECRET: Final = "a secret of the tests alone"
STORES_DEFAULT: Final = 16


class Node:
    """One broker of a cluster, or its place while it does not run."""

    def __init__(self, cluster: "BrokerCluster", name: str) -> None:
        self.name = name
        self.port = free_port()
        self.local_dir = cluster.directory / name
        self.location = cluster.location
        """Where its data are; that of the cluster, or one through a proxy."""
        self.variables: dict[str, str] = {}
        """Of its process, beside those of the cluster."""
        self.broker: Leveret | None = None
        self.is_paused = False
        self._cluster = cluster

    @property
    def running(self) -> Leveret:
        assert self.broker is not None, f"{self.name} does not run"
        return self.broker

    def start(self) -> None:
        variables = {
            PASSWORD_VARIABLE: PASSWORD,
            "LEVERET_SERVER_NODE_NAME": self.name,
            "LEVERET_STORAGE_LOCAL_DIR": str(self.local_dir),
            "LEVERET_CLUSTER_LISTEN": f"{HOST}:0",
            "LEVERET_CLUSTER_SECRET": SECRET,
            **self._cluster.variables,
            **self.variables,
        }
        self.broker = Leveret(
            env=variables,
            location=self.location,
            port=self.port,
            executable=self._cluster.executable,
            management=self._cluster.management,
        )

    def kill(self) -> None:
        """End it with SIGKILL."""
        broker = self.running
        self.broker, self.is_paused = None, False
        broker.kill()
        broker.stop()

    def stop(self) -> int | None:
        """End it with SIGTERM; its exit code."""
        broker, self.broker = self.broker, None
        self.is_paused = False
        if broker is None:
            return None
        os.kill(broker.pid, signal.SIGCONT)
        return broker.stop()

    def pause(self) -> None:
        """Stop its process (SIGSTOP): connections stay open, and nothing answers."""
        self.is_paused = True
        os.kill(self.running.pid, signal.SIGSTOP)

    def resume(self) -> None:
        self.is_paused = False
        os.kill(self.running.pid, signal.SIGCONT)


class BrokerCluster:
    """Brokers that share a database; those that run when it ends are killed."""

    def __init__(
        self,
        location: str,
        names: Iterable[str] = ("one", "two", "three"),
        variables: Mapping[str, str] | None = None,
        executable: Path | None = None,
        management: bool = False,
    ) -> None:
        """`variables` are of all brokers. None is started."""
        self.location = location
        self.variables = dict(variables or {})
        self.executable = executable
        self.management = management
        self.directory = Path(tempfile.mkdtemp(prefix="leveret-cluster-"))
        self.nodes = {name: Node(self, name) for name in names}
        self._coordination = PostgresCoordination(
            parse_location(location, password=PASSWORD), "replicated"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    def start(self) -> Self:
        """Start those that do not run."""
        try:
            for node in self.nodes.values():
                if node.broker is None:
                    node.start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        for node in self.nodes.values():
            if node.broker is not None:
                node.kill()
        self._coordination.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def ports(self) -> list[int]:
        """Of all nodes, also of those that do not run."""
        return [node.port for node in self.nodes.values()]

    # --- who owns what ----------------------------------------------------------------------

    @property
    def stores(self) -> int:
        return int(self.variables.get("LEVERET_CLUSTER_STORES", STORES_DEFAULT))

    def store_of(self, vhost: str) -> int:
        """The store of a virtual host that is not pinned."""
        return hashed_store(vhost, self.stores)

    def look(self) -> ClusterView | None:
        """The members and the leases, as the database has them; None while it does not answer."""
        try:
            return self._coordination.look()
        except Unreachable:
            return None

    def owner_of(self, vhost: str) -> Node | None:
        """Who serves a virtual host, if somebody does."""
        view = self.look()
        if view is None:
            return None
        lease = view.leases[self.store_of(vhost)]
        is_served = lease.is_open and lease.left_ms > 0
        return self.nodes.get(lease.owner) if is_served else None

    def await_owner(self, vhost: str) -> Node:
        """Who serves a virtual host, as soon as somebody does."""
        wait_until(lambda: self.owner_of(vhost) is not None, what=f"an owner of {vhost}")
        return self.owner_of(vhost) or self.await_owner(vhost)

    def shares(self) -> dict[str, int] | None:
        """How many stores each broker serves that runs; None unless every store is served."""
        view = self.look()
        shares = {name: 0 for name, node in self.nodes.items() if node.broker is not None}
        for lease in view.leases if view else ():
            if not lease.is_open or lease.left_ms <= 0 or lease.owner not in shares:
                return None
            shares[lease.owner] += 1
        return shares if view else None

    def await_served(self) -> None:
        """Wait until every store has an owner that runs."""
        wait_until(lambda: self.shares() is not None, what="every store being served")

    def await_share(self, node: Node) -> None:
        """Wait until a broker serves a store, and all others are served, too."""
        wait_until(
            lambda: bool((self.shares() or {}).get(node.name)), what=f"{node.name} serving a store"
        )

    def await_even(self) -> None:
        """Wait until brokers that were started again have their share, so that nothing moves."""

        def is_even() -> bool:
            shares = (self.shares() or {}).values()
            return bool(shares) and max(shares) - min(shares) <= 1

        wait_until(is_even, what="stores shared out evenly")

    def move(self, vhost: str, node: Node) -> None:
        """Have a broker serve a virtual host, and wait until it does; later it may be another."""
        store = self.store_of(vhost)
        self.want(vhost, node)
        wait_until(lambda: self.owner_of(vhost) is node, what=f"{node.name} serving {vhost}")
        self._coordination.move(store, "")

    def want(self, vhost: str, node: Node) -> None:
        """Order that a broker serves a virtual host; it may be unable to."""
        self._coordination.move(self.store_of(vhost), node.name)

    def allow(self, vhost: str) -> None:
        """Have the store of a virtual host be taken again that was refused."""
        self._coordination.allow(self.store_of(vhost))

    def add_vhost(self, vhost: str) -> None:
        """Make a virtual host, which guest may use; needs `management`."""
        node = next(node for node in self.nodes.values() if node.broker is not None)
        answer = Api(HOST, node.running.management_port).ask("PUT", f"/api/vhosts/{vhost}")
        assert answer.status in (201, 204), answer
