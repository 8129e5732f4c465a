"""What the tests of the plugin of pytest have: runs of pytest."""

import pytest

from tests.testing.plugin_runs import Runs


@pytest.fixture
def runs(request: pytest.FixtureRequest) -> Runs:
    """Runs of pytest in a directory of their own."""
    # Registered for the tests that need it, and not for the whole suite.
    if not request.config.pluginmanager.has_plugin("pytester"):
        request.config.pluginmanager.import_plugin("pytester")
    return Runs(request.getfixturevalue("pytester"))
