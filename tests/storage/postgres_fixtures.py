"""Fixtures of the tests that need PostgreSQL: servers for all tests of a process, and locations."""

import os
from collections.abc import Iterator
from itertools import count
from typing import Final

import pytest

from leveret_storage.media.postgres.location import PASSWORD_VARIABLE
from tests.support.postgres import PASSWORD, PostgresCluster

_NUMBERS: Final = count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresCluster]:
    """Servers that no test harms."""
    os.environ[PASSWORD_VARIABLE] = PASSWORD
    with PostgresCluster() as cluster:
        yield cluster


@pytest.fixture
def failing_postgres() -> Iterator[PostgresCluster]:
    """Servers of one test, to be killed."""
    os.environ[PASSWORD_VARIABLE] = PASSWORD
    with PostgresCluster() as cluster:
        yield cluster


def new_location(cluster: PostgresCluster, **parameters: str) -> str:
    """The location of a store that nobody has used."""
    return cluster.url(schema=f"test_{next(_NUMBERS)}", **parameters)
