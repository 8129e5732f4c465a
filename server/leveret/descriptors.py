"""File descriptors of the process, and who may have how many of them."""

import resource
from typing import Final, NamedTuple

from leveret.limits import UNOPENED_CONNECTIONS_MAX
from leveret.logging import get_logger
from leveret_storage.media.filesystem import DESCRIPTORS_MAX

DESCRIPTORS_OF_PROCESS: Final = 64
"""File descriptors that are neither connections nor files of the store: listeners, the loop's own,
and logs."""

HTTP_SHARE: Final = 8
"""An eighth of all is for the HTTP API and metrics, so that who asks too often leaves the rest."""

MANAGEMENT_MAX: Final = 384
METRICS_MAX: Final = 128
"""Connections to the HTTP API, and for metrics, however many descriptors there are."""

STORE_DESCRIPTORS_MAX: Final = 8192
"""Files that the store has open at most, if connections leave so many descriptors: one for each of
the queues that are written to in turn. With fewer, each such write has to sync the file of another
queue before it closes it. The kernel takes about a kilobyte for each."""

ALL_BUT_SOCKETS: Final = (
    DESCRIPTORS_OF_PROCESS + MANAGEMENT_MAX + METRICS_MAX + STORE_DESCRIPTORS_MAX
)

logger = get_logger()


class DescriptorShares(NamedTuple):
    """What the file descriptors of the process are for."""

    sockets: int
    """Sockets of clients that may be open."""
    store: int
    """Files that the store may have open."""
    management: int
    """Connections to the HTTP API."""
    metrics: int
    """Connections for metrics."""


def raise_descriptor_limit(connections: int) -> DescriptorShares:
    """Raise the limit of open files to one for each socket that may be open at a time, and for the
    files of the store, as far as the hard limit allows.

    :returns: how many of each may be open, so that the store always has its descriptors.
    """
    sockets = connections + UNOPENED_CONNECTIONS_MAX
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    infinite = resource.RLIM_INFINITY
    if soft == infinite:
        return share_descriptors(sockets, sockets + ALL_BUT_SOCKETS)
    wanted = sockets + ALL_BUT_SOCKETS
    limit = max(soft, wanted if hard == infinite else min(wanted, hard))
    if limit > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    reserved = _reserved(limit)
    if limit < connections + reserved:
        logger.warning(
            "the limit of open files is too low for amqp.max_connections; raise it (ulimit -n)",
            limit=limit,
            needed=connections + reserved,
        )
    return share_descriptors(sockets, limit)


def share_descriptors(sockets: int, limit: int) -> DescriptorShares:
    """Share out `limit` descriptors, of which `sockets` at most are for clients."""
    sockets = min(sockets, max(limit - _reserved(limit), limit // 4))
    management, metrics = _http_shares(limit)
    rest = limit - DESCRIPTORS_OF_PROCESS - sockets - management - metrics
    store = min(max(rest, DESCRIPTORS_MAX), STORE_DESCRIPTORS_MAX)
    return DescriptorShares(sockets, store, management, metrics)


def _http_shares(limit: int) -> tuple[int, int]:
    """Connections to the HTTP API, and for metrics."""
    share = limit // HTTP_SHARE
    return min(share * 3 // 4, MANAGEMENT_MAX), min(share // 4, METRICS_MAX)


def _reserved(limit: int) -> int:
    """File descriptors that are not for clients in any case."""
    return DESCRIPTORS_OF_PROCESS + DESCRIPTORS_MAX + sum(_http_shares(limit))
