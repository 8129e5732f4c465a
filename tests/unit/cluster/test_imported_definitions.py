"""A definitions file that each broker of a cluster has in its configuration: one imports it, and
the owners of the virtual hosts declare what it has for them.
"""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

from leveret.cluster.shared_definitions import SharedDefinitions
from leveret.config import Auth, Config
from leveret.engine.administration.operator import Operator
from leveret.engine.administration.virtual_hosts import delete_vhost
from leveret.engine.broker import Broker
from leveret.engine.metadata.entities import ImportedObjects, User
from leveret.engine.placement import Placement, ServedBy
from leveret.management.import_at_start import import_at_start
from leveret.management.imported_objects import ImportedObjectsDeclared
from leveret.management.service import Management
from leveret_storage.errors import StorageError
from leveret_storage.media.executor import InlineExecutor
from tests.storage.faulty import FaultyMedium
from tests.storage.owning import take
from tests.support.shared_logs import LogContents, MemorySharedLog

DEADLINE_S = 30.0

STORE_OF = {"/": 0, "a": 0, "b": 1}

FILE = {
    "vhosts": [{"name": "a"}, {"name": "b"}],
    "users": [{"name": "ann", "password": "pw"}],
    "permissions": [{"user": "ann", "vhost": "b", "configure": "", "write": "", "read": ".*"}],
    "exchanges": [{"vhost": "b", "name": "x", "type": "fanout"}],
    "queues": [{"vhost": "a", "name": "qa"}, {"vhost": "b", "name": "qb"}],
    "bindings": [{"vhost": "b", "source": "x", "destination": "qb"}],
}


class ByName(Placement):
    def store_of(self, vhost: str) -> int:
        return STORE_OF[vhost]

    def served_by(self, vhost: str) -> ServedBy | None:
        raise NotImplementedError


def failed(error: StorageError) -> None:
    raise error


class Member:
    """A broker at its start, which owns a store when it is told."""

    def __init__(self, contents: LogContents, number: int) -> None:
        self.definitions = SharedDefinitions(MemorySharedLog(contents), Auth(), 2)
        self.definitions.load()
        self.definitions.start()
        self.broker = Broker(Config(), self.definitions.metadata)
        self.broker.placement = ByName()
        self.management = Management(self.broker, list, list, lambda _limit: None)
        self.management.definitions = self.definitions
        self.declared = ImportedObjectsDeclared(self.management)
        self._number = number

    def own(self) -> None:
        medium = FaultyMedium(self._number)
        take(medium)
        hosted = self.broker.open_store(
            medium, InlineExecutor(), InlineExecutor(), failed, vhosts=(), number=self._number
        )
        self.broker.match_metadata(hosted)

    def queues(self) -> dict[str, set[str]]:
        return {name: set(vhost.queues) for name, vhost in self.broker.vhosts.items()}

    async def close(self) -> None:
        await self.declared.stop()
        await self.definitions.stop()


async def serve_until(state: Callable[[], object], *members: Member) -> None:
    """Have the brokers do their work until a state is reached."""
    end = time.monotonic() + DEADLINE_S
    while not state():
        assert time.monotonic() < end
        for member in members:
            member.broker.work.run_all(member.broker.time_slice)
            member.broker.commit()
        await asyncio.sleep(0.01)


def members() -> tuple[Member, Member]:
    contents = LogContents()
    return Member(contents, 0), Member(contents, 1)


def written(directory: Path) -> str:
    path = directory / "definitions.json"
    path.write_text(json.dumps(FILE))
    return str(path)


def test_brokers_that_start_at_once_import_it_once(tmp_path: Path) -> None:
    async def test() -> None:
        first, second = members()
        path = written(tmp_path)
        await asyncio.gather(*(import_at_start(each.management, path) for each in (first, second)))
        await first.definitions.refresh()
        await second.definitions.refresh()
        ann = first.definitions.metadata.get(User, "ann")
        assert ann is not None
        assert ann == second.definitions.metadata.get(User, "ann")
        assert first.definitions.metadata.get(User, "guest") is None
        assert len(first.definitions.metadata.all(ImportedObjects)) == 2
        await first.close()
        await second.close()

    asyncio.run(test())


def test_owners_declare_what_it_has_for_their_virtual_hosts(tmp_path: Path) -> None:
    async def test() -> None:
        first, second = members()
        await import_at_start(first.management, written(tmp_path))
        waiting = first.definitions.metadata.all(ImportedObjects)
        await second.definitions.refresh()
        for member in (first, second):
            member.declared.start()
            member.own()
        await serve_until(lambda: not waiting, first, second)
        assert first.queues() == {"/": set(), "a": {"qa"}}
        assert second.queues() == {"b": {"qb"}}
        assert len(list(second.broker.vhosts["b"].exchanges["x"].bindings())) == 1
        await second.definitions.refresh()
        assert not second.definitions.metadata.all(ImportedObjects)
        await first.close()
        await second.close()

    asyncio.run(test())


def test_what_waits_for_a_virtual_host_goes_with_it(tmp_path: Path) -> None:
    async def test() -> None:
        first, second = members()
        await import_at_start(first.management, written(tmp_path))
        delete_vhost(Operator(first.definitions.metadata, "", "", silent=True), "b")
        await first.definitions.durable()
        await second.definitions.refresh()
        assert [vhost for vhost, _ in second.definitions.metadata.all(ImportedObjects)] == ["a"]
        await first.close()
        await second.close()

    asyncio.run(test())
