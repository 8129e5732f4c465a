"""The HTTP API of one broker in a cluster: what asks the others, and what answers them."""

import asyncio
from typing import Final

from starlette.requests import Request

from leveret.cluster.agent import Agent
from leveret.cluster.membership import Membership
from leveret.engine.placement import Placement
from leveret.management.application import application
from leveret.management.authorisation import Identity
from leveret.management.cluster.database_watch import DatabaseWatch
from leveret.management.cluster.fronts import ClusterFront, PeerFront
from leveret.management.cluster.marks import identity_in
from leveret.management.cluster.peers import Peers
from leveret.management.cluster.standby_watch import StandbyWatch
from leveret.management.cluster.state import ClusterState
from leveret.management.http import Front
from leveret.management.http_server import HttpServer
from leveret.management.service import Management
from leveret.net.cluster_listener import ClusterListener
from leveret.net.links import Links

CONNECTIONS_MAX: Final = 1024
"""Links over which other brokers ask: each of them makes a bounded number (`net/peer_http.py`)."""


class ClusterHttp:
    """Asks other brokers, and answers them. For the event loop."""

    def __init__(
        self, management: Management, membership: Membership, agent: Agent, links: Links
    ) -> None:
        """
        :param agent: of the membership, which has begun.
        :param links: over which brokers are reached.
        """
        placement = management.broker.placement
        if not isinstance(placement, Placement):
            raise TypeError(placement)
        metadata, definitions = management.metadata, membership.definitions
        self._agent = agent
        # Not before: a broker without a cluster needs no client for HTTP.
        from leveret.management.cluster.peer_client import LinkedPeerClient
        from leveret.net.peer_http import PeerHttp

        http = PeerHttp(links)
        self._close_all_but, self._close = http.keep, http.close
        self._brokers: frozenset[tuple[str, str]] = frozenset()
        self._tidying: asyncio.Task[None] | None = None
        database = membership.database
        self.state: Final = ClusterState(
            agent.view,
            placement,
            metadata,
            database.coordination,
            DatabaseWatch(database.watch, database.report, database.hosts),
        )
        self.state.standbys = StandbyWatch(database.standbys).standbys
        peers = Peers(self.state.peers, LinkedPeerClient(http), lambda: definitions.version)
        self.state.silent = lambda: peers.silent
        self.front: Final[Front] = ClusterFront(peers, self.state, metadata, definitions)

        async def identify(request: Request) -> Identity:
            return identity_in(request, metadata)

        app = application(management, identify, front=PeerFront(definitions))
        self._for_peers = HttpServer(app, CONNECTIONS_MAX)
        agent.subscribe(self._changed)

    def answer_on(self, listener: ClusterListener) -> None:
        """Answer the brokers that ask over links."""
        listener.http = lambda _node: self._for_peers.protocol()

    async def stop(self) -> None:
        """Ask and answer no more."""
        self._agent.unsubscribe(self._changed)
        if self._tidying is not None:
            await self._tidying
        await self._for_peers.stop()
        await self._close()

    def _changed(self) -> None:
        """Close the links to brokers that are gone, or have another address."""
        brokers = frozenset((each.node, each.address) for each in self.state.peers())
        if brokers == self._brokers:
            return
        self._brokers = brokers
        if self._tidying is None or self._tidying.done():
            self._tidying = asyncio.get_running_loop().create_task(self._tidy())

    async def _tidy(self) -> None:
        known: frozenset[tuple[str, str]] | None = None
        while known != self._brokers:
            known = self._brokers
            await self._close_all_but(known)
