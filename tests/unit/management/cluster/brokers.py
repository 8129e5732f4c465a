"""Brokers of a cluster in one process, whose HTTP APIs ask each other without a network."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from functools import partial
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response as PlainResponse
from starlette.types import ASGIApp, Message

from leveret.cluster.cluster_status import ClusterCounts, ClusterStatus, FailedMember, StoreStatus
from leveret.config import Config
from leveret.engine.broker import Broker
from leveret.engine.metadata.entities import User, VirtualHostEntity
from leveret.engine.placement import Placement, ServedBy
from leveret.management.application import application
from leveret.management.authorisation import Identity, with_included
from leveret.management.cluster.fronts import ClusterFront, PeerFront
from leveret.management.cluster.marks import identity_in
from leveret.management.cluster.peers import Peer, PeerClient, PeerResponse, Peers
from leveret.management.cluster.state import ClusterState
from leveret.management.service import Management
from leveret_storage.coordination import ClusterView, Coordination, Member

OWNER_WAIT_S = 60.0
"""Seconds for which a request waits for an owner, where a test does not say otherwise."""


def ignore(_limit: int) -> None:
    """What does not change the memory limit."""


class Response(PeerResponse):
    """The response of an application."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.begun = asyncio.Event()
        self.is_closed = False
        self._is_broken_off = False
        self.task: asyncio.Task[None] | None = None
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(2)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            self.begun.set()
        else:
            await self._pieces.put(message.get("body", b""))

    async def end(self) -> None:
        await self._pieces.put(None)

    def break_off(self) -> None:
        """Have the rest of the body not come."""
        self._is_broken_off = True

    async def pieces(self) -> AsyncIterator[bytes]:
        while (piece := await self._pieces.get()) is not None:
            if self._is_broken_off:
                raise ConnectionResetError(104, "Connection reset by peer")
            yield piece

    async def close(self) -> None:
        self.is_closed = True
        if self.task is not None:
            self.task.cancel()

    async def whole(self) -> bytes:
        return b"".join([piece async for piece in self.pieces()])


async def request_of(
    app: ASGIApp, method: str, target: str, headers: Mapping[str, str], body: bytes
) -> Response:
    """Ask an application; its response has begun."""
    path, _, query = target.partition("?")
    response = Response()
    received = False

    async def receive() -> Message:
        nonlocal received
        if received:
            await asyncio.Event().wait()
        received = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def run() -> None:
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        await app(scope, receive, response.send)
        response.begun.set()
        await response.end()

    response.task = asyncio.get_running_loop().create_task(run())
    await response.begun.wait()
    return response


class Orders(Coordination):
    """Notes what operators order."""

    def __init__(self) -> None:
        self.orders: list[tuple[Any, ...]] = []
        self.members: set[str] = set()

    def join(self, member: Member, stores: int, lease_ms: int) -> None:
        raise NotImplementedError

    def renew(self, stores: Collection[int]) -> ClusterView:
        raise NotImplementedError

    def look(self) -> ClusterView:
        raise NotImplementedError

    def try_take(self, store: int) -> bool:
        raise NotImplementedError

    def note_epoch(self, store: int, epoch: int) -> None:
        raise NotImplementedError

    def release(self, store: int, successor: str = "") -> None:
        raise NotImplementedError

    def refuse(self, store: int, reason: str) -> None:
        raise NotImplementedError

    def allow(self, store: int) -> None:
        self.orders.append(("allow", store))

    def move(self, store: int, member: str) -> None:
        self.orders.append(("move", store, member))

    def drain(self, member: str, draining: bool) -> bool:
        self.orders.append(("drain", member, draining))
        return member in self.members

    def forget(self, member: str) -> bool:
        self.orders.append(("forget", member))
        return member in self.members

    def leave(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class Cluster(Placement, PeerClient):
    """Brokers, and the virtual hosts that each serves."""

    def __init__(self, **vhosts: tuple[str, ...]) -> None:
        """:param vhosts: by the name of the broker that serves them; `down_...` is down."""
        self.coordination = Orders()
        self.owners = {vhost: node for node, names in vhosts.items() for vhost in names}
        self.down = {node for node in vhosts if node.startswith("down")}
        self.starts = Counter(vhosts.keys())
        """How often each broker was started."""
        self.draining: set[str] = set()
        self.refusals: dict[int, str] = {}
        """Why nobody may take some stores."""
        self.failed: dict[int, tuple[FailedMember, ...]] = {}
        """Who could not open some stores."""
        self.silent: set[str] = set()
        """Brokers that do not answer any more."""
        self.asked: list[tuple[str, str, str]] = []
        """Broker, method and target of each request from one broker to another."""
        self.was_asked = asyncio.Event()
        self.refused: dict[str, Exception] = {}
        """What requests to a broker raise."""
        self.break_off: set[str] = set()
        """Brokers whose responses break off."""
        self.said: dict[tuple[str, str], bytes] = {}
        """What a broker of another version answers, by its name and a path."""
        self.said_with = 200
        """The status of that."""
        self.responses: list[Response] = []
        self.brokers = {node: Node(self, node) for node in vhosts if node not in self.down}
        for node in self.brokers.values():
            for vhost in self.owners:
                node.broker.metadata.put(VirtualHostEntity(vhost))
            for name in [*node.broker.vhosts]:
                if self.owners.get(name) != node.name:
                    node.broker.vhosts.pop(name)
                if name not in self.owners:
                    node.broker.metadata.delete(VirtualHostEntity, name)

    def wait_for_no_owner(self) -> None:
        """Have requests not wait for an owner."""
        for node in self.brokers.values():
            node.front.owner_wait_s = 0.0

    def put(self, *entities: Any) -> None:
        """Have metadata at every broker."""
        for node in self.brokers.values():
            for entity in entities:
                node.broker.metadata.put(entity)

    def view(self, node: str) -> ClusterStatus:
        """The cluster as a broker sees it."""
        members = [
            Member(
                name=name,
                incarnation=f"{name}-1",
                address=f"{name}:{self.starts[name]}",
                version="1.0",
                started_at=0,
                silent_ms=0,
                steady_ms=9000,
                draining=name in self.draining,
                is_alive=name not in self.down,
            )
            for name in sorted([*self.brokers, *self.down])
        ]
        stores = [self._store(number, owner) for number, owner in enumerate(self.owners.values())]
        counts = ClusterCounts(1, 2, 3, 4, 5)
        return ClusterStatus(node, tuple(members), tuple(stores), counts, True, "", 0.1, 0.1)

    def _store(self, number: int, owner: str) -> StoreStatus:
        lives, reason = owner not in self.down, self.refusals.get(number, "")
        return StoreStatus(
            store=number,
            owner=owner if lives else "",
            address=f"{owner}:1" if lives else "",
            is_served=lives,
            state="refused" if reason else "owned" if lives else "free",
            epoch=7,
            left_ms=2000 if lives else 0,
            target=owner,
            wanted="",
            reason=reason,
            failed=self.failed.get(number, ()),
        )

    def store_of(self, vhost: str) -> int:
        return list(self.owners).index(vhost) if vhost in self.owners else 0

    def served_by(self, vhost: str) -> ServedBy | None:
        owner = self.owners.get(vhost)
        return None if owner is None or owner in self.down else ServedBy(owner, "", False)

    async def request(
        self, peer: Peer, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> PeerResponse:
        node = peer.node
        self.asked.append((node, method, target))
        self.was_asked.set()
        if node in self.refused:
            raise self.refused[node]
        if node in self.silent:
            # As if the time for an answer were over.
            raise TimeoutError
        said = self.said.get((node, target.partition("?")[0]))
        app = self.brokers[node].for_peers if said is None else PlainResponse(said, self.said_with)
        response = await request_of(app, method, target, headers, body)
        self.responses.append(response)
        if node in self.break_off:
            response.break_off()
        return response


class Shared:
    """The metadata that all brokers have, with what is still to come to one of them."""

    def __init__(self, broker: Broker) -> None:
        self.version = 0
        self.to_come: list[Any] = []
        self._broker = broker

    async def refresh(self) -> None:
        self.version += len(self.to_come)
        for entity in self.to_come:
            self._broker.metadata.put(entity)
        self.to_come.clear()


class Node:
    """One broker of a cluster, with its two applications."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.name = name
        self.broker = Broker(Config())
        self.broker.placement = cluster
        self.broker.work.added = self._run_work
        self.management = Management(self.broker, list, list, ignore)
        self.management.node = name
        metadata = self.broker.metadata
        view = partial(cluster.view, name)
        self.state = ClusterState(view, cluster, metadata, cluster.coordination)
        self.shared = Shared(self.broker)
        version = partial(getattr, self.shared, "version")
        self.peers = Peers(self.state.peers, cluster, version)
        self.state.silent = lambda: self.peers.silent
        self.management.cluster = self.state

        async def of_peer(request: Request) -> Identity:
            return identity_in(request, metadata)

        async def of_user(request: Request) -> Identity:
            name = request.headers.get("user", "")
            if not name:
                return Identity("owner", "test", is_owner=True)
            user = metadata.get(User, name)
            return Identity(name, "test", with_included(user.tags if user else ()))

        self.for_peers = application(self.management, of_peer, front=PeerFront(self.shared))
        self.front = ClusterFront(
            self.peers, self.state, metadata, self.shared, owner_wait_s=OWNER_WAIT_S
        )
        self.for_users = application(self.management, of_user, front=self.front)

    async def ask(
        self, method: str, target: str, *, user: str = "", body: object = None
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, value and headers of what a user is answered."""
        data = b"" if body is None else msgspec.json.encode(body)
        headers = {"user": user} if user else {}
        response = await request_of(self.for_users, method, f"/api/{target}", headers, data)
        answer = await response.whole()
        return response.status, msgspec.json.decode(answer) if answer else None, response.headers

    async def get(self, target: str, user: str = "") -> Any:
        """What GET answers, with 200."""
        status, value, _ = await self.ask("GET", target, user=user)
        assert status == 200, value
        return value

    def _run_work(self) -> None:
        asyncio.get_running_loop().call_soon(self._run_slice)

    def _run_slice(self) -> None:
        self.broker.time_slice.begin(0)
        self.broker.work.run_next(self.broker.time_slice)
        if not self.broker.work.is_empty():
            self._run_work()
