"""Requests to other brokers over links, which only brokers of the cluster get (`net/links.py`)."""

from collections.abc import AsyncIterator, Mapping

from leveret.management.cluster.peers import Peer, PeerClient, PeerResponse
from leveret.net import peer_http


class LinkedPeerClient(PeerClient):
    """Asks over the links of this broker."""

    def __init__(self, http: peer_http.PeerHttp) -> None:
        self._http = http

    async def request(
        self, peer: Peer, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> PeerResponse:
        return _LinkedResponse(
            await self._http.request(peer.node, peer.address, method, target, headers, body)
        )


class _LinkedResponse(PeerResponse):
    """An answer that comes over a link."""

    def __init__(self, response: peer_http.PeerResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self._response = response

    def pieces(self) -> AsyncIterator[bytes]:
        return self._response.pieces()

    async def close(self) -> None:
        await self._response.close()
