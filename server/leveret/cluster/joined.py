"""What a broker needs of its membership in a cluster, and what does not import the parts of it: a
broker whose data are in a directory has none of them in memory, and starts without them.

`membership.py` is what there is of it.
"""

from collections.abc import Callable
from typing import Protocol

from leveret.cluster.shared_definitions import SharedDefinitions
from leveret.engine.broker import Broker
from leveret.engine.metadata.metadata import Metadata
from leveret.net.server import AmqpServer


class Joined(Protocol):
    """The membership of this broker in a cluster; `Membership` says what the members are."""

    @property
    def node(self) -> str: ...

    @property
    def metadata(self) -> Metadata: ...

    @property
    def definitions(self) -> SharedDefinitions: ...

    @property
    def failed(self) -> bool: ...

    def free_bytes(self) -> int: ...

    def place(self, broker: Broker, files_max: int) -> None: ...

    async def start(self, server: AmqpServer, ended: Callable[[], None]) -> None: ...

    async def hand_over(self) -> None: ...

    async def leave(self) -> None: ...

    def close(self) -> None: ...

    def kill(self) -> None: ...
