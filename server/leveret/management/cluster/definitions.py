"""Definitions of the whole cluster: exported from all brokers, and imported into all.

Users, virtual hosts, policies and the like are the same at every broker, and are put here. Queues,
exchanges and bindings belong to the broker that serves their virtual host: each gets its part when
the metadata are durable. A part that one refuses leaves what came before it in place.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from leveret.engine.administration.definitions_decoding import DefinitionsDecoding
from leveret.engine.administration.definitions_file import DefinitionsFile
from leveret.engine.administration.definitions_import import DefinitionsImport
from leveret.management.api.definitions import FILE_BYTES_MAX, file_in
from leveret.management.cluster.marks import target_of
from leveret.management.cluster.peers import PeerFailed, Peers
from leveret.management.cluster.state import ClusterState
from leveret.management.http import (
    BadRequest,
    Endpoint,
    Json,
    changed,
    failed,
    identity,
    json,
    management,
    octets,
    operator,
)

OBJECTS: Final = ("queues", "exchanges", "bindings")
"""The sections whose entries belong to the broker that serves their virtual host."""

IMPORT: Final = "/api/definitions"


class _Objects(msgspec.Struct):
    """The definitions of another broker, whose entries are not decoded: they may be very many."""

    queues: msgspec.Raw = msgspec.Raw(b"[]")
    exchanges: msgspec.Raw = msgspec.Raw(b"[]")
    bindings: msgspec.Raw = msgspec.Raw(b"[]")


_DECODER: Final = msgspec.json.Decoder(_Objects)


class DefinitionsOfAll:
    """Exports and imports definitions."""

    def __init__(self, peers: Peers, state: ClusterState) -> None:
        self._peers = peers
        self._state = state

    async def exported(self, request: Request, endpoint: Endpoint) -> Response:
        """The definitions of all brokers.

        :raises PeerFailed: if one does not answer: a part is no export.
        """
        if down := self._state.vhosts_without_owner():
            return failed(503, "vhost_down", f"vhost '{down[0]}' is down: its queues are unknown")
        response = await endpoint(request)
        if not isinstance(response, Json) or not isinstance(response.value, dict):
            return response
        found: dict[str, Any] = dict(response.value)
        parts = [{each: msgspec.json.encode(found[each]) for each in OBJECTS}]
        for answer in await self._peers.ask_all(
            identity(request), "GET", target_of(request, whole=True)
        ):
            if isinstance(answer, PeerFailed):
                raise answer
            if answer.status != 200:
                raise PeerFailed(answer.node, f"status {answer.status}")
            other = _DECODER.decode(answer.body)
            parts.append({each: bytes(getattr(other, each)) for each in OBJECTS})
        for section in OBJECTS:
            joined = _joined(part[section] for part in parts)
            # Only who asks for some columns has the entries looked into.
            is_whole = "columns" not in request.query_params
            found[section] = msgspec.Raw(joined) if is_whole else msgspec.json.decode(joined)
        merged = json(found)
        if name := response.headers.get("content-disposition"):
            merged.headers["content-disposition"] = name
        return merged

    async def imported(self, request: Request) -> Response:
        """Import definitions here, and have the other brokers import those of theirs.

        :raises BadRequest: if the file cannot be read.
        :raises PeerFailed: if a broker that has a part of it does not answer.
        """
        service = management(request)
        decoding = DefinitionsDecoding(file_in(request, await octets(request, FILE_BYTES_MAX)))
        await service.run(decoding)
        if decoding.error:
            raise BadRequest(decoding.error)
        parts = self._parts(decoding.file)
        if "" in parts:
            vhost = next(each.vhost for each in _objects(parts[""]))
            return failed(503, "vhost_down", f"vhost '{vhost}' is down")
        own = parts.pop(service.node, DefinitionsFile())
        for section in OBJECTS:
            setattr(decoding.file, section, getattr(own, section))
        applied = DefinitionsImport(service.broker, operator(request), decoding.file, None)
        await service.run(applied)
        if applied.error is not None:
            raise applied.error
        response = await changed(request)
        for node, part in parts.items():
            answer = await self._peers.ask(
                node, identity(request), "POST", IMPORT, msgspec.json.encode(part)
            )
            if answer.status >= 400:
                return Response(answer.body, answer.status, media_type="application/json")
        return response

    def _parts(self, file: DefinitionsFile) -> dict[str, DefinitionsFile]:
        """The queues, exchanges and bindings of a file, by the broker that they belong to."""
        parts: dict[str, DefinitionsFile] = {}
        for section in OBJECTS:
            for entry in getattr(file, section):
                owner = self._state.owner_of(entry.vhost)
                part = parts.setdefault(owner, DefinitionsFile())
                getattr(part, section).append(entry)
        return parts


def _objects(part: DefinitionsFile) -> list[Any]:
    return [*part.queues, *part.exchanges, *part.bindings]


def _joined(lists: Iterable[bytes]) -> bytes:
    """One list of several, in JSON."""
    return b"[" + b",".join(filter(None, (each.strip()[1:-1] for each in lists))) + b"]"
