"""What stands in front of the resources of a broker in a cluster.

`ClusterFront` is in front of what users ask for: it finds the broker, or the brokers, that have it
(`scopes.py`). `PeerFront` is in front of what other brokers ask for: that is never passed on again.
The rights of who asks were checked before, and are checked by every broker that is asked.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Final, Protocol

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message

from leveret.engine.administration.operator import NotFound
from leveret.engine.metadata.entities import VirtualHostEntity
from leveret.engine.metadata.metadata import Metadata
from leveret.management.cluster.combined import Combined
from leveret.management.cluster.marks import (
    KEYS_ONLY,
    MISDIRECTED,
    rows_in,
    target_of,
    version_in,
)
from leveret.management.cluster.merged_list import ListedForPeer, MergedList
from leveret.management.cluster.peers import PeerFailed, PeerResponse, Peers
from leveret.management.cluster.scopes import Scope, scope_of
from leveret.management.cluster.state import ClusterState
from leveret.management.http import (
    BODY_BYTES_MAX,
    Cut,
    Endpoint,
    Front,
    failed,
    identity,
    json,
    management,
    octets,
    segment,
)
from leveret.management.listing import ELSEWHERE
from leveret.management.newer_metadata import read_again
from leveret_storage.errors import StorageError

OWNER_WAIT_S: Final = 3.0
"""Seconds for which a request waits for the broker that is to serve its virtual host."""

LOOK_AGAIN_S: Final = 0.05

METADATA_WAIT_S: Final = 2.0
"""Seconds for which a request waits for the metadata that the broker that sent it has."""

IMPORT_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of a request that imports definitions."""

SENT_HEADERS: Final = ("accept", "content-type", "if-none-match", "x-reason")
"""Headers of a request that are passed on."""

RETURNED_HEADERS: Final = ("content-disposition", "content-type", "etag", "location")
"""Headers of an answer that are passed on."""

SERVICE_UNAVAILABLE: Final = 503

READING: Final = ("GET", "HEAD", "OPTIONS")
WITH_METADATA: Final = (Scope.HERE, Scope.COMBINED, Scope.EVERYWHERE)
"""Who answers requests that change the metadata."""


class SharedMetadata(Protocol):
    """The metadata that the brokers of a cluster have in common."""

    @property
    def version(self) -> int:
        """Of what this broker has, as all brokers number it."""

    async def refresh(self) -> None:
        """Have what there is at this moment.

        :raises StorageError: if that cannot be read.
        """


async def _refresh(shared: SharedMetadata) -> None:
    """Have the metadata that there are at this moment, if the database answers soon: otherwise the
    answer is what is known here."""
    with suppress(TimeoutError, StorageError):
        async with asyncio.timeout(METADATA_WAIT_S):
            await shared.refresh()


class ClusterFront(Front):
    """In front of what users ask for."""

    def __init__(
        self,
        peers: Peers,
        state: ClusterState,
        metadata: Metadata,
        shared: SharedMetadata,
        *,
        owner_wait_s: float = OWNER_WAIT_S,
    ) -> None:
        self.owner_wait_s = owner_wait_s
        """Seconds for which a request waits for the owner of its virtual host."""
        self._peers = peers
        self._state = state
        self._metadata = metadata
        self._shared = shared
        self._combined = Combined(peers, state)

    async def respond(
        self, request: Request, path: str, method: str, endpoint: Endpoint
    ) -> Response:
        scope = scope_of(path, method)
        if method not in READING and scope in WITH_METADATA:
            # What another broker has answered a moment ago decides what this one is to do.
            await _refresh(self._shared)
        try:
            if scope is Scope.OWNER:
                return await self._at_owner(request, method, endpoint)
            if scope is Scope.MERGED:
                down = self._state.down_nodes if path == "/api/nodes" else list
                if self._peers.nodes() or down():
                    setattr(request.state, ELSEWHERE, MergedList(self._peers, down))
            elif scope is Scope.NODE:
                return await self._at_node(request, method, endpoint)
            elif scope is Scope.ANYWHERE:
                return await self._anywhere(request, method, endpoint)
            elif scope is Scope.EVERYWHERE:
                return await self._everywhere(request, method, endpoint)
            elif scope is Scope.COMBINED:
                return await self._combined.respond(request, path, method, endpoint)
        except PeerFailed as error:
            return failed(SERVICE_UNAVAILABLE, "node_down", str(error))
        if method in READING:
            return await _found(request, endpoint)
        return await endpoint(request)

    def lists(self, request: Request, vhost: str) -> bool:
        if vhost in management(request).broker.vhosts:
            return True
        owner = self._state.owner_of(vhost)
        listing = getattr(request.state, ELSEWHERE, None)
        return not isinstance(listing, MergedList) or owner not in listing.answered

    async def prepare(self, request: Request) -> None:
        """Nothing: who logs in is known here, or not."""

    async def look_up(self, vhost: str) -> None:
        # Who made it by way of another broker a moment ago may go on at this one.
        if self._metadata.get(VirtualHostEntity, vhost) is None:
            await _refresh(self._shared)

    async def _at_owner(self, request: Request, method: str, endpoint: Endpoint) -> Response:
        """The answer of the broker that serves the virtual host of the path."""
        vhost = segment(request, "vhost")
        body: bytes | None = None
        deadline = asyncio.get_running_loop().time() + self.owner_wait_s
        while True:
            exists = self._metadata.get(VirtualHostEntity, vhost) is not None
            if not exists or vhost in management(request).broker.vhosts:
                return await endpoint(request if body is None else _with_body(request, body))
            owner = self._state.owner_of(vhost)
            if owner and owner != management(request).node:
                if body is None:
                    imports = request.scope["path"].startswith("/api/definitions/")
                    most = IMPORT_BYTES_MAX if imports else BODY_BYTES_MAX
                    body = bytes(await octets(request, most))
                answer = await self._ask(owner, request, method, body)
                if answer.status != MISDIRECTED:
                    return self._passed_on(owner, answer)
                await answer.close()
            if asyncio.get_running_loop().time() >= deadline:
                return failed(SERVICE_UNAVAILABLE, "vhost_down", f"vhost '{vhost}' is down")
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _at_node(self, request: Request, method: str, endpoint: Endpoint) -> Response:
        """The answer of the broker that the path names."""
        node = segment(request, "node" if "node" in request.path_params else "name")
        if node in self._peers.nodes():
            return self._passed_on(node, await self._ask(node, request, method))
        for down in self._state.down_nodes():
            if down["name"] == node:
                is_whole = "name" in request.path_params and request.url.path.count("/") == 3
                reason = f"node '{node}' is down"
                return json(down) if is_whole else failed(SERVICE_UNAVAILABLE, "node_down", reason)
        return await endpoint(request)

    async def _anywhere(self, request: Request, method: str, endpoint: Endpoint) -> Response:
        """The answer of the broker that has the object of the path."""
        missing: NotFound
        try:
            return await endpoint(request)
        except NotFound as error:
            missing = error
        silent: PeerFailed | None = None
        for node in self._peers.nodes():
            try:
                answer = await self._ask(node, request, method)
            except PeerFailed as error:
                silent = error
                continue
            if answer.status != 404:
                return self._passed_on(node, answer)
            await answer.close()
        raise missing if silent is None else silent

    async def _everywhere(self, request: Request, method: str, endpoint: Endpoint) -> Response:
        """The answer of this broker, when all have done what was asked for."""
        answers = await self._peers.ask_all(identity(request), method, target_of(request))
        response = await endpoint(request)
        for answer in answers:
            if isinstance(answer, PeerFailed):
                raise answer
            if answer.status >= 400:
                return Response(answer.body, answer.status, media_type="application/json")
        return response

    async def _ask(
        self, node: str, request: Request, method: str, body: bytes = b""
    ) -> PeerResponse:
        found = request.headers
        headers = {name: found[name] for name in SENT_HEADERS if name in found}
        who = identity(request)
        return await self._peers.request(node, who, method, target_of(request), headers, body)

    def _passed_on(self, node: str, answer: PeerResponse) -> Response:
        """The answer of another broker, sent on as it comes."""

        async def body() -> AsyncIterator[bytes]:
            try:
                async for piece in self._peers.pieces(node, answer):
                    yield piece
            except PeerFailed as error:
                raise Cut(str(error)) from None

        response = StreamingResponse(body(), answer.status)
        response.headers.update(_some(answer.headers, RETURNED_HEADERS))
        return response


class PeerFront(Front):
    """In front of what other brokers ask for."""

    def __init__(self, shared: SharedMetadata) -> None:
        self._shared = shared

    async def respond(
        self, request: Request, path: str, method: str, endpoint: Endpoint
    ) -> Response:
        if scope_of(path, method) is Scope.OWNER:
            vhost = segment(request, "vhost")
            if vhost not in management(request).broker.vhosts:
                return failed(MISDIRECTED, "misdirected", f"vhost '{vhost}' is served elsewhere")
        wanted = rows_in(request)
        if wanted is not None:
            keys_only = KEYS_ONLY in request.headers
            setattr(request.state, ELSEWHERE, ListedForPeer(wanted, keys_only=keys_only))
        return await endpoint(request)

    def lists(self, request: Request, vhost: str) -> bool:
        return vhost in management(request).broker.vhosts

    async def prepare(self, request: Request) -> None:
        # A user who has just made a virtual host by way of the other broker goes on in it here.
        if self._shared.version < version_in(request):
            await _refresh(self._shared)

    async def look_up(self, vhost: str) -> None:
        """Nothing more: the other broker has said which metadata it has."""


async def _found(request: Request, endpoint: Endpoint) -> Response:
    """The response of this broker, by newer metadata if it has not got what is asked for."""
    try:
        return await endpoint(request)
    except NotFound:
        if not await read_again(management(request).broker):
            raise
        return await endpoint(request)


def _with_body(request: Request, body: bytes) -> Request:
    """A request whose body was taken, with that body."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(request.scope, receive)


def _some(headers: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: headers[name] for name in names if name in headers}
