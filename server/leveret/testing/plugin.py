"""The plugin of pytest: a broker for tests, without configuration.

Every run of pytest on a machine with Leveret imports this module, so it imports no part of the
broker: that happens when the first test wants one. A broker is reset when all fixtures of its test
have ended, so they can still close their connections. pytest-xdist runs this in each of its
processes, each of which has its own brokers, and starts none in the process that distributes tests.

PYTEST_DONT_REWRITE: pytest leaves assertions as they are (`unrewritten.py`).
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any, Final

import pytest

from leveret.testing.broker import Broker
from leveret.testing.broker_pool import BrokerPool
from leveret.testing.errors import BrokerError
from leveret.testing.marker import ANY, DESCRIPTION, NAME, Wanted, is_marked, wanted_by
from leveret.testing.use import Reset, Use
from leveret.testing.variables import read_variables

LOG_LEVELS: Final = ("debug", "info", "warning", "error")
DEFAULT_LOG_LEVEL: Final = "info"

OWN: Final = "leveret_broker"
SESSION: Final = "leveret_session"

POOL: Final = pytest.StashKey[BrokerPool]()
USES: Final = pytest.StashKey[dict[str, Use]]()
"""The brokers that a test uses, by the name of the fixture."""


# --- options ----------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("leveret", "a broker for tests")
    group.addoption(
        "--leveret-log",
        nargs="?",
        const=DEFAULT_LOG_LEVEL,
        choices=LOG_LEVELS,
        metavar="LEVEL",
        help="add the broker's log to the reports of tests, from LEVEL (info) upwards; pytest shows"
        " the reports of tests that fail, and with -rP of those that pass",
    )
    parser.addini(
        "leveret_env",
        "environment variables that are to hold the broker's URL, a line each: NAME, or NAME=VALUE"
        " with {url}, {host}, {port}, {user}, {password} or {vhost} in the value",
        type="linelist",
        default=[],
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    # Before the application is imported, which may read the variables only then.
    _prepare(early_config)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", DESCRIPTION)
    _prepare(config)


def _prepare(config: pytest.Config) -> None:
    if POOL in config.stash:
        return
    try:
        variables = read_variables(config.getini("leveret_env"))
    except ValueError as error:
        raise pytest.UsageError(f"leveret_env: {error}") from None
    # Of all options only those of early plugins are known before the first conftest.py.
    level = getattr(config.known_args_namespace, "leveret_log", None) or DEFAULT_LOG_LEVEL
    pool = config.stash[POOL] = BrokerPool(level, variables)
    config.add_cleanup(pool.close)
    if variables:
        pool.announce()


def pytest_sessionstart(session: pytest.Session) -> None:
    config = session.config
    pool = config.stash[POOL]
    if pool.is_announced and not _only_distributes(config) and not _forks(config):
        try:
            pool.fresh(ANY)
        except BrokerError as error:
            raise pytest.UsageError(str(error)) from None


def _only_distributes(config: pytest.Config) -> bool:
    """Whether this is the process of pytest-xdist that runs no tests itself."""
    return config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput")


def _forks(config: pytest.Config) -> bool:
    """Whether pytest-forked runs each test in a process of its own, which then has its broker."""
    return bool(config.getoption("forked", False))


# --- tests ------------------------------------------------------------------------------------


def pytest_runtest_setup(item: pytest.Item) -> None:
    pool = item.config.stash[POOL]
    with _failures_in_words():
        if SESSION in _fixtures_of(item):
            item.stash.setdefault(USES, {})[SESSION] = Use(pool.session(), Reset.NEVER)
        if is_marked(item) and not _has_only_its_own(item):
            _use_pooled(item, wanted_by(item))
        elif pool.is_announced and not pool.is_elsewhere:
            _use_pooled(item, ANY, Reset.IF_CONNECTED)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    try:
        return (yield)
    finally:
        uses, item.stash[USES] = item.stash.get(USES, {}), {}
        with ExitStack() as ends:
            for use in uses.values():
                ends.callback(use.end)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    with_log = item.config.getoption("leveret_log") is not None
    if report.failed or (with_log and report.when == "call"):
        for name, use in item.stash.get(USES, {}).items():
            sections = use.sections(has_failed=report.failed, with_log=with_log)
            report.sections += [(f"{name}: {title}", text) for title, text in sections]
    return report


def _fixtures_of(item: pytest.Item) -> Sequence[str]:
    """The names of the fixtures that a test asks for, directly or not."""
    names: Sequence[str] = getattr(item, "fixturenames", ())
    return names


def _has_only_its_own(item: pytest.Item) -> bool:
    """Whether the only broker that a test asks for is `leveret_broker`."""
    names = _fixtures_of(item)
    return OWN in names and NAME not in names


def _use_pooled(item: pytest.Item, wanted: Wanted, reset: Reset = Reset.ALWAYS) -> Use:
    """Have a test use the kept broker of the kind that it wants; one for the whole test."""
    pool = item.config.stash[POOL]
    uses = item.stash.setdefault(USES, {})
    use = uses.get(NAME)
    if use is None:
        use = uses[NAME] = Use(pool.fresh(wanted), reset)
        use.set_variables(*pool.variables, *wanted.variables)
        _record_if(wanted, use.broker)
    elif reset is Reset.ALWAYS:
        use.reset = reset
    return use


def _record_if(wanted: Wanted, broker: Broker) -> None:
    if wanted.record:
        broker.record()


@contextmanager
def _failures_in_words() -> Iterator[None]:
    """Fail with the text of what goes wrong, and without a traceback, which tells nothing more."""
    try:
        yield
    except BrokerError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    except ValueError as error:
        raise pytest.fail.Exception(f"@pytest.mark.{NAME}: {error}", pytrace=False) from None


# --- fixtures ---------------------------------------------------------------------------------


@pytest.fixture
def leveret(request: pytest.FixtureRequest) -> Broker:
    """A broker that is fresh for each test: one is kept for all tests, and reset in between."""
    item: pytest.Item = request.node
    with _failures_in_words():
        return _use_pooled(item, wanted_by(item)).broker


@pytest.fixture
def leveret_url(leveret: Broker) -> str:
    """The AMQP URL of the broker `leveret`."""
    return leveret.url


@pytest.fixture
def leveret_broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """A broker that is started for one test, and closed at its end."""
    item: pytest.Item = request.node
    pool = item.config.stash[POOL]
    uses = item.stash.setdefault(USES, {})
    with ExitStack() as undo:
        with _failures_in_words():
            wanted = wanted_by(item)
            broker = pool.make(wanted, undo)
            broker.start()
        use = uses[OWN] = Use(broker, Reset.NEVER)
        _record_if(wanted, broker)
        if is_marked(item) and _has_only_its_own(item):
            use.set_variables(*pool.variables, *wanted.variables)
        yield broker
        uses.pop(OWN).end()


@pytest.fixture(scope="session")
def leveret_session(request: pytest.FixtureRequest) -> Broker:
    """A broker of its own that is never reset, for what lives as long as the run of tests."""
    with _failures_in_words():
        return request.config.stash[POOL].session()


@pytest.fixture
def leveret_kombu(leveret_url: str) -> Iterator[Any]:
    """A `kombu.Connection` to the broker `leveret`."""
    # Only who uses it has kombu.
    kombu = import_module("kombu")
    with kombu.Connection(leveret_url) as connection:
        yield connection
