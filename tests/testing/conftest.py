"""What these tests have: a broker in a thread and in a process, and runs of pytest."""

from collections.abc import Iterator

import pytest

from leveret.testing import Broker
from tests.testing.plugin_runs import Runs


@pytest.fixture(scope="module", params=[False, True], ids=["thread", "process"])
def running(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """A broker for all tests of a module."""
    with Broker(process=request.param) as broker:
        yield broker


@pytest.fixture
def broker(running: Broker) -> Broker:
    """The broker of the module, fresh for each test."""
    running.reset()
    return running


@pytest.fixture
def runs(request: pytest.FixtureRequest) -> Runs:
    """Runs of pytest in a directory of their own."""
    # Registered for the tests that need it, and not for the whole suite.
    if not request.config.pluginmanager.has_plugin("pytester"):
        request.config.pluginmanager.import_plugin("pytester")
    return Runs(request.getfixturevalue("pytester"))
