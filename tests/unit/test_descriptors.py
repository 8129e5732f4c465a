"""How the file descriptors of the process are shared out."""

import pytest

from leveret.descriptors import (
    DESCRIPTORS_OF_PROCESS,
    MANAGEMENT_MAX,
    METRICS_MAX,
    STORE_DESCRIPTORS_MAX,
    DescriptorShares,
    share_descriptors,
)
from leveret_storage.media.filesystem import DESCRIPTORS_MAX

SOCKETS = 17_000


@pytest.mark.parametrize("limit", [1024, 4096, 20_000, 1_048_576])
def test_both_together_are_within_the_limit(limit: int) -> None:
    shares = share_descriptors(SOCKETS, limit)
    assert sum(shares) + DESCRIPTORS_OF_PROCESS <= limit
    assert shares.management > shares.metrics > 0
    assert shares.store >= DESCRIPTORS_MAX


def test_the_store_has_what_connections_leave() -> None:
    http = MANAGEMENT_MAX, METRICS_MAX
    limit = SOCKETS + DESCRIPTORS_OF_PROCESS + sum(http) + 3000
    assert share_descriptors(SOCKETS, limit) == DescriptorShares(SOCKETS, 3000, *http)
    most = DescriptorShares(SOCKETS, STORE_DESCRIPTORS_MAX, *http)
    assert share_descriptors(SOCKETS, 1_048_576) == most
