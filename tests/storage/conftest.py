"""Servers of PostgreSQL: for all tests of a process that harm none, and for one that does."""

from collections.abc import Iterator

import pytest

from leveret_storage.media.postgres.location import PASSWORD_VARIABLE
from tests.support.postgres import PASSWORD, PostgresCluster


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresCluster]:
    """Servers that no test harms."""
    with PostgresCluster() as cluster:
        yield cluster


@pytest.fixture
def failing_postgres() -> Iterator[PostgresCluster]:
    """Servers of one test, which may kill them."""
    with PostgresCluster() as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
