"""Worlds for tests: one that all of them harm and mend, and one that a test may ruin."""

import logging
from collections.abc import Iterator

import pytest

from leveret_storage.media.postgres.location import PASSWORD_VARIABLE
from tests.cluster.world import World
from tests.support.postgres import PASSWORD, programs


class Shared:
    """The world of all tests of a process; one that could not be mended is replaced."""

    def __init__(self) -> None:
        self._world: World | None = None

    def take(self) -> World:
        if self._world is None:
            self._world = World()
        return self._world

    def give_back(self) -> None:
        if self._world is not None:
            try:
                self._world.mend()
            except BaseException:
                self.stop()
                raise

    def stop(self) -> None:
        world, self._world = self._world, None
        if world is not None:
            world.stop()


@pytest.fixture(scope="package")
def shared() -> Iterator[Shared]:
    shared = Shared()
    yield shared
    shared.stop()


@pytest.fixture
def world(shared: Shared, programs_there: None) -> Iterator[World]:
    """Three brokers, a primary and two standbys, all of which a test may kill."""
    yield shared.take()
    shared.give_back()


@pytest.fixture
def lost_world(programs_there: None) -> Iterator[World]:
    """A world of one test, whose database it may spoil."""
    with World() as world:
        yield world


@pytest.fixture(scope="session")
def programs_there() -> None:
    if programs() is None:
        pytest.skip("PostgreSQL 15 or newer is not installed: apt-get install postgresql")


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)


@pytest.fixture(autouse=True)
def _quiet_clients() -> Iterator[None]:
    """Clients that lose their connection log each attempt, and failures that they expect."""
    names = ("aio_pika", "aiormq", "pika")
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)
