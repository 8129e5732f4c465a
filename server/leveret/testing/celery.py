"""Celery's fixtures of pytest, with a broker of Leveret.

A suite enables them with

    pytest_plugins = ["leveret.testing.celery"]

in its top conftest.py, which enables `celery.contrib.pytest`, too. Whatever order both are named
in, the fixtures of `celery_fixtures.py` are registered last, so they are those that tests get.

PYTEST_DONT_REWRITE: pytest leaves assertions as they are (`unrewritten.py`).
"""

from typing import Final

import pytest

CELERYS_PLUGIN: Final = "celery.contrib.pytest"
FIXTURES: Final = "leveret.testing.celery_fixtures"


def pytest_configure(config: pytest.Config) -> None:
    manager = config.pluginmanager
    for name in (CELERYS_PLUGIN, FIXTURES):
        manager.import_plugin(name)
