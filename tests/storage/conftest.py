"""Servers of PostgreSQL: for all tests of a process that harm none, and for one that does."""

from collections.abc import Iterator

import pytest

from leveret_storage.media.postgres.location import PASSWORD_VARIABLE
from tests.support.postgres import PASSWORD, PostgresCluster, programs


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresCluster]:
    """Servers that no test harms."""
    _skip_without_programs()
    with PostgresCluster() as cluster:
        yield cluster


@pytest.fixture
def failing_postgres() -> Iterator[PostgresCluster]:
    """Servers of one test, which may kill them."""
    _skip_without_programs()
    with PostgresCluster() as cluster:
        yield cluster


def _skip_without_programs() -> None:
    if programs() is None:
        pytest.skip("PostgreSQL 15 or newer is not installed: apt-get install postgresql")


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
