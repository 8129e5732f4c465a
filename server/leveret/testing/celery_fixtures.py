"""Celery's fixtures for apps, pointed at a broker; `celery.py` registers them.

Results go through the broker, too (`rpc://`), so that they reach the test from any kind of worker.
What `celery_config`, `celery_parameters` or the marker `celery` say of the broker and the results
takes precedence. Workers need nothing of their own, as they use an app's broker:

- `celery_app`, and `celery_worker` with it, use `leveret`, which is reset when both have ended;
- `celery_session_app`, and `celery_session_worker`, use `leveret_session`, which is never reset.

PYTEST_DONT_REWRITE: pytest leaves assertions as they are (`unrewritten.py`).
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from typing import Any, Final

import pytest
from celery import Celery

# The task that `start_worker` sends to know that a worker works.
from celery.contrib.testing import tasks
from kombu.exceptions import ConnectionLimitExceeded

from leveret.testing.broker import Broker

PING: Final = tasks.ping

RESULTS: Final = "rpc://"

WAKING_OFTEN: Final = {"broker_heartbeat": 60, "broker_heartbeat_checkrate": 1000}
"""Seconds, and checks in each of these intervals: with a check every 60 ms, an idle worker notices
so soon that it is to end, and otherwise only after a second."""


@pytest.fixture
def celery_app(
    celery_app: Celery,
    leveret: Broker,
    celery_config: Mapping[str, Any],
    celery_parameters: Mapping[str, Any],
    request: pytest.FixtureRequest,
) -> Iterator[Celery]:
    """Celery's fixture, with the broker `leveret`."""
    own = _own_settings(celery_config, celery_parameters, request)
    yield from _pointed_at(celery_app, leveret, own)


@pytest.fixture(scope="session")
def celery_session_app(
    celery_session_app: Celery,
    leveret_session: Broker,
    celery_config: Mapping[str, Any],
    celery_parameters: Mapping[str, Any],
    request: pytest.FixtureRequest,
) -> Iterator[Celery]:
    """Celery's fixture, with the broker `leveret_session`."""
    own = _own_settings(celery_config, celery_parameters, request)
    yield from _pointed_at(celery_session_app, leveret_session, own)


def _own_settings(
    config: Mapping[str, Any], parameters: Mapping[str, Any], request: pytest.FixtureRequest
) -> set[str]:
    """The names of what the suite itself says of an app."""
    mark = request.node.get_closest_marker("celery")
    return {*config, *parameters, *(mark.kwargs if mark else ())}


def _pointed_at(app: Celery, broker: Broker, own: set[str]) -> Iterator[Celery]:
    """The app, which uses a broker as far as the suite does not say otherwise; afterwards its
    connections are closed."""
    if not own & {"broker_url", "broker", "broker_read_url", "broker_write_url"}:
        app.conf.broker_url = broker.url
    if not own & {"result_backend", "backend"}:
        app.conf.result_backend = RESULTS
    for name, value in WAKING_OFTEN.items():
        if name not in own:
            app.conf[name] = value
    yield app
    _close_connections(app)


def _close_connections(app: Celery) -> None:
    """Close the connections that an app has left open, without a word to the broker, which may be
    paused. kombu keeps them by their URL for all apps, so the next one would find them, closed by
    the broker in the meantime."""
    results = getattr(app.backend, "result_consumer", None)
    if results is not None:
        results.on_after_fork()
    with ExitStack() as acquired, suppress(ConnectionLimitExceeded):
        for _ in range(app.pool.limit or 0):
            connection = acquired.enter_context(app.pool.acquire(block=False))
            connection.collect()
