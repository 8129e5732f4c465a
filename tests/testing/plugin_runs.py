"""Runs of pytest with the plugin, of tests that are written for the purpose."""

import os
import textwrap
from typing import Final

import pika
import pytest

from leveret.testing import thread_driver
from tests.testing.projects import plugin_arguments

STAYS_IMPORTED: Final = (pika, thread_driver)
"""What a run in this process need not import, as pytester takes back what it has imported."""

HELPERS: Final = """
import os
import threading

import pika
import pytest

def connected(url):
    return pika.BlockingConnection(pika.URLParameters(url))

def declare(url, queue="q"):
    with connected(url) as connection:
        connection.channel().queue_declare(queue)

def is_there(url, queue="q"):
    with connected(url) as connection:
        try:
            connection.channel().queue_declare(queue, passive=True)
        except pika.exceptions.ChannelClosedByBroker:
            return False
        return True
"""
"""What the tests of a run begin with."""

FORKING: Final = """
from _pytest.runner import runtestprotocol

def pytest_addoption(parser):
    parser.addoption("--forked", action="store_true")

def pytest_configure(config):
    config.addinivalue_line("markers", "forked")

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item):
    if not (item.config.getoption("forked") or item.get_closest_marker("forked")):
        return None
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        reports = runtestprotocol(item, log=False)
        failures = [str(report.longrepr) for report in reports if report.failed]
        os.write(theirs, "\\n".join(failures).encode())
        os._exit(0)
    os.close(theirs)
    with open(ours) as file:
        text = file.read()
    assert os.waitpid(child, 0)[1] == 0
    outcome = "failed" if text else "passed"
    report = pytest.TestReport(item.nodeid, item.location, {}, outcome, text or None, "call")
    item.ihook.pytest_runtest_logreport(report=report)
    return True
"""
"""A conftest.py that does what pytest-forked does: each test in a process of its own."""


class Runs:
    """Runs pytest in a directory of its own."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester
        self.path = pytester.path
        self.ini("")

    def tests(self, source: str, name: str = "test_it") -> None:
        """Write a file of tests."""
        self._pytester.makepyfile(**{name: HELPERS + textwrap.dedent(source)})

    def conftest(self, source: str) -> None:
        """Write conftest.py."""
        self._pytester.makeconftest(HELPERS + textwrap.dedent(source))

    def ini(self, text: str, warnings: str = "error") -> None:
        """Write pytest.ini, without its first lines."""
        head = (
            f"[pytest]\naddopts = --strict-markers --strict-config\nfilterwarnings = {warnings}\n"
        )
        self._pytester.makefile(".ini", pytest=head + textwrap.dedent(text))

    def here(self, *args: str) -> pytest.RunResult:
        """Run it in this process, which is quicker, without plugins that have warnings of their
        own."""
        off = [each for name in ("asyncio", "xdist", "cov") for each in ("-p", f"no:{name}")]
        load = plugin_arguments(elsewhere=False)
        return self._pytester.runpytest_inprocess(*off, *load, *args)

    def apart(self, *args: str) -> pytest.RunResult:
        """Run it in a process of its own."""
        with pytest.MonkeyPatch.context() as patch:
            for name in os.environ:
                if name.startswith(("PYTEST_XDIST", "COV_")):
                    patch.delenv(name)
            return self._pytester.runpytest_subprocess(*plugin_arguments(), *args, timeout=120)

    def without_plugin(self) -> pytest.RunResult:
        """Run it with the plugin switched off."""
        return self._pytester.runpytest_inprocess("-p", "no:leveret", "-p", "no:asyncio")
