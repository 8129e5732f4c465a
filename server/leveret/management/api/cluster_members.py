"""The members, the stores and the database of a cluster, and what operators order of them.

Any broker takes an order: it goes to the database, and the broker that it concerns carries it out,
mostly within a second. A broker that shares its storage with no other has no members and no stores.
"""

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from leveret.engine.administration.operator import NotFound, Refused, Unavailable
from leveret.management.authorisation import Access
from leveret.management.cluster.state import ClusterState, is_refused
from leveret.management.description import ListOf, described
from leveret.management.http import body, json, management, operator, route, segment, whole_number
from leveret.management.listing import listed
from leveret.management.nouns.cluster import (
    MEMBER,
    STORE,
    ClusterCountsShown,
    ClusterShown,
    PassedOnShown,
    database_shown,
    lacks_standbys,
    member_row,
    store_row,
)
from leveret_storage.errors import StorageError

STORE_DIGITS_MAX: Final = 4


class SuccessorBody(msgspec.Struct):
    """The member that is to own a store whenever it lives."""

    node: str


def _cluster(request: Request) -> ClusterState:
    """The cluster.

    :raises NotFound: if there is none.
    """
    cluster = management(request).cluster
    if cluster is None:
        raise NotFound("this broker shares its storage with no other: there is no cluster")
    return cluster


@described(gives=ClusterShown)
async def get_cluster(request: Request) -> Response:
    """The cluster as this broker sees it: members, stores, the database, and what is wrong."""
    service = management(request)
    cluster = service.cluster
    if cluster is None:
        return json(ClusterShown(service.node, False, [], [], None, None, None, []))
    standbys = await cluster.standbys()
    view, silent = cluster.view(), cluster.silent()
    vhosts = cluster.vhosts_by_store()
    database = database_shown(cluster.database(), standbys)
    warnings = cluster.warnings()
    if database is not None and lacks_standbys(database):
        warnings.append("no standby follows the database: publishers wait, nothing is confirmed")
    shown = ClusterShown(
        node=view.node,
        clustered=True,
        members=[member_row(each, view, silent) for each in view.members],
        stores=[store_row(each, vhosts.get(each.store, [])) for each in view.stores],
        database=database,
        counts=ClusterCountsShown(*view.counts),
        passed_on=PassedOnShown(*cluster.passed_on()),
        warnings=warnings,
    )
    return json(shown)


@described(gives=ListOf(MEMBER))
async def get_members(request: Request) -> Response:
    """The members: the brokers that share the database."""
    cluster = management(request).cluster
    if cluster is None:
        return await listed(request, MEMBER, [])
    view, silent = cluster.view(), cluster.silent()
    return await listed(request, MEMBER, [member_row(each, view, silent) for each in view.members])


@described(gives=ListOf(STORE))
async def get_stores(request: Request) -> Response:
    """The stores, each with its owner and its virtual hosts."""
    cluster = management(request).cluster
    if cluster is None:
        return await listed(request, STORE, [])
    vhosts = cluster.vhosts_by_store()
    rows = [store_row(each, vhosts.get(each.store, [])) for each in cluster.view().stores]
    return await listed(request, STORE, rows)


def _store(request: Request, cluster: ClusterState) -> int:
    """The store that the path names.

    :raises NotFound: if there is none.
    """
    text = segment(request, "store")
    store = whole_number(text, STORE_DIGITS_MAX)
    if store is None or store >= len(cluster.view().stores):
        raise NotFound(f"store '{text}' does not exist")
    return store


def _unreachable(error: StorageError) -> Unavailable:
    return Unavailable(f"the database does not answer, so this may be done or not: {error}")


@described(takes=SuccessorBody)
async def put_successor(request: Request) -> Response:
    """Have a store be owned by a member whenever that lives; its owner hands it over."""
    cluster = _cluster(request)
    store = _store(request, cluster)
    given = await body(request, SuccessorBody)
    member = next((each for each in cluster.view().members if each.name == given.node), None)
    if member is None:
        raise Refused(f"node '{given.node}' is no member of the cluster")
    if not member.is_alive:
        raise Refused(f"node '{given.node}' is down")
    if member.draining:
        raise Refused(f"node '{given.node}' is drained: it takes no store")
    await _order_move(request, cluster, store, given.node)
    return Response(status_code=204)


async def delete_successor(request: Request) -> Response:
    """Let a store be owned by any member again."""
    cluster = _cluster(request)
    await _order_move(request, cluster, _store(request, cluster), "")
    return Response(status_code=204)


async def _order_move(request: Request, cluster: ClusterState, store: int, node: str) -> None:
    try:
        await cluster.move(store, node)
    except StorageError as error:
        raise _unreachable(error) from None
    operator(request).log("store moved", {"store": store, "node": node})


async def delete_refusal(request: Request) -> Response:
    """Allow that a store is taken again which nobody may take, because confirmed data were missing
    or damaged: what is missing is lost then."""
    cluster = _cluster(request)
    store = _store(request, cluster)
    if not is_refused(cluster.view().stores[store]):
        raise NotFound(f"store {store} is not refused")
    try:
        await cluster.allow(store)
    except StorageError as error:
        raise _unreachable(error) from None
    operator(request).log("store allowed", {"store": store})
    return Response(status_code=204)


async def drain(request: Request) -> Response:
    """Have a member own no store (PUT), or its share again (DELETE): it hands its stores over, and
    goes on to pass on connections."""
    cluster, node = _cluster(request), segment(request, "name")
    draining = request.method == "PUT"
    try:
        found = await cluster.drain(node, draining=draining)
    except StorageError as error:
        raise _unreachable(error) from None
    if not found:
        raise NotFound(f"node '{node}' is no member of the cluster")
    operator(request).log("node drained" if draining else "node not drained", {"node": node})
    return Response(status_code=204)


async def forget_member(request: Request) -> Response:
    """Remove a member that is down, and does not come back."""
    cluster, node = _cluster(request), segment(request, "name")
    known = {each.name: each for each in cluster.view().members}
    if node not in known:
        raise NotFound(f"node '{node}' is no member of the cluster")
    try:
        removed = await cluster.forget(node)
    except StorageError as error:
        raise _unreachable(error) from None
    if not removed:
        raise Refused(f"node '{node}' is running: stop it first")
    operator(request).log("node forgotten", {"node": node})
    return Response(status_code=204)


ROUTES: Final = (
    route("/api/cluster", access=Access.MONITORING, GET=get_cluster),
    route("/api/cluster/members", access=Access.MONITORING, GET=get_members),
    route("/api/cluster/members/{name}", DELETE=forget_member),
    route("/api/cluster/members/{name}/drain", PUT=drain, DELETE=drain),
    route("/api/cluster/stores", access=Access.MONITORING, GET=get_stores),
    route(
        "/api/cluster/stores/{store}/successor",
        PUT=put_successor,
        DELETE=delete_successor,
    ),
    route("/api/cluster/stores/{store}/refusal", DELETE=delete_refusal),
)
