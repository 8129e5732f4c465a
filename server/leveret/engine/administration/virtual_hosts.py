"""Creating, changing and deleting virtual hosts (RabbitMQ: Virtual Hosts)."""

from collections.abc import Iterable
from uuid import uuid4

import msgspec

from leveret.engine.access.limits import VHOST_LIMITS
from leveret.engine.administration.operator import NotFound, Operator, Refused
from leveret.engine.administration.values import check_limits, check_name
from leveret.engine.lifecycle.argument_checks import QUEUE_TYPES
from leveret.engine.metadata.entities import IN_A_VHOST, VirtualHostEntity


def find_vhost(operator: Operator, name: str) -> VirtualHostEntity:
    """The virtual host of a name.

    :raises NotFound: if there is none.
    """
    vhost = operator.metadata.get(VirtualHostEntity, name)
    if vhost is None:
        raise NotFound(f"virtual host '{name}' does not exist")
    return vhost


def put_vhost(
    operator: Operator,
    name: str,
    *,
    description: str | None = None,
    tags: Iterable[str] | None = None,
    default_queue_type: str | None = None,
    protected_from_deletion: bool | None = None,
    store: int | None = None,
) -> VirtualHostEntity:
    """Create a virtual host, or change one. What is None stays as it is.

    :param store: of the cluster, in which to create it; negative for the one its name leads to.
    :raises Refused: for a name, a queue type or a store that cannot be, or if it exists in another
        store.
    """
    check_name("virtual host", name)
    if default_queue_type and default_queue_type not in QUEUE_TYPES:
        raise Refused(f"unknown queue type '{default_queue_type}'; known: {', '.join(QUEUE_TYPES)}")
    vhost = operator.metadata.get(VirtualHostEntity, name)
    if store is not None:
        _check_store(operator, vhost, store)
    if vhost is None:
        uid = uuid4().hex if operator.metadata.stores else ""
        vhost = VirtualHostEntity(name, uid=uid, store=-1 if store is None else max(store, -1))
    given = {
        "description": description,
        "tags": None if tags is None else tuple(tags),
        "default_queue_type": default_queue_type,
        "protected_from_deletion": protected_from_deletion,
    }
    changed = {field: value for field, value in given.items() if value is not None}
    vhost = msgspec.structs.replace(vhost, **changed)
    operator.put(vhost)
    return vhost


def _check_store(operator: Operator, vhost: VirtualHostEntity | None, store: int) -> None:
    """Check the store that a virtual host is to be in.

    :raises Refused: if it cannot be there.
    """
    stores = operator.metadata.stores
    if vhost is not None:
        if max(store, -1) != vhost.store:
            raise Refused(f"virtual host '{vhost.name}' exists, and cannot change its store")
    elif store >= 0 and not stores:
        raise Refused("a virtual host has a store in a cluster only")
    elif store >= stores:
        raise Refused(f"there is no store {store}: the cluster has {stores}, from 0 on")


def set_limits(operator: Operator, name: str, limits: dict[str, int]) -> None:
    """Set limits of a virtual host; others stay. A negative one is no limit.

    :raises NotFound: if it does not exist.
    :raises Refused: for an unknown limit, or a value that is none.
    """
    vhost = find_vhost(operator, name)
    check_limits(limits, VHOST_LIMITS)
    operator.put(msgspec.structs.replace(vhost, limits={**vhost.limits, **limits}))


def clear_limits(operator: Operator, name: str, limits: Iterable[str] = VHOST_LIMITS) -> None:
    """Remove limits of a virtual host.

    :raises NotFound: if it does not exist.
    """
    vhost = find_vhost(operator, name)
    cleared = frozenset(limits)
    remaining = {limit: value for limit, value in vhost.limits.items() if limit not in cleared}
    operator.put(msgspec.structs.replace(vhost, limits=remaining))


def delete_vhost(operator: Operator, name: str) -> None:
    """Delete a virtual host with everything in it, and close its connections.

    :raises NotFound: if it does not exist.
    :raises Refused: if it is protected.
    """
    if find_vhost(operator, name).protected_from_deletion:
        raise Refused(f"virtual host '{name}' is protected from deletion")
    for kind in IN_A_VHOST:
        for key, entity in list(operator.metadata.all(kind).items()):
            if entity.vhost == name:
                operator.delete(kind, *key)
    operator.delete(VirtualHostEntity, name)
